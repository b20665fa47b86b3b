"""A fleet with a ledger, and its dashboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from kit import MakeProject, Project, create_database, drop_databases
from shardwright.embedded import Cluster
from shardwright.fleet import Fleet
from shardwright.monitor.picture import Picture
from shardwright.web.app import make_app
from shardwright.web.door import Door
from shardwright.web.guard import Hosts
from shardwright.web.live import Live
from shardwright.web.serve import ServeOptions
from shardwright.web.site import Site
from web import fleets
from web.stage import TOKEN, Show
from web.works import Works


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """Three shards, and nothing done yet."""
    return make_project(shards=3, environment="production")


@pytest.fixture
def fleet(project: Project) -> Fleet:
    return project.fleet()


@pytest.fixture
def works(fleet: Fleet) -> Works:
    """What is done to that fleet."""
    return Works(fleet)


class Clients:
    """Makes browsers without a screen for the dashboard of one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._ends = ExitStack()

    def open(
        self,
        *pictures: Picture,
        checked: Any = None,
        token: str | None = TOKEN,
        has_picture: bool = True,
        **options: Any,
    ) -> TestClient:
        """Somebody who looks at these pictures (a fleet of twelve), as `serve` with these options would show them."""
        chosen = ServeOptions(token=token, **options)
        show = Show(*(pictures or (fleets.troubled(at=datetime.now(UTC)),)), checked=checked)
        watch = self._ends.enter_context(show.on()) if has_picture else show.watch
        site = Site(self.fleet, watch, Door(token), Live(watch, self.fleet.mark))
        app = make_app(site, Hosts([chosen.host, *chosen.names]), is_private=chosen.asks_readers)
        client = TestClient(app, base_url="http://localhost", follow_redirects=False)
        client.headers["accept"] = "text/html"
        return self._ends.enter_context(client)

    def close(self) -> None:
        self._ends.close()


@pytest.fixture
def clients(fleet: Fleet) -> Iterator[Clients]:
    """For a fleet of the test's own."""
    made = Clients(fleet)
    yield made
    made.close()


@pytest.fixture(scope="session")
def still_fleet(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet to which nothing is ever done."""
    urls = [create_database(cluster) for _ in range(3)]
    project = Project(tmp_path_factory.mktemp("still"), urls[0], {f"shard_{n}": url for n, url in enumerate(urls[1:])})
    project.write()
    yield project.fleet()
    drop_databases(cluster, urls)


@pytest.fixture
def onlookers(still_fleet: Fleet) -> Iterator[Clients]:
    """For a fleet to which nothing is ever done."""
    made = Clients(still_fleet)
    yield made
    made.close()


@pytest.fixture
def client(onlookers: Clients) -> TestClient:
    """Somebody who looks at a fleet of twelve shards, one of them down."""
    return onlookers.open()


def sign_in(client: TestClient, who: str = "ada") -> TestClient:
    """The same, signed in."""
    answer = act(client, "/sign-in", token=TOKEN, who=who, then="/")
    assert answer.status_code == 303, answer.text
    return client


def act(client: TestClient, path: str, **form: str) -> Any:
    """A form of our own page is sent."""
    return client.post(path, data=form, headers={"origin": "http://localhost"})


def form_token(client: TestClient) -> str:
    """What a form of this session carries, as the page has it."""
    found = re.search(r'name="form" value="([0-9a-f]+)"', client.get("/").text)
    assert found is not None
    return found[1]
