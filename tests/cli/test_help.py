"""The help answers before the documentation has to: examples, and a word on every option."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from cli.conftest import Cli
from kit import Project
from shardwright import __version__
from shardwright.cli.app import app


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


EVERYTHING = dict(walk(typer.main.get_command(app)))
ACTING = {
    words: each
    for words, each in EVERYTHING.items()
    if words and words not in {("dev",), ("move",), ("bluegreen",), ("rebalance",)}
}
CHANGING = {
    *("init", "dev up", "dev down", "dev reset", "shards add"),
    *("shards drain", "shards undrain", "shards remove"),
    *(f"rebalance {word}" for word in ("start", "cancel", "undo", "finish")),
    *("migrate", "rollback", "reset", "seed"),
    *("runs resume", "runs cancel", "runs pause", "runs approve"),
    *("tenants add", "tenants sync", "tenants load"),
    *("move start", "move undo", "move cancel", "move finish", "move throttle"),
    *(f"bluegreen {word}" for word in ("start", "switch", "undo", "cancel", "finish", "throttle")),
}


@pytest.mark.parametrize("words", ACTING, ids=" ".join)
def test_every_command_has_a_sentence_and_examples(words: tuple[str, ...]) -> None:
    """The examples are commands that begin as this one is called."""
    command = ACTING[words]
    assert command.help.endswith(".")
    examples = [line.strip() for line in command.epilog.splitlines() if "shardwright" in line]
    assert examples
    assert all(line.startswith(" ".join(("shardwright", *words))) for line in examples)


@pytest.mark.parametrize("words", EVERYTHING, ids=" ".join)
def test_every_option_and_argument_is_explained(words: tuple[str, ...]) -> None:
    """None is left to be guessed."""
    parameters = [each for each in EVERYTHING[words].params if each.name != "help"]
    assert [each.name for each in parameters if not each.help] == []


@pytest.mark.parametrize("words", ACTING, ids=" ".join)
def test_the_common_options_are_everywhere(words: tuple[str, ...]) -> None:
    """And --dry-run and --yes on every command that changes something, on no other."""
    options = {option for each in ACTING[words].params for option in each.opts}
    assert {"--config", "--json", "--quiet", "-q", "--verbose", "-v"} <= options
    assert ({"--dry-run", "--yes"} <= options) == (" ".join(words) in CHANGING)


@pytest.mark.parametrize("words", EVERYTHING, ids=" ".join)
def test_help_in_a_pipe_is_plain_and_a_misspelling_is_understood(words: tuple[str, ...], cli: Cli) -> None:
    """No colours where nobody sees them; of each command, and of an option of each, the nearest is named, ending with
    64 before it has looked for a configuration."""
    done = cli(*words, "--help")
    assert (done.code, "\x1b" in done.out) == (0, False)
    command = EVERYTHING[words]
    for name in getattr(command, "commands", {}):
        done = cli(*words, name[0] + name, "x")
        assert done.code == 64
        assert f"Did you mean '{name}'" in done.err
    options = [each for parameter in command.params for each in parameter.opts if each.startswith("--")]
    for option in options[:1]:
        done = cli(*words, f"{option}{option[-1]}")
        assert done.code == 64
        assert f"Did you mean {option}?" in done.err
        assert "\x1b" not in done.err


def test_a_tenant_may_be_called_nearly_as_a_command(cli: Cli, project: Project) -> None:
    """With --to the first word is a tenant; without, it is the command that was meant."""
    assert "Did you mean 'undo'" in cli("move", "undoo", "acme").err
    assert "Did you mean" not in cli("move", "undoo", "--to", "shard_1", "--dry-run").err


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_for_everybody(option: str, cli: Cli) -> None:
    """Exit 0, on stdout, without a configuration in reach."""
    done = cli("migrate", option)
    assert (done.code, done.err) == (0, "")
    assert "shardwright migrate --canary 2" in done.out


def test_the_version_is_told(cli: Cli) -> None:
    """In one line."""
    assert cli("--version").out == f"shardwright {__version__}\n"


def complete(project: Project, words: str) -> list[str]:
    place = {"COMP_WORDS": f"shardwright {words}", "COMP_CWORD": str(len(words.split()))}
    return project.cli(env={"_SHARDWRIGHT_COMPLETE": "complete_bash", **place}).stdout.split()


def test_the_shell_completes_commands_options_and_shards(project: Project) -> None:
    """After `shardwright --install-completion`; names of shards come from the configuration, and nobody is asked."""
    assert complete(project, "mig") == ["migrate"]
    assert complete(project, "move un") == ["undo"]
    assert complete(project, "migrate --can") == ["--canary"]
    assert complete(project, "move start acme --to sh") == ["shard_0", "shard_1"]
    assert complete(project, "migrate --shards shard_0,sh") == ["shard_0,shard_0", "shard_0,shard_1"]
    (project.path / "shardwright.toml").write_text("[fleet")
    assert complete(project, "move start acme --to sh") == []
