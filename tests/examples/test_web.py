"""The web examples: sign-up, write and read, each on the shard of the organization, also after it has moved."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from fences import Fences
from kit import MakeProject, Project
from shardwright.dsn import DatabaseUrl

EXAMPLES = Path(__file__).parents[2] / "examples"
TABLES = [("organizations", "id"), ("projects", "organization_id"), ("tasks", "organization_id")]
TENANTS = '[tenants]\nroot = "organizations"\nkey = "organization_id"'


Client = Any  # Flask's and FastAPI's test clients are called alike


@pytest.fixture
def project(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two shards with the tables of the tasks example."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "tasks"))
    models = importlib.import_module("tasks_app.models")
    project = make_project(2, extra=TENANTS)
    for url in project.shards.values():
        engine = create_engine(DatabaseUrl.parse(url).sqlalchemy("psycopg"))
        models.Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO plans VALUES ('free', 'Free', 0)"))
        engine.dispose()
    monkeypatch.setenv("SHARDWRIGHT_CONFIG", str(project.path / "shardwright.toml"))
    return project


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
def client(request: pytest.FixtureRequest, project: Project) -> Iterator[Client]:
    example = load(request.param)
    if request.param == "flask":
        yield example.app.test_client()
        example.tenants.close()
    else:
        with TestClient(example.app) as client:
            yield client


def body(response: Any) -> Any:
    return response.json if not callable(response.json) else response.json()


def test_an_organization_signs_up_writes_and_reads_and_moves_without_noticing(client: Client, project: Project) -> None:
    """Its rows are on its shard; after a move they are on the other, and no request has failed."""
    organization = body(client.post("/organizations", json={"name": "Alder"}))["id"]
    headers = {"X-Organization": organization}
    assert client.post("/tasks", json={"title": "Draft"}, headers=headers).status_code == 201
    assert body(client.get("/tasks", headers=headers)) == ["Draft"]
    assert titles(project) == {"shard_0": ["Draft"], "shard_1": []}
    fences = Fences(project.control, project.shards, organization, TABLES)
    fences.switch()
    assert client.post("/tasks", json={"title": "Publish"}, headers=headers).status_code == 201
    assert body(client.get("/tasks", headers=headers)) == ["Draft", "Publish"]
    assert titles(project) == {"shard_0": ["Draft"], "shard_1": ["Draft", "Publish"]}
    fences.close()


def test_organizations_are_spread_and_strangers_are_told_so(client: Client, project: Project) -> None:
    """Each has its own shard and its own tasks; one that there is not is a 404."""
    ids = [body(client.post("/organizations", json={"name": name}))["id"] for name in ("Alder", "Birch")]
    for organization in ids:
        client.post("/tasks", json={"title": organization}, headers={"X-Organization": organization})
    assert [body(client.get("/tasks", headers={"X-Organization": each})) for each in ids] == [[ids[0]], [ids[1]]]
    assert sorted(titles(project).values()) == sorted([[ids[0]], [ids[1]]])
    assert client.get("/tasks", headers={"X-Organization": str(uuid.uuid4())}).status_code == 404


def titles(project: Project) -> dict[str, list[str]]:
    """The tasks that lie on each shard, whoever's they are."""
    query = "SELECT title FROM tasks ORDER BY title"
    return {shard: [row[0] for row in project.sql(shard, query)] for shard in project.shards}
