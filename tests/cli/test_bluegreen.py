"""`bluegreen` on the command line: lines, documents, exit codes, and what is refused meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Cli, Outcome
from kit import MakeProject, Project
from shardwright.config import load
from shardwright.fleet import Fleet

TABLES = (
    "CREATE TABLE organizations (id text PRIMARY KEY)",
    "CREATE TABLE tasks (organization_id text REFERENCES organizations, id int, PRIMARY KEY (organization_id, id))",
)
SECRET = "Xk7-of-green"  # of the green shards: never to be seen
GREEN = """
[tenants]
root = "organizations"
key  = "organization_id"
[bluegreen]
placement = "least_loaded"
[bluegreen.shards.green_0]
url = "${GREEN_0_URL}"
labels = { region = "eu" }
[bluegreen.shards.green_1]
url = "${GREEN_1_URL}"
"""


@pytest.fixture
def project(
    make_project: MakeProject, make_database: Callable[[], str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Two blue shards with three tenants of two rows each, and two green databases that are still empty."""
    project = make_project(2, extra=GREEN, limits={"write_gap": '"2s"'})
    for number in range(2):
        url = make_database()
        secret = f"{url}{'&' if '?' in url else '?'}password={SECRET}"
        monkeypatch.setenv(f"GREEN_{number}_URL", secret)
    project.revision("r1", "\n".join(f"op.execute({table!r})" for table in TABLES))
    project.stamp("r1", *TABLES)
    for tenant, shard in {"acme": "shard_0", "globex": "shard_0", "initech": "shard_1"}.items():
        project.sql(shard, "INSERT INTO organizations VALUES (%s)", tenant)
        project.sql(shard, "INSERT INTO tasks VALUES (%s, 1), (%s, 2)", tenant, tenant)
    assert cli("tenants", "sync").code == 0
    return project


def rows(url: str) -> int:
    """How many tasks there are."""
    import psycopg

    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM tasks").fetchone()
        return int(found[0]) if found else 0


def test_the_whole_story(project: Project, cli: Cli, tmp_path: Path) -> None:
    """x."""
    import os, time
    def c(*a):
        t=time.time()
        o=cli(*a)
        with open("/dev/shm/bctry/out.txt","a") as f:
            f.write(f"$ shardwright {' '.join(a)}   [{o.code}, {time.time()-t:.1f} s]\n{o.out}{o.err}\n")
        return o
    open("/dev/shm/bctry/out.txt","w").close()
    c("bluegreen","status"); c("bluegreen","switch","--all"); c("bluegreen","undo","--yes")
    c("bluegreen","plan"); c("bluegreen","start","--dry-run")
    c("bluegreen","start"); c("bluegreen","start"); c("bluegreen","status")
    c("migrate"); c("seed"); c("reset","--yes"); c("rollback","--steps","1"); c("check"); c("status"); c("shards"); c("tenants")
    c("tenants","verify")
    c("bluegreen","throttle","--rate","1000")
    c("bluegreen","switch"); c("bluegreen","switch","nobody"); c("bluegreen","switch","--wave","x")
    c("bluegreen","switch","--canary","acme","--all","--dry-run")
    c("bluegreen","switch","--canary","acme","--wave","34%"); c("bluegreen","status","acme"); c("bluegreen","status","nobody"); c("bluegreen","status")
    c("bluegreen","cancel"); c("bluegreen","switch","--home","acme"); 
    c("bluegreen","switch","--all"); c("bluegreen","status"); c("bluegreen","status","--json")
    c("bluegreen","undo"); c("bluegreen","finish","--archive",str(tmp_path/"arch"),"--drop")
    c("bluegreen","finish","--archive",str(tmp_path/"arch"),"--drop","--yes")
    c("bluegreen","status"); c("bluegreen","undo","--yes"); c("bluegreen","finish"); c("bluegreen","plan"); c("bluegreen", "start"); c("tenants")
