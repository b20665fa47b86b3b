"""`move` on the command line: lines, documents, exit codes."""

from __future__ import annotations

import re

import pytest

from cli.conftest import Cli
from kit import MakeProject, Project
from shardwright.runs.kinds import StepContext

SCHEMA = """
CREATE TABLE organizations (id text PRIMARY KEY);
CREATE TABLE tasks (organization_id text REFERENCES organizations, id int, PRIMARY KEY (organization_id, id));
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
"""


@pytest.fixture
def project(make_project: MakeProject, cli: Cli) -> Project:
    """Two shards, and the tenant `acme` with two tasks on the first."""
    project = make_project(2, extra='[tenants]\nroot = "organizations"\nkey = "organization_id"')
    for shard in project.shards:
        project.sql(shard, SCHEMA)
    project.sql("shard_0", "INSERT INTO organizations VALUES ('acme')")
    project.sql("shard_0", "INSERT INTO tasks VALUES ('acme', 1), ('acme', 2)")
    assert cli("tenants", "sync").code == 0
    return project


def test_there_and_back_and_there_for_good(project: Project, cli: Cli) -> None:
    """Each command says where the tenant is, how long the gap was, and what may be done next; 0 where it is there."""
    planned = cli("move", "plan", "acme", "--to", "shard_1")
    assert (planned.code, planned.err) == (0, "")
    assert "acme: shard_0 → shard_1" in planned.out
    assert "  tasks: 2 rows" in planned.out
    assert cli("move", "acme", "--to", "shard_1", "--dry-run").out.splitlines()[:-1] == planned.out.splitlines()[:-1]
    moved = cli("move", "acme", "--to", "shard_1")
    assert (moved.code, moved.err) == (0, "")
    assert re.search(r"acme is on shard_1 \(epoch 2\); write gap \d+\.\d ms\n", moved.out)
    assert "certificate: 3 rows equal on both sides\n" in moved.out
    assert moved.out.endswith("  try: shardwright move finish acme, or: shardwright move undo acme\n")
    assert cli("move", "verify", "acme").out.splitlines() == [
        "✓ organizations: 1 row", "✓ tasks: 2 rows", "both sides hold the same rows"
    ]  # fmt: skip
    assert cli("move", "status").out.startswith("run 1  acme: shard_0 → shard_1  switched  waiting\n")
    undone = cli("move", "undo", "acme")
    assert (undone.code, "undone" in undone.out) == (0, True)
    assert cli("move", "status").out == "no move is open\n"
    assert cli("tenants", "locate", "acme").out == "acme  shard_0  epoch 3\n"
    assert cli("move", "start", "acme", "--to", "shard_1", "--finish").code == 0
    assert project.sql("shard_0", "SELECT count(*) FROM tasks") == [(0,)]
    assert project.sql("shard_1", "SELECT count(*) FROM tasks") == [(2,)]
    assert cli("tenants", "locate", "acme").out == "acme  shard_1  epoch 4\n"


def test_documents(project: Project, cli: Cli) -> None:
    """One document each, with the same keys whether it is asked for or acted on."""
    plan = cli("move", "plan", "acme", "--to", "shard_1", "--json").document
    assert (plan["source"], plan["target"], plan["estimate"]["rows"], plan["dry_run"]) == (
        "shard_0",
        "shard_1",
        3,
        True,
    )
    moved = cli("move", "acme", "--to", "shard_1", "--json").document
    assert (moved["phase"], moved["state"], moved["certificate"]["equal"]) == ("switched", "waiting", True)
    assert moved["write_gap"]["gap_ms"] > 0
    assert [step["name"] for step in moved["steps"] if step["state"] == "to do"] == ["keep", "clean"]
    assert cli("move", "status", "acme", "--json").document.keys() == moved.keys()
    assert len(cli("move", "status", "--json").document["moves"]) == 1
    throttled = cli("move", "throttle", "acme", "--rate", "1000", "--lag", "2s", "--probe", "SELECT true", "--json")
    assert throttled.document["throttle"] == {"bytes_per_second": 1000, "lag": 2.0, "probe": "SELECT true"}
    assert cli("move", "status", "acme", "--json").document["throttle"] == throttled.document["throttle"]
    assert cli("move", "verify", "acme", "--json").document["equal"] is True
    assert cli("move", "finish", "acme", "--json").document["phase"] == "kept"


def test_what_can_not_be_done_is_refused(project: Project, cli: Cli) -> None:
    """Exit 2 or 64 with the names and the command that helps; nothing was touched."""
    assert cli("move", "acme", "--to", "shard_0").code == 64
    assert cli("move", "acme", "--to", "shard_7").code == 64
    assert cli("move", "nobody", "--to", "shard_1").code == 2
    assert cli("move", "undo", "acme").code == 2
    project.sql("shard_1", "ALTER TABLE tasks ADD COLUMN title text")
    planned, refused = cli("move", "plan", "acme", "--to", "shard_1"), cli("move", "acme", "--to", "shard_1")
    assert (planned.code, refused.code) == (2, 2)
    assert "tasks.title" in planned.out
    assert "tenant 'acme' was not touched: it can't be moved to shard_1" in refused.err
    assert project.sql("shard_0", "SELECT to_regnamespace('shardwright')") == [(None,)]
    project.sql("shard_1", "ALTER TABLE tasks DROP COLUMN title")
    assert cli("move", "acme", "--to", "shard_1").code == 0
    again = cli("move", "acme", "--to", "shard_0")
    assert (again.code, "tenant 'acme' has an open move: run 1" in again.err) == (2, True)
    cancelled = cli("move", "cancel", "acme")
    assert (cancelled.code, "is switched, and can't cancel" in cancelled.err) == (2, True)
    assert cli("move", "finish", "acme").code == 0


def test_others_leave_the_shards_alone_meanwhile(project: Project, cli: Cli) -> None:
    """A rollout and a reset name the tenant and the run, shard by shard; afterwards they do their work."""
    project.table("r1", "a")
    assert cli("move", "acme", "--to", "shard_1").code == 0
    for command in (("migrate", "--on-failure", "continue"), ("reset", "--yes")):
        refused = cli(*command, "--json")
        assert refused.code == 1
        for shard in refused.document["shards"]:
            assert (shard["status"], "'acme' (run 1)" in shard["error"]) == ("failed", True)
    assert cli("move", "undo", "acme").code == 0
    assert cli("migrate").code == 0


def test_a_parked_move_says_what_helps(project: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, the reason, and both ways to go on; the tenant is where it was."""

    def fail(_: StepContext) -> None:
        raise ValueError("out of luck")

    monkeypatch.setattr("shardwright.move.certificate.require", lambda *_: fail(None))  # type: ignore[arg-type]
    parked = cli("move", "acme", "--to", "shard_1", "--finish")
    assert parked.code == 2
    assert "clean: ValueError: out of luck" in parked.out
    assert "try: shardwright runs resume 1" in parked.out
    monkeypatch.undo()
    assert cli("move", "finish", "acme", "--config", str(project.path / "shardwright.toml")).code == 0
