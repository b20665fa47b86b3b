"""`tenants` on the command line: lines, documents, exit codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.conftest import Cli
from kit import MakeProject, Project

AWAY = "postgresql://postgres@/x?host=/nowhere"
HOSTILE = "a\n\x1b[31m'\"\u202e🦔"


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """Two shards whose tenants are `a`, `b` and one with a name that a terminal would obey."""
    project = make_project(2, extra='[tenants]\nroot = "organizations"\nkey = "organization_id"')
    for shard, tenants in {"shard_0": ["a", HOSTILE], "shard_1": ["b"]}.items():
        project.sql(shard, "CREATE TABLE organizations (id text PRIMARY KEY)")
        for tenant in tenants:
            project.sql(shard, "INSERT INTO organizations VALUES (%s)", tenant)
    return project


@pytest.fixture
def adopted(project: Project, cli: Cli) -> Project:
    assert cli("tenants", "sync").code == 0
    return project


def test_a_fleet_is_adopted_and_listed(project: Project, cli: Cli) -> None:
    """One line a tenant; a hostile id in quotes, without anything that a terminal would obey."""
    done = cli("tenants", "sync")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "3 added, 0 tenants as before"
    assert cli("tenants").out.splitlines() == [
        "a  shard_0  epoch 1",
        '"a\\n\\u001b[31m\'\\"\\u202e\\ud83e\\udd94"  shard_0  epoch 1',
        "b  shard_1  epoch 1",
    ]
    assert cli("tenants", "sync").out == "0 added, 3 tenants as before\n"
    assert (again := cli("tenants", "verify")).out == "3 tenants where the directory says\n"
    assert again.code == 0


def test_the_list_comes_in_pages(adopted: Project, cli: Cli) -> None:
    """By shard, by beginning, by what comes after; the document names where the next page begins."""
    first = cli("tenants", "--limit", "2", "--json").document
    assert ([each["tenant"] for each in first["tenants"]], first["next"]) == (["a", HOSTILE], HOSTILE)
    assert set(first["tenants"][0]) == {"tenant", "shard", "epoch", "changed_at", "changed_by", "run"}
    second = cli("tenants", "--after", HOSTILE, "--json").document
    assert ([each["tenant"] for each in second["tenants"]], second["next"]) == (["b"], None)
    assert "there are more" in cli("tenants", "--limit", "2").out
    assert cli("tenants", "--shard", "shard_1").out == "b  shard_1  epoch 1\n"
    assert cli("tenants", "--search", "b").out == "b  shard_1  epoch 1\n"
    assert "no such tenant" in cli("tenants", "--search", "%").out
    assert cli("tenants", "--shard", "shrad_1").code == 64


def test_one_is_located(adopted: Project, cli: Cli) -> None:
    """In the directory, or on the shards; who is in neither is an error with what helps."""
    assert cli("tenants", "locate", "b").out == "b  shard_1  epoch 1\n"
    assert cli("tenants", "locate", "b", "--json").document["epoch"] == 1
    nobody = cli("tenants", "locate", "nobody")
    assert (nobody.code, nobody.out) == (2, "")
    assert "no tenant 'nobody'" in nobody.err
    assert "shardwright tenants sync" in nobody.err
    for words in (("tenants", "locate", "B"), ("move", "plan", "B", "--to", "shard_0")):
        assert "the directory has no tenant 'B'; did you mean 'b'?" in cli(*words).err
    assert cli("tenants", "locate", "b", "--ask").out == "b  shard_1\n"
    missing = cli("tenants", "locate", "nobody", "--ask")
    assert (missing.code, missing.out) == (1, "nobody  on no shard\n")
    adopted.sql("shard_0", "INSERT INTO organizations VALUES ('b')")
    twice = cli("tenants", "locate", "b", "--ask", "--json")
    assert (twice.code, twice.document["found"]) == (1, ["shard_0", "shard_1"])


def test_one_is_added(adopted: Project, cli: Cli) -> None:
    """Where the fewest are; a second time is refused, and so is one that the shards have."""
    assert cli("tenants", "add", "new", "--dry-run").out == "would place new on shard_1\n"
    assert cli("tenants", "add", "new").out == "new  shard_1  epoch 1\n"
    assert cli("tenants", "add", "other", "--shard", "shard_1", "--json").document["shard"] == "shard_1"
    for again in (cli("tenants", "add", "new"), cli("tenants", "add", "new", "--dry-run")):
        assert (again.code, "is placed on shard_1 already" in again.err) == (2, True)


def break_everything(project: Project) -> None:
    project.sql("shard_0", "DELETE FROM organizations WHERE id = 'a'")
    project.sql("shard_0", "INSERT INTO organizations VALUES ('b'), ('new')")
    project.sql("shard_0", "DELETE FROM organizations WHERE id = %s", HOSTILE)
    project.sql("shard_1", "INSERT INTO organizations VALUES (%s)", HOSTILE)


@pytest.mark.parametrize("check", [("verify",), ("sync", "--dry-run")], ids=" ".join)
def test_what_differs_is_named_and_nothing_changed(check: tuple[str, ...], adopted: Project, cli: Cli) -> None:
    """Exit 1; each tenant with both sides and what helps, as lines and as a document."""
    break_everything(adopted)
    before = cli("tenants").out
    done = cli("tenants", *check)
    assert done.code == 1
    assert "✗ a: on no shard, the directory says shard_0; try: shardwright tenants sync --forget" in done.out
    assert "✗ b: on shard_0 and shard_1, the directory says shard_1; try: " in done.out
    assert ": on shard_1, the directory says shard_0; try: shardwright tenants sync --accept" in done.out
    assert "\x1b" not in done.out
    document = cli("tenants", *check, "--json").document
    assert document["twice"] == {
        "count": 1,
        "tenants": [{"tenant": "b", "placed": "shard_1", "found": ["shard_0", "shard_1"]}],
    }
    kinds = ("unplaced", "elsewhere", "missing", "undecided", "too_long")
    assert [document[kind]["count"] for kind in kinds] == [1, 1, 1, 0, 0]
    assert cli("tenants").out == before


def test_what_is_certain_is_put_right_when_asked(adopted: Project, cli: Cli) -> None:
    """--accept and --forget; a tenant on two shards stays, and the exit code says so."""
    break_everything(adopted)
    done = cli("tenants", "sync", "--accept", "--forget")
    assert done.code == 1
    assert done.out.splitlines()[-1] == "1 added, 1 placed anew, 1 forgotten, 0 tenants as before, 1 on several shards"
    assert "+ a: forgotten; it was on shard_0" in done.out
    adopted.sql("shard_0", "DELETE FROM organizations WHERE id = 'b'")
    assert cli("tenants", "verify").code == 0
    assert cli("tenants", "locate", HOSTILE, "--json").document["epoch"] == 2


def test_a_shard_that_is_away_is_named(adopted: Project, cli: Cli) -> None:
    """With the reason, and how many tenants nothing is known of."""
    adopted.shards["shard_1"] = AWAY
    adopted.write()
    done = cli("tenants", "verify")
    assert (done.code, "✗ shard_1: not read: " in done.out) == (1, True)
    assert done.out.splitlines()[-1] == "2 tenants where the directory says, 1 shard not read (1 tenant)"
    assert cli("tenants", "verify", "--json").document["unread"][0]["shard"] == "shard_1"


def test_many_are_counted(project: Project, cli: Cli) -> None:
    """Twenty by name, the others by number."""
    project.sql("shard_0", "INSERT INTO organizations SELECT 't' || n FROM generate_series(1, 50) n")
    done = cli("tenants", "verify")
    assert [line[:3] for line in done.out.splitlines()].count("✗ t") == 17
    assert "✗ and 33 more" in done.out
    assert done.out.splitlines()[-1] == "0 tenants where the directory says, 53 not in the directory"


@pytest.mark.parametrize("words", ["tenants sync", "tenants verify", "tenants add a", "tenants locate a --ask"])
def test_without_a_root_table_the_lines_to_write_are_told(
    words: str, make_project: Callable[..., Project], cli: Cli
) -> None:
    """78, and no traceback."""
    make_project(1)
    done = cli(*words.split())
    assert (done.code, 'root = "organizations"' in done.err) == (78, True)


def test_nothing_is_made_by_asking(project: Project, cli: Cli) -> None:
    """On a control database where nothing was ever recorded."""
    assert cli("tenants").out == "the directory is empty; try: shardwright tenants sync\n"
    assert cli("tenants", "locate", "a").code == 2
    assert cli("tenants", "verify").code == 1
    assert cli("tenants", "sync", "--dry-run").out.splitlines()[-1] == "would be: 3 added, 0 tenants as before"
    assert cli("tenants", "add", "new", "--dry-run").code == 0
    assert project.sql("control", "SELECT FROM pg_namespace WHERE nspname = 'shardwright'") == []
