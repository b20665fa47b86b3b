"""`tables`: how the rows of each table belong to tenants, as a command and in Python."""

from __future__ import annotations

import pytest

from cli.conftest import Cli
from kit import MakeProject, Project

SCHEMA = (
    "CREATE TABLE organizations (id int PRIMARY KEY, plan text)",
    "CREATE TABLE users (id int PRIMARY KEY, organization_id int NOT NULL REFERENCES organizations, boss int)",
    "CREATE TABLE tasks (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users)",
    "CREATE TABLE plans (code text PRIMARY KEY)",
    "ALTER TABLE organizations ADD FOREIGN KEY (plan) REFERENCES plans",
    "ALTER TABLE users ADD FOREIGN KEY (boss) REFERENCES users",
)
TENANTS = '[tenants]\nroot = "organizations"\nkey = "organization_id"\n'


@pytest.fixture
def fleet(make_project: MakeProject) -> Project:
    """Two shards with the tables of a small application, and a configuration that places them all."""
    project = make_project(shards=2)
    project.stamp("r1", *SCHEMA)
    project.extra = f'{TENANTS}shared = ["plans"]'
    project.write()
    return project


def test_the_tables_in_columns(fleet: Project, cli: Cli) -> None:
    """A line each, notes below it; Alembic's own is not among them."""
    done = cli("tables")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert (done.code, done.err) == (0, "")
    assert [line.split(" id 0 ")[0] for line in lines] == [
        "table kind tenant key or path primary key rows size",
        "✓ organizations root id",
        "✓ plans shared code 0 16.4 kB",
        "✓ tasks indirect user_id → users.organization_id",
        "✓ users direct organization_id",
        "may refer to another tenant's row: boss → users",
        "shard_0: 4 tables",
    ]


def test_what_cant_be_placed_is_exit_1_and_its_line(fleet: Project, cli: Cli) -> None:
    """Even with --quiet the line to write is shown; after it is written all is well."""
    fleet.extra = TENANTS
    fleet.write()
    done = cli("tables", "-q")
    assert done.code == 1
    assert 'try: under [tenants]: shared = ["plans"]' in done.out
    assert "shard_0: 4 tables, 1 problem" in done.out
    fleet.extra = f'{TENANTS}shared = ["plans"]'
    fleet.write()
    assert cli("tables", "-q").code == 0


def test_the_document(fleet: Project, cli: Cli) -> None:
    """Tables, the order in which they would be copied, and problems."""
    document = cli("tables", "--shard", "shard_1", "--json").document
    assert (document["shard"], document["problems"]) == ("shard_1", [])
    assert document["copy_order"] == [["organizations"], ["users"], ["tasks"]]
    assert document["tables"][2] == {
        "table": "tasks", "kind": "indirect", "why": "user_id refers to users",
        "paths": ["user_id → users.organization_id"], "primary_key": ["id"], "rows": 0,
        "bytes": document["tables"][2]["bytes"], "partitions": [], "notes": [],
    }  # fmt: skip


def test_without_tenants_the_lines_to_write_are_proposed(fleet: Project, cli: Cli) -> None:
    """From the table that several refer to by one name, else the usual example; they can be pasted as they are."""
    fleet.extra = ""
    fleet.write()
    assert 'root = "organizations"\nkey = "organization_id"' in cli("tables").err
    for shard in fleet.shards:
        fleet.sql(shard, 'CREATE TABLE "my ""orgs" (id int PRIMARY KEY)')
        for table in "abc":
            fleet.sql(shard, f'CREATE TABLE {table} ("Org" int REFERENCES "my ""orgs")')
    done = cli("tables")
    lines = done.err.split("your names:\n")[1]
    assert (done.code, lines) == (78, '[tenants]\nroot = "my \\"orgs"\nkey = "Org"\n')
    fleet.extra = lines
    fleet.write()
    assert '✓ my "orgs' in cli("tables").out
    assert "  0 tenants" in cli("shards").out


def test_the_first_shard_that_answers(fleet: Project, cli: Cli) -> None:
    """Another one is read where it does not; the one that was named is not replaced."""
    fleet.shards["shard_0"] = fleet.shards["shard_0"].replace("?", "_gone?")
    fleet.write()
    assert "shard_1: 4 tables" in cli("tables").out
    done = cli("tables", "--shard", "shard_0")
    assert (done.code, done.out) == (2, "")
    assert "shard_0: " in done.err
    assert "does not exist" in done.err
    assert cli("tables", "--shard", "nope").code == 64


def test_a_shard_without_tables_says_what_to_do(make_project: MakeProject, cli: Cli) -> None:
    """Before its first migration."""
    make_project(shards=1, extra=TENANTS)
    done = cli("tables")
    assert (done.code, "there is no table yet; try: shardwright migrate" in done.out) == (1, True)


def test_a_locked_table_is_not_waited_for(fleet: Project, cli: Cli) -> None:
    """A migration under way makes it say so within its lock time-out; nobody queues behind it."""
    with fleet.holding("shard_0", "ALTER TABLE users ADD COLUMN x int"):
        done = cli("tables", "--shard", "shard_0")
    assert (done.code, "lock timeout" in done.err) == (2, True)


def test_in_python(fleet: Project) -> None:
    """The same graph as a value."""
    found = fleet.fleet().tables(shard="shard_1")
    assert found.shard == "shard_1"
    assert [each.kind for each in found.graph.tables] == ["root", "shared", "indirect", "direct"]
