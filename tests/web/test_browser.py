"""The pages in a real browser: what they do when they stay open, without scripts, small, dark, under attack."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from kit import Project, create_database, drop_databases
from shardwright.embedded import Cluster
from shardwright.fleet import Fleet
from shardwright.monitor.picture import Picture
from web import fleets
from web.stage import TOKEN, Show, Stage, stage
from web.works import Works

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
HOSTILE = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian: apt-get install chromium)")
expect.set_options(timeout=30_000)  # other tests are at work beside these


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that keeps its things in a folder of the test's, whoever's account and environment this is."""
    home = str(tmp_path_factory.mktemp("chromium"))
    with sync_playwright() as playwright:
        environment: dict[str, str | float | bool] = {
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "XDG_CACHE_HOME": home,
            "PATH": os.environ.get("PATH", os.defpath),
        }
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS], env=environment)
        yield running
        running.close()


@dataclass
class Reader:
    """A page somebody has open, and what it has complained of or asked of others."""

    page: Page
    host: str
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """The page, once it hears of what happens."""
        self.page.goto(f"http://{self.host}{path}")
        return self.page

    def has_no_complaint(self) -> None:
        assert self.complaints == []
        assert self.strangers == []


@contextmanager
def reading(browser: Browser, url: str, **options: Any) -> Iterator[Reader]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    reader = Reader(page, urlsplit(url).netloc)

    def asked(request: Any) -> None:
        if urlsplit(request.url).netloc != reader.host:
            reader.strangers.append(request.url)

    page.on(
        "console",
        lambda message: reader.complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: reader.complaints.append(str(error)))
    page.on("request", asked)
    try:
        yield reader
    finally:
        context.close()


@pytest.fixture(scope="module")
def busy(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Works]]:
    """A fleet on which much has been done."""
    urls = [create_database(cluster) for _ in range(4)]
    shards = {f"shard_{number}": url for number, url in enumerate(urls[1:])}
    project = Project(tmp_path_factory.mktemp("busy"), urls[0], shards)
    project.write()
    fleet = project.fleet()
    works = Works(fleet)
    works.tenants("globex", HOSTILE)
    works.rollout()
    works.move("acme")
    works.move(HOSTILE + "!", at="keep")
    yield fleet, works
    drop_databases(cluster, urls)


@pytest.fixture(scope="module")
def scene(busy: tuple[Fleet, Works]) -> Iterator[Stage]:
    """Its dashboard, that nobody changes."""
    real = busy[0].picture()
    hour = fleets.hour(until=datetime.now(UTC))
    last = replace(hour[-1], open=real.open, runs=real.runs, workers=real.workers, moves=real.moves)
    with stage(busy[0], Show(*hour[-20:-1], last)) as made:
        yield made


PAGES = ("/", "/?view=table", "/shards/shard_5", "/shards/shard_3", "/work", "/runs", "/runs/1", "/runs/2", "/runs/3",
         "/check", "/tenants", "/tenant?id=globex", "/alerts", "/sign-in")  # fmt: skip


def test_every_page_shows_without_a_complaint(browser: Browser, scene: Stage) -> None:
    """No error on the console, no request to another host, nothing wider than a phone or a window, light and dark, and
    every text told from its ground: a contrast of 4.5 at least (WCAG AA)."""
    contrast = Path(__file__).with_name("contrast.js").read_text()
    with reading(browser, scene.url) as reader:
        for path in PAGES:
            page = reader.open(path)
            expect(page.locator("h1")).to_be_visible()
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert page.evaluate(contrast) == [], (path, scheme)
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert "hacked" not in page.title()
        reader.has_no_complaint()


def test_a_hostile_name_stays_a_name(browser: Browser, scene: Stage) -> None:
    """Where tenants are listed, on its own page, in its move, in the search."""
    with reading(browser, scene.url) as reader:
        page = reader.open("/tenants")
        page.get_by_role("link", name=HOSTILE, exact=True).click()
        expect(page.locator("h1")).to_have_text(HOSTILE)
        page.goto(f"{scene.url}/runs/3")
        page.goto(f"{scene.url}/tenants")
        page.get_by_role("searchbox").fill(HOSTILE)
        page.keyboard.press("Enter")
        expect(page.locator("tbody tr")).to_have_count(2)
        assert "hacked" not in page.title()
        reader.has_no_complaint()


@contextmanager
def showing(fleet: Fleet, *pictures: Picture, port: int = 0) -> Iterator[Stage]:
    with stage(fleet, Show(*pictures), port=port) as made:
        yield made


def test_an_open_page_shows_the_next_picture_and_leaves_the_reader_alone(
    browser: Browser, busy: tuple[Fleet, Works]
) -> None:
    """What was typed, where the focus is, what was unfolded: all stays, while the figures change."""
    with showing(busy[0], fleets.picture(12)) as made, reading(browser, made.url) as reader:
        page = reader.open("/")
        expect(page.locator("#link")).to_have_text("Live")
        page.locator("#q").press_sequentially("shard_1")
        expect(page.locator(".tile")).to_have_count(3)
        assert page.url.endswith("q=shard_1")
        made.show.put_up(fleets.picture(12, unwell={11: fleets.down(11)}))
        expect(page.locator("#tile-shard_11")).to_contain_text("Connection refused")
        expect(page.locator(".tile")).to_have_count(3)
        assert page.evaluate("document.activeElement.id") == "q"
        assert page.locator("#q").input_value() == "shard_1"
        assert page.title().startswith("(1 down)")
        reader.has_no_complaint()


@pytest.mark.parametrize("script", ["page.js", "vendor/htmx.min.js", "vendor/hx-sse.min.js"])
def test_a_page_is_live_whichever_script_comes_last(browser: Browser, busy: tuple[Fleet, Works], script: str) -> None:
    """One that is half a second behind the others misses nothing, and is missed by none."""

    def late(route: Any) -> None:
        time.sleep(0.5)
        route.continue_()

    with showing(busy[0], fleets.picture(2)) as made, reading(browser, made.url) as reader:
        reader.page.route(f"**/static/{script}", late)
        page = reader.open("/")
        expect(page.locator("#link")).to_have_text("Live")


def test_a_page_hears_of_a_run_that_goes_on(browser: Browser, busy: tuple[Fleet, Works]) -> None:
    """Without a new picture; what the reader has unfolded stays so."""
    fleet, works = busy
    run = works.move("initech")
    with showing(fleet, fleets.picture(3)) as made, reading(browser, made.url) as reader:
        page = reader.open(f"/runs/{run}")
        expect(page.locator("#link")).to_have_text("Live")
        with works.control() as control:
            control.execute("UPDATE shardwright.run SET progress = NULL WHERE id = %s", [run])
        works.steps(run, 1, "catch up", begun="compare")
        expect(page.locator("#step-4")).to_contain_text("begun")
        reader.has_no_complaint()


def test_a_page_open_through_a_restart_picks_up_again(browser: Browser, busy: tuple[Fleet, Works]) -> None:
    """It says that it has lost the server, and shows the new picture as soon as there is one."""
    with reading(browser, "http://127.0.0.1") as reader:
        with showing(busy[0], fleets.picture(3)) as made:
            reader.host = urlsplit(made.url).netloc
            page = reader.open("/")
            expect(page.locator("#link")).to_have_text("Live")
        expect(page.locator("#link")).to_contain_text("lost")
        port = urlsplit(made.url).port or 0
        with showing(busy[0], fleets.picture(3, unwell={2: fleets.down(2)}), port=port):
            expect(page.locator("#tile-shard_2")).to_contain_text("Connection refused", timeout=30_000)
            expect(page.locator("#link")).to_have_text("Live")
        assert reader.strangers == []


def test_a_page_open_for_long_keeps_nothing(browser: Browser, busy: tuple[Fleet, Works]) -> None:
    """However many pictures came, it has as many nodes and listeners as after the first ones."""
    pictures = [fleets.picture(12), fleets.troubled(12)]
    with showing(busy[0], pictures[0]) as made, reading(browser, made.url) as reader:
        page = reader.open("/")
        expect(page.locator("#link")).to_have_text("Live")
        tools = page.context.new_cdp_session(page)

        def after(times: int) -> tuple[int, int]:
            page.evaluate("""async (times) => { for (let n = 0; n < times; n++) {
                let swapped = new Promise(go => document.addEventListener("htmx:after:settle", go, {once: true}));
                htmx.trigger("#stream", "picture", {});
                await swapped; } }""", times)  # fmt: skip
            for _ in range(3):
                tools.send("HeapProfiler.collectGarbage")
            found = tools.send("Memory.getDOMCounters")
            return found["nodes"], found["jsEventListeners"]

        made.show.put_up(pictures[1])
        made.show.put_up(pictures[0])
        nodes, listeners = after(20)
        more_nodes, more_listeners = after(60)
        assert more_nodes < nodes * 1.1 + 100
        assert more_listeners < listeners + 20
        reader.has_no_complaint()


def test_a_thousand_shards_are_found_by_eye_and_by_keyboard(browser: Browser, busy: tuple[Fleet, Works]) -> None:
    """The odd ones stand within the first window; `/` leads to the filter, Tab to the content."""
    with showing(busy[0], fleets.troubled(1000, at=datetime.now(UTC))) as made, reading(browser, made.url) as reader:
        page = reader.open("/")
        box = page.locator("#tile-shard_3").bounding_box()
        assert box is not None
        assert box["y"] < 900
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        page.keyboard.press("/")
        page.keyboard.type("shard_777")
        expect(page.locator(".tile")).to_have_count(1)
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        reader.has_no_complaint()


def test_every_page_reads_without_scripts(browser: Browser, scene: Stage) -> None:
    """The filter is a form, the table's head has links, and the page loads itself again."""
    with reading(browser, scene.url, java_script_enabled=False) as reader:
        page = reader.open("/")
        page.locator("#q").fill("shard_5")
        page.keyboard.press("Enter")
        expect(page.locator(".tile")).to_have_count(1)
        page.goto(f"{scene.url}/?view=table")
        page.get_by_role("link", name="Size").click()
        expect(page.locator("tbody tr").first).to_contain_text("shard_7")


def test_who_signs_in_acts_from_the_page(browser: Browser, busy: tuple[Fleet, Works]) -> None:
    """From the button over the door to the question and back; the ledger has the name."""
    fleet, works = busy
    run = works.move("umbrella", at="keep")
    with showing(fleet, fleets.picture(3)) as made, reading(browser, made.url) as reader:
        page = reader.open(f"/runs/{run}")
        page.get_by_role("link", name="Undo").click()
        page.get_by_label("Your name").fill("ada")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("h1")).to_have_text("Undo the move of umbrella?")
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".big")).to_contain_text("queued")
        expect(page.locator(".events li").first).to_contain_text("ada (dashboard)")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        reader.has_no_complaint()
