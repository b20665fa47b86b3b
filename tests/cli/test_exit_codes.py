"""Exit codes, and the one line that says what is the matter."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from cli.conftest import Cli
from kit import Project
from shardwright import errors
from shardwright.fleet import Fleet


def test_0_all_is_well(project: Project, cli: Cli) -> None:
    """Nothing on stderr; the last line is the summary."""
    done = cli("migrate")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "2 migrated · run 1"
    assert cli("status").code == 0


def test_1_not_every_shard_is_well(project: Project, cli: Cli) -> None:
    """The work was done where it could be; each shard that is not well has its line."""
    project.sql("shard_1", "CREATE TABLE a (id int)")
    done = cli("migrate")
    assert done.code == 1
    assert "✗ shard_1: ERROR " in done.out
    assert cli("status").code == 1


def test_2_it_could_not_do_its_work(project: Project, cli: Cli) -> None:
    """A control database that is away, and nothing to undo: fact and cure, and no traceback."""
    nothing = cli("rollback")
    assert (nothing.code, nothing.out) == (2, "")
    assert nothing.err.startswith("✗ nothing to roll back: ")
    project.control = "postgresql://app:hunter2@/control?host=/nowhere"
    project.write()
    away = cli("migrate")
    assert away.code == 2
    assert "the control database postgresql://app:***@/control" in away.err
    assert "No such file or directory" in away.err
    assert "\n  try: is the server running" in away.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("statsu", "No such command 'statsu'. Did you mean 'status'"),
        ("shards chekc", "No such command 'chekc'. Did you mean 'check'?"),
        ("status --shrads x", "No such option: --shrads. Did you mean --shards?"),
        ("migrate --on-failure explode", "'explode' is not one of 'stop', 'continue', 'rollback'"),
        ("migrate --timeout 5x", '"30min"'),
        ("migrate --jobs 0", "greater than or equal to 1"),
        ("migrate one two", "unexpected extra argument(s) (two)"),
        ("runs show abc", "valid integer"),
        ("shards add x", "Missing argument 'URL'"),
        ("shards add x y --label nonsense", "not of the form key=value"),
        ("rollback --steps 1 --to base", "exclude one another"),
        ("migrate --waves 90%,10%", "growing percentages"),
        ("status --shards nobody", "matches 'nobody'; it has: shard_0, shard_1"),
        ("--config x status", "shardwright COMMAND --config"),
        ("shards -q check", "--quiet stands before check"),
        ("runs --config x show 1", "shardwright runs show --config"),
    ],
)
def test_64_wrong_usage_says_what_was_meant(arguments: str, said: str, project: Project, cli: Cli) -> None:
    """A suggestion where a word is misspelt; nothing on stdout, nothing done."""
    done = cli(*arguments.split())
    assert (done.code, done.out) == (64, "")
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("arguments", ["", "dev"])
def test_64_without_a_command_the_help_is_shown(arguments: str, cli: Cli) -> None:
    """Scripts see that nothing was done."""
    done = cli(*arguments.split())
    assert done.code == 64
    assert "Commands" in done.out


def test_78_bad_configuration(cli: Cli, tmp_path: Path) -> None:
    """No file, and a file with several mistakes: each on its line with its cure."""
    assert cli("status").code == 78
    (tmp_path / "shardwright.toml").write_text('[fleet]\ncontrol = "x"\nsed = "y"\n')
    done = cli("status")
    assert (done.code, done.out) == (78, "")
    assert "fleet.control: it does not begin with postgresql://" in done.err
    assert "unknown key fleet.sed (did you mean seed?" in done.err


def test_130_interrupted(project: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C outside of a run is told in a word, in JSON where that was asked."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Fleet, "status", interrupt)
    done = cli("status")
    assert (done.code, done.err) == (130, "✗ interrupted\n")
    assert cli("status", "--json").document == {"error": "interrupted", "hint": None, "exit_code": 130}


def fail(*_: object, **__: object) -> None:
    raise ValueError("odd thing at postgresql://app:hunter2@h/db")


def test_a_fault_of_ours_is_one_line(project: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is, how to report it, no traceback, no secret; exit 2."""
    monkeypatch.setattr(Fleet, "status", fail)
    done = cli("status")
    assert done.code == 2
    assert done.err.splitlines() == [
        "✗ a fault of shardwright itself: ValueError: odd thing at postgresql://app:***@h/db",
        "  try: the same command with -v shows where; please report it with that",
    ]


@pytest.mark.parametrize("flag", ["-v", "--verbose", "-qv"])
def test_v_shows_where_a_fault_is(flag: str, project: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback, on stderr, without secrets."""
    monkeypatch.setattr(Fleet, "status", fail)
    done = cli("status", flag)
    assert "Traceback (most recent call last)" in done.err
    assert "hunter2" not in done.err


def test_a_folder_that_may_not_be_written_is_no_fault_of_ours(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says of a file is said, and nobody is asked to report it."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "shardwright.toml")

    monkeypatch.setattr(Path, "write_text", refuse)
    done = cli("init")
    assert (done.code, done.err) == (2, "✗ [Errno 13] Permission denied: 'shardwright.toml'\n")


def test_a_control_database_that_dies_in_the_middle_is_told(
    project: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2 with the control database named, not a traceback of the driver."""

    def die(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    cli("migrate")
    monkeypatch.setattr("shardwright.runs.store.Ledger.runs", die)
    done = cli("runs")
    assert done.code == 2
    assert "server closed the connection unexpectedly" in done.err
    assert done.err.startswith("✗ the control database ")


def test_every_error_class_has_an_exit_code_of_the_table() -> None:
    """What scripts rely on."""
    assert {errors.UsageError.exit_code, errors.ConfigError.exit_code, errors.ShardwrightError.exit_code} == {64, 78, 2}
