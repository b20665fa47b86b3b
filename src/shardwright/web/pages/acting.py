"""What only whoever has signed in may do: sign in and out, and act on a run, once asked whether it is meant."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from shardwright import errors
from shardwright.runs.store import acting_for
from shardwright.web.actions import Action, Subject, find
from shardwright.web.door import SESSION, Session, TooManyTries
from shardwright.web.guard import COOKIE, session_of
from shardwright.web.pages import runs
from shardwright.web.site import Site, form_of, number_of


def sign_in_page(site: Site, request: Request) -> Response:
    """The form that asks for the token; without one, how to start with one."""
    return _ask(site, request, then=request.query_params.get("then", ""))


async def sign_in(site: Site, request: Request) -> Response:
    """A session for whoever knows the token."""
    form = await form_of(request)
    then, who = form.get("then", ""), form.get("who", "")
    address = request.client.host if request.client else ""
    try:
        cookie = site.door.sign_in(form.get("token", ""), who, address=address)
    except TooManyTries as error:
        answer = _ask(site, request, then=then, who=who, status=429, wrong=str(error))
        answer.headers["retry-after"] = f"{error.seconds + 1:.0f}"
        return answer
    if cookie is None:
        return _ask(site, request, then=then, who=who, status=403, wrong="that is not the token")
    answer = RedirectResponse(_of_ours(then), 303)
    answer.set_cookie(
        COOKIE, cookie, max_age=SESSION, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


async def sign_out(site: Site, request: Request) -> Response:
    """The session is over."""
    session, form = session_of(request), await form_of(request)
    if session is not None and site.door.is_own_form(session, form.get("form", "")):
        site.door.sign_out(session)
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE)
    return answer


def confirm(site: Site, request: Request) -> Response:
    """The question before an action, with what it does. Raises NoSuchRun."""
    if session_of(request) is None:
        return RedirectResponse(f"/sign-in?then={request.url.path}", 303)
    subject, action = _asked(site, request)
    if subject is None or action is None:
        return RedirectResponse(f"/runs/{number_of(request)}", 303)
    return site.render(request, "confirm.html", section="/runs", live=False, subject=subject, action=action)


async def act(site: Site, request: Request) -> Response:
    """The action is done, in the name of whoever has signed in; then the run is shown."""
    session, form = session_of(request), await form_of(request)
    if session is None:
        return PlainTextResponse("only whoever has signed in may act: /sign-in\n", 403)
    if not site.door.is_own_form(session, form.get("form", "")):
        return PlainTextResponse("this form was made for another session; load the page again\n", 403)
    return await run_in_threadpool(_act, site, request, session)


def _act(site: Site, request: Request, session: Session) -> Response:
    subject, action = _asked(site, request)
    if subject is None or action is None:
        name = request.path_params["action"]
        failure = errors.NotNow(
            run=number_of(request), action=name, state=subject.run.told if subject else "not durable"
        )
        return runs.run(site, request, status=409, failure=failure)
    try:
        with acting_for(f"{session.who} (dashboard)"):
            action.act(site.fleet, subject)
    except errors.Refused as error:
        return runs.run(site, request, status=409, failure=error)
    site.watch.look()
    return RedirectResponse(f"/runs/{subject.run.id}", 303)


def _asked(site: Site, request: Request) -> tuple[Subject | None, Action | None]:
    found, _ = site.fleet.run(number_of(request))
    subject = runs.subject_of(site, found)
    return subject, find(subject, request.path_params["action"]) if subject else None


def _ask(site: Site, request: Request, *, then: str, who: str = "", status: int = 200, wrong: str = "") -> Response:
    return site.render(
        request, "sign_in.html", status=status, live=False, then=_of_ours(then), asked_who=who, wrong=wrong
    )


def _of_ours(then: str) -> str:
    """A path of ours, whatever was asked for: `//elsewhere` would lead to another site."""
    return then if then.startswith("/") and not then.startswith(("//", "/\\")) and then.isprintable() else "/"
