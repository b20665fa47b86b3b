// Says whether the page still hears of what happens. All else is htmx, and the page reads as well without either.
(() => {
  const say = (state, text) => {
    const link = document.getElementById("link");
    if (link && link.dataset.state !== state) {
      link.dataset.state = state;
      link.textContent = text;
    }
  };
  const on = (name, act) => document.addEventListener(name, act);
  on("htmx:sse:after:connection", () => say("live", "Live"));
  on("htmx:sse:error", () => say("lost", "Connection lost, trying again"));
  on("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0) say("lost", "Connection lost, trying again");
  });
  // A stream that was refused at the first try is not tried again by the extension: the page is.
  on("htmx:response:error", (event) => {
    if (event.target.id === "stream") {
      say("lost", "Connection lost, trying again");
      setTimeout(() => location.reload(), 10000);
    }
  });
  // A slash leads to the filter, as it does elsewhere.
  on("keydown", (event) => {
    const field = document.querySelector("input[type=search]");
    const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "/" && field && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
    }
  });
})();
