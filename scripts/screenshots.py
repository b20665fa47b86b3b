"""Takes the pictures of the dashboard in docs/images, of a fleet that is made up over a real ledger.

python scripts/screenshots.py            # after the pages have changed; needs chromium
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path[:0] = [str(ROOT / "tests")]

from kit import Project, create_database  # noqa: E402 the tests' own
from shardwright.embedded import Cluster  # noqa: E402
from shardwright.fleet import Fleet  # noqa: E402
from shardwright.monitor.check import FleetCheck  # noqa: E402
from shardwright.testing.places import cluster_in_memory  # noqa: E402
from web import fleets  # noqa: E402
from web.stage import Show, stage  # noqa: E402
from web.test_browser import CHROMIUM, FLAGS  # noqa: E402
from web.works import Works  # noqa: E402

WINDOW, TALL, PHONE = (1280, 800), (1280, 1250), (390, 780)


@contextmanager
def dashboard(cluster: Cluster, *, shards: int, checked: FleetCheck | None = None) -> Iterator[tuple[str, int, int]]:
    """A busy fleet's: its URL, the number of a rollout and of a move."""
    with tempfile.TemporaryDirectory() as folder:
        urls = {f"shard_{number}": create_database(cluster) for number in range(3)}
        project = Project(Path(folder), create_database(cluster), urls, environment="production")
        project.write()
        fleet = project.fleet()
        works = Works(fleet)
        with works.rolling_out():
            rollout, move = works.rollout(), works.move("acme")
            with stage(fleet, Show(*_hour(fleet, shards), checked=checked)) as made:
                yield made.url, rollout, move


def _hour(fleet: Fleet, shards: int) -> list[fleets.Picture]:
    real = fleet.picture()
    *before, last = fleets.hour(shards, until=datetime.now(UTC))
    now = replace(last, open=real.open, runs=real.runs, workers=real.workers, moves=real.moves)
    return [*before, now]


def shoot(browser: Browser, url: str, name: str, *, scheme: str = "light", window: tuple[int, int] = WINDOW) -> None:
    """The page as a picture."""
    page = browser.new_page(viewport={"width": window[0], "height": window[1]}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(url)
    page.wait_for_selector("#link[data-state=live]")
    page.screenshot(path=IMAGES / f"{name}.png")
    page.close()


def main() -> None:
    """All of them."""
    IMAGES.mkdir(exist_ok=True)
    os.environ["SHARDWRIGHT_OPERATOR"], socket.gethostname = "ada", lambda: "ops-2"
    with ExitStack() as stack:
        cluster = stack.enter_context(cluster_in_memory())
        url, rollout, move = stack.enter_context(dashboard(cluster, shards=12, checked=fleets.unlike()))
        large, *_ = stack.enter_context(dashboard(cluster, shards=1000))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        shoot(browser, url, "fleet-light")
        shoot(browser, url, "fleet-dark", scheme="dark")
        shoot(browser, large, "thousand-light", window=TALL)
        shoot(browser, f"{url}/runs/{move}", "move-dark", scheme="dark")
        shoot(browser, f"{url}/runs/{rollout}", "rollout-light")
        shoot(browser, f"{url}/check", "check-light")
        shoot(browser, f"{url}/shards/shard_5", "shard-dark", scheme="dark")
        shoot(browser, url, "phone-light", window=PHONE)
        browser.close()


if __name__ == "__main__":
    main()
