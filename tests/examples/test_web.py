"""The web examples: sign-up, write and read, each on the shard of the organization, also after it has moved."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from shardwright.embedded import Cluster
from shardwright.testing import TestFleet

EXAMPLES = Path(__file__).parents[2] / "examples"
Client = Any  # Flask's and FastAPI's test clients are called alike


@pytest.fixture(scope="module")
def made(cluster: Cluster) -> Iterator[TestFleet]:
    """Two shards at the head of the tasks example's history."""
    with TestFleet(EXAMPLES / "tasks" / "shardwright.toml", shards=2, servers=[cluster.url("postgres")]) as fleet:
        yield fleet


@pytest.fixture
def fleet(made: TestFleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestFleet]:
    """The same, where an application finds it; clean again afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "tasks"))
    monkeypatch.setenv("SHARDWRIGHT_CONFIG", str(made.config_file))
    yield made
    made.clean_all()


def load(name: str) -> ModuleType:
    """The application of that example, as it is imported by its server."""
    spec = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # FastAPI looks for the annotations' names there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["flask", "fastapi"])
def client(request: pytest.FixtureRequest, fleet: TestFleet) -> Iterator[Client]:
    example = load(request.param)
    if request.param == "flask":
        yield example.app.test_client()
        example.tenants.close()
    else:
        with TestClient(example.app) as client:
            yield client


def body(response: Any) -> Any:
    return response.json if not callable(response.json) else response.json()


def test_an_organization_signs_up_writes_and_reads_and_moves_without_noticing(client: Client, fleet: TestFleet) -> None:
    """Its rows are on its shard; after a move they are on the other, and no request has failed."""
    organization = body(client.post("/organizations", json={"name": "Alder"}))["id"]
    headers = {"X-Organization": organization}
    assert client.post("/tasks", json={"title": "Draft"}, headers=headers).status_code == 201
    assert body(client.get("/tasks", headers=headers)) == ["Draft"]
    assert titles(fleet) == {"shard_0": ["Draft"], "shard_1": []}
    fleet.move(organization, "shard_1")
    assert client.post("/tasks", json={"title": "Publish"}, headers=headers).status_code == 201
    assert body(client.get("/tasks", headers=headers)) == ["Draft", "Publish"]
    assert titles(fleet) == {"shard_0": ["Draft"], "shard_1": ["Draft", "Publish"]}


def test_organizations_are_spread_and_strangers_are_told_so(client: Client, fleet: TestFleet) -> None:
    """Each has its own shard and its own tasks; one that there is not is a 404."""
    ids = [body(client.post("/organizations", json={"name": name}))["id"] for name in ("Alder", "Birch")]
    for organization in ids:
        client.post("/tasks", json={"title": organization}, headers={"X-Organization": organization})
    assert [body(client.get("/tasks", headers={"X-Organization": each})) for each in ids] == [[ids[0]], [ids[1]]]
    assert sorted(titles(fleet).values()) == sorted([[ids[0]], [ids[1]]])
    assert client.get("/tasks", headers={"X-Organization": str(uuid.uuid4())}).status_code == 404


def titles(fleet: TestFleet) -> dict[str, list[str]]:
    """The tasks that lie on each shard, whoever's they are."""
    return {shard: titles_on(fleet, shard) for shard in fleet.shards}


def titles_on(fleet: TestFleet, shard: str) -> list[str]:
    with fleet.engine(shard).connect() as connection:
        return list(connection.scalars(text("SELECT title FROM tasks ORDER BY title")))
