"""The application's tests, on two real shards that are clean for each of them."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from shardwright.testing import TestFleet


@pytest.fixture
def client(shardwright_fleet: TestFleet) -> Iterator[TestClient]:
    import app  # it looks for its configuration when it is imported: not before the fleet is there

    with TestClient(app.app) as client:
        yield client


def sign_up(client: TestClient, name: str) -> dict[str, str]:
    answer = client.post("/organizations", json={"name": name})
    assert answer.status_code == 201
    return {"X-Organization": answer.json()["id"]}


def titles(fleet: TestFleet, shard: str) -> list[str]:
    with fleet.engine(shard).connect() as connection:
        return list(connection.scalars(text("SELECT title FROM tasks ORDER BY title")))


def test_an_organization_moves_without_noticing(
    client: TestClient, move: Callable[..., Any], shardwright_fleet: TestFleet
) -> None:
    alder = sign_up(client, "Alder")
    assert client.post("/tasks", json={"title": "Draft"}, headers=alder).status_code == 201
    home = shardwright_fleet.fleet.locate(alder["X-Organization"]).shard
    other = next(shard for shard in shardwright_fleet.shards if shard != home)
    move(alder["X-Organization"], other)
    assert client.post("/tasks", json={"title": "Publish"}, headers=alder).status_code == 201
    assert client.get("/tasks", headers=alder).json() == ["Draft", "Publish"]
    assert (titles(shardwright_fleet, home), titles(shardwright_fleet, other)) == (["Draft"], ["Draft", "Publish"])


def test_organizations_are_spread_and_see_their_own_tasks(client: TestClient, shardwright_fleet: TestFleet) -> None:
    alder, birch = sign_up(client, "Alder"), sign_up(client, "Birch")
    client.post("/tasks", json={"title": "Alder's"}, headers=alder)
    client.post("/tasks", json={"title": "Birch's"}, headers=birch)
    assert client.get("/tasks", headers=birch).json() == ["Birch's"]
    assert sorted(titles(shardwright_fleet, shard) for shard in shardwright_fleet.shards) == [["Alder's"], ["Birch's"]]


def test_a_stranger_is_told_so(client: TestClient) -> None:
    assert client.get("/tasks", headers={"X-Organization": str(uuid.uuid4())}).status_code == 404
