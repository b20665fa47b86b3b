"""--json: stdout is exactly one document, for every command, also when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.conftest import Cli
from kit import Project
from shardwright.cli.app import app
from shardwright.fleet import Fleet

Words = tuple[str, ...]


def walk(command: Any, path: Words = ()) -> Iterator[Words]:
    """Every command that does something, as its words."""
    below = getattr(command, "commands", {})
    if path and (not below or command.invoke_without_command):
        yield path
    for name, each in below.items():
        yield from walk(each, (*path, name))


COMMANDS = list(walk(typer.main.get_command(app)))
ARGUMENTS: dict[Words, Words] = {
    ("shards", "add"): ("x", "postgresql://h/x"),
    **{("shards", each): ("x",) for each in ("drain", "undrain", "remove")},
    ("tenants", "locate"): ("acme",),
    ("tenants", "add"): ("acme",),
    **{("move", each): ("acme", "--to", "shard_1") for each in ("start", "plan")},
    **{("move", each): ("acme",) for each in ("undo", "cancel", "finish", "verify", "throttle")},
    ("bluegreen", "switch"): ("--all",),
    **{("runs", each): ("1",) for each in ("show", "resume", "cancel", "pause", "approve")},
}
NEED_NO_FLEET = {("init",), ("demo",)}


def test_the_commands_are_those_of_the_documentation() -> None:
    """None is forgotten by the tests that walk them."""
    assert {" ".join(words) for words in COMMANDS} == {
        "init", "demo", "dev up", "dev down", "dev reset", "shards", "shards check", "shards add",
        "shards drain", "shards undrain", "shards remove",
        "rebalance plan", "rebalance start", "rebalance status", "rebalance follow", "rebalance cancel",
        "rebalance undo", "rebalance finish",
        "tables", "status", "check", "lint", "migrate", "rollback", "reset", "seed", "runs", "runs show",
        "runs resume", "runs cancel", "runs pause", "runs approve", "worker", "serve",
        "move start", "move plan", "move status", "move undo", "move cancel", "move finish", "move verify",
        "move throttle",
        "bluegreen plan", "bluegreen start", "bluegreen switch", "bluegreen undo", "bluegreen cancel",
        "bluegreen finish", "bluegreen status", "bluegreen follow", "bluegreen throttle",
        "tenants", "tenants locate", "tenants add", "tenants sync", "tenants verify",
        "tenants load",
    }  # fmt: skip


@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in NEED_NO_FLEET], ids=" ".join)
def test_a_bad_configuration_is_a_document(words: Words, cli: Cli) -> None:
    """Fact, hint and exit code; stderr is silent."""
    done = cli(*words, *ARGUMENTS.get(words, ()), "--json")
    assert (done.code, done.err) == (78, "")
    assert set(done.document) == {"error", "hint", "exit_code"}
    assert done.document["exit_code"] == 78


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_wrong_usage_is_a_document(words: Words, cli: Cli) -> None:
    """Also where the command line could not be read at all."""
    done = cli(*words, "--json", "--no-such-option")
    assert (done.code, done.err, done.document["exit_code"]) == (64, "", 64)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_fault_of_ours_is_a_document(words: Words, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that reads us gets an answer whatever happens."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(Fleet, "from_config", fail)
    monkeypatch.setattr("shardwright.scaffold.init_project", fail)
    monkeypatch.setattr("shardwright.cli.demo.play", fail)
    done = cli(*words, *ARGUMENTS.get(words, ()), "--json")
    assert (done.code, done.document["exit_code"]) == (2, 2)
    assert "unforeseen" in done.document["error"]


def test_a_fleet_told_in_documents(project: Project, cli: Cli) -> None:
    """Each command's document has what its page says; all stderr is silent."""
    migrated = cli("migrate", "--json")
    assert migrated.document["summary"] == {"migrated": 2}
    assert set(migrated.document) == {"run", "target", "shards", "summary"}
    assert set(migrated.document["shards"][0]) == {
        "shard", "status", "from", "to", "seconds", "attempts", "error", "hint",
    }  # fmt: skip
    assert cli("status", "--json").document["shards"][0]["status"] == "up_to_date"
    assert [run["run"] for run in cli("runs", "--json").document["runs"]] == [1]
    assert len(cli("runs", "show", "1", "--json").document["shards"]) == 2
    listed = cli("shards", "--json").document["shards"]
    assert [(each["shard"], each["well"], each["schema"]["revision"]) for each in listed] == [
        ("shard_0", True, "r1"),
        ("shard_1", True, "r1"),
    ]
    checked = cli("shards", "check", "--json").document
    assert (checked["control"]["well"], [each["findings"] for each in checked["shards"]]) == (True, [[], []])
    rolled_back = cli("rollback", "--json")
    assert rolled_back.document["summary"] == {"rolled_back": 2}
    assert (rolled_back.code, rolled_back.err, migrated.err) == (0, "", "")


def test_results_that_are_not_well_are_in_the_document(project: Project, cli: Cli) -> None:
    """Exit 1, and the reason and the hint beside the shard."""
    project.sql("shard_1", "CREATE TABLE a (id int)")
    done = cli("migrate", "--json", "--on-failure", "continue")
    bad = done.document["shards"][1]
    assert (done.code, bad["status"], "already exists" in bad["error"]) == (1, "failed", True)


def test_verbose_speaks_on_stderr(project: Project, cli: Cli) -> None:
    """stdout stays one document."""
    done = cli("migrate", "--json", "-v")
    assert done.document["summary"] == {"migrated": 2}
    assert "shard_0: started" in done.err


def test_adding_and_making_are_documents_too(project: Project, cli: Cli, tmp_path: Path) -> None:
    """`shards add` with the health of the new one, `init` with its files; a refusal with the way out."""
    added = cli("shards", "add", "x", "postgresql://postgres@/x?host=/nowhere", "--json")
    assert (added.code, added.document["added"]["well"]) == (1, False)
    assert [file["new"] for file in cli("init", "--json").document["files"]] == [False, False]
    refused = cli("reset", "--json")
    assert (refused.code, refused.document["hint"]) == (64, "repeat the command with --yes")
