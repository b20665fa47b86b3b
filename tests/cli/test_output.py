"""What a person sees: on a terminal, in a file, in a pipe, in a poor encoding; and what stops nothing."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.conftest import Cli
from kit import Project, cli_command

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PLAIN_ENVIRONMENT = {
    key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS")
}


class Terminal:
    """A command in a pseudo-terminal of 100 columns."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            cli_command(*arguments),
            cwd=folder,
            env={**PLAIN_ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "100", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.raw = ""

    def read_until(self, text: str) -> None:
        """Waits until the screen has shown this."""
        while text not in self.raw:
            assert self._read(), f"never shown: {text}\n{self.raw}"

    def type(self, text: str) -> None:
        """As if at the keyboard."""
        os.write(self._ours, text.encode())

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self._ours)

    def finish(self) -> int:
        """Reads to the end; the exit code."""
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait()

    def _read(self) -> bool:
        try:
            found = os.read(self._ours, 65536).decode()
        except OSError:  # EIO: nobody is left on the other side
            return False
        self.raw += found
        return bool(found)

    @property
    def text(self) -> str:
        """What was shown, without colours and movements; a line that was drawn again as it was drawn last."""
        lines = ESCAPES.sub("", self.raw).split("\n")
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*arguments: str, **environment: str) -> Terminal:
        started.append(Terminal(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def test_a_terminal_shows_progress_and_then_only_the_results(
    project: Project, terminal: Callable[..., Terminal]
) -> None:
    """While it runs a bar; in the end a coloured line for each shard, the summary, and the cursor where it was."""
    screen = terminal("migrate")
    assert screen.finish() == 0
    lines = [line for line in screen.text.splitlines() if line.strip()]
    assert sum(line.startswith("✓ shard_") for line in lines) == 2
    assert lines[-1] == "2 migrated · run 1"
    assert "migrate to r1" in screen.raw
    assert "\x1b[32m" in screen.raw
    assert screen.raw.count("\x1b[?25l") == screen.raw.count("\x1b[?25h") == 1
    assert screen.raw.rindex("\x1b[?25h") < screen.raw.index("2 migrated")
    assert screen.raw.endswith("\r\n")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_done_without(
    environment: dict[str, str], project: Project, terminal: Callable[..., Terminal]
) -> None:
    """NO_COLOR is obeyed; a terminal that knows no movements gets plain lines."""
    screen = terminal("status", **environment)
    assert screen.finish() == 1
    assert "\x1b" not in screen.raw
    assert "✗ base: 2 shards behind (shard_0, shard_1)" in screen.text


def test_the_bar_obeys_no_color_too(project: Project, terminal: Callable[..., Terminal]) -> None:
    """It may move the cursor, and it paints nothing."""
    screen = terminal("migrate", NO_COLOR="1")
    assert screen.finish() == 0
    assert re.search(r"\x1b\[[0-9;]*3[0-9]m", screen.raw) is None


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 2, 1), ("y\n", 0, 0), ("\n", 2, 1)])
def test_a_terminal_is_asked_before_data_are_lost(
    answer: str, code: int, left: int, project: Project, terminal: Callable[..., Terminal]
) -> None:
    """What would be lost is named; anything but a yes is a no, with exit 2 and nothing done."""
    project.sql("shard_0", "CREATE TABLE a AS SELECT 1 AS id")
    screen = terminal("reset", "--shards", "shard_0")
    screen.read_until("Go on?")
    assert "dropping 1 database, all data in them are lost: shard_0" in screen.text
    screen.type(answer)
    assert screen.finish() == code
    assert project.sql("shard_0", "SELECT count(*) FROM a") == [(left,)]
    assert ("nothing was done" in screen.text) == (code == 2)


@pytest.mark.new_interpreter
def test_a_window_that_is_closed_does_not_end_a_rollout(project: Project, terminal: Callable[..., Terminal]) -> None:
    """The lines have nowhere to go; the shards come to their revision and the ledger to its end."""
    project.revision("r2", 'op.execute("SELECT pg_sleep(1)")')
    screen = terminal("migrate", "--jobs", "1")
    screen.read_until("shard_0: migrated")
    screen.hang_up()
    assert screen.process.wait() == 0
    assert project.versions() == {"shard_0": ["r2"], "shard_1": ["r2"]}
    assert [run.state for run in project.fleet().runs()] == ["finished"]


@pytest.mark.new_interpreter  # it ends with what could not be written
@pytest.mark.parametrize("arguments", [["migrate"], ["runs"], ["status", "--json"], ["migrate", "--help"]])
def test_a_reader_who_leaves_is_not_missed(arguments: list[str], project: Project) -> None:
    """`| head -0`: no traceback, and what was to be done is done."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        cli_command(*arguments), cwd=project.path, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.stderr == ""
    assert project.versions()["shard_1"] == (["r1"] if arguments == ["migrate"] else [])


@pytest.mark.new_interpreter
def test_a_full_disk_under_the_log_does_not_end_a_rollout(project: Project) -> None:
    """The output is lost, the work is not."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            cli_command("migrate"), cwd=project.path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert project.versions() == {"shard_0": ["r1"], "shard_1": ["r1"]}


POOR = [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]


@pytest.mark.parametrize("environment", POOR)
def test_a_poor_encoding_gets_poor_signs(environment: dict[str, str], project: Project) -> None:
    """Every line is there, with + for ✓."""
    project.migrate()
    done = project.cli("status", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "+ r1: 2 shards up to date (shard_0, shard_1)"
    assert project.cli("migrate", "--help", env=environment).returncode == 0


def test_the_bar_survives_a_poor_encoding(project: Project, terminal: Callable[..., Terminal]) -> None:
    """On a terminal as well."""
    screen = terminal("migrate", PYTHONIOENCODING="ascii")
    assert screen.finish() == 0
    assert "+ shard_0: migrated to r1" in screen.text


def test_without_a_terminal_lines_are_plain(project: Project, cli: Cli) -> None:
    """Nothing that moves or paints: logs stay readable."""
    assert "\x1b" not in cli("migrate").out


def test_what_a_terminal_would_obey_is_not_sent(project: Project, cli: Cli) -> None:
    """A name in a database can't move the cursor, clear the screen or set the window's title."""
    project.revision("r2", 'op.execute(sa.text("SELECT 1/0 AS \\"\\x1b]0;owned\\x07\\x1b[2J\\""))')
    project.revision("r3", "raise RuntimeError('\\x1b]0;owned\\x07')")
    done = cli("migrate")
    assert done.code == 1
    assert "\x1b" not in done.out + done.err
    assert "\x07" not in done.out + done.err


def test_quiet_tells_what_is_wrong_and_the_end(project: Project, cli: Cli) -> None:
    """Nothing else; a status without fault is silent."""
    project.sql("shard_1", "CREATE TABLE a (id int)")
    done = cli("migrate", "-q", "--on-failure", "continue")
    first, last = done.out.splitlines()
    assert (first.startswith("✗ shard_1: ERROR"), last) == (True, "1 migrated, 1 failed · run 1")
    assert cli("status", "-q").out.splitlines() == ["✗ base: 1 shard behind (shard_1); try: shardwright migrate"]
    project.sql("shard_1", "DROP TABLE a")
    assert cli("migrate", "-q").out.splitlines() == ["1 up to date, 1 migrated · run 2"]
    assert cli("status", "-q").out == ""
    assert cli("shards", "check", "-q").out == ""


def test_a_rollback_asks_where_data_are_dear(project: Project, cli: Cli) -> None:
    """In production it goes on with --yes only where there is no terminal; in development it does not ask."""
    cli("migrate")
    project.environment = "production"
    project.write()
    done = cli("rollback")
    assert (done.code, "rolling back 2 shards marked production" in done.err) == (64, True)
    assert project.versions() == {"shard_0": ["r1"], "shard_1": ["r1"]}
    assert cli("rollback", "--yes").code == 0
    assert project.versions() == {"shard_0": [], "shard_1": []}


def test_one_shard_is_told_in_the_singular_and_many_in_groups(project: Project, cli: Cli) -> None:
    """`status` names the shards that stand alike in one line."""
    behind = "✗ base: 2 shards behind (shard_0, shard_1); try: shardwright migrate"
    assert cli("status").out.splitlines() == ["target r1", behind]


def test_shards_are_listed_with_what_people_ask_for(project: Project, cli: Cli) -> None:
    """Host, revision, size; the unreachable one with its reason, and exit 1."""
    project.migrate()
    project.shards["away"] = "postgresql://postgres@/x?host=/nowhere"
    project.write()
    done = cli("shards")
    lines = done.out.splitlines()
    assert (done.code, len(lines)) == (1, 3)
    assert re.fullmatch(r"✓ shard_0  /\S+:5432  r1 up to date  \d+\.\d MB  \d+ of \d+ connections", lines[0])
    assert "No such file or directory" in lines[2]


def test_shards_are_listed_without_a_history(project: Project, cli: Cli) -> None:
    """A revision that can't be loaded is no reason to hide where the shards are."""
    project.revision("r2")
    (project.path / "migrations" / "versions" / "r2.py").write_text("import nothing_like_it")
    done = cli("shards")
    assert (done.code, len(done.out.splitlines())) == (0, 2)


def test_a_rehearsal_is_told_before_the_shards(project: Project, cli: Cli) -> None:
    """Who has to wait for which statement, which downgrade is no way back and what it leaves; then the rollout."""
    project.migrate()
    project.revision("r2", 'op.create_index("i", "a", ["id"])\nop.execute("CREATE SEQUENCE IF NOT EXISTS s")')
    project.revision("r3", "pass", 'raise NotImplementedError("lost")')
    project.sql("shard_0", "INSERT INTO a VALUES (1)")
    refused = cli("migrate", "--rehearse", "--on-failure", "rollback")
    assert (refused.code, "downgrade r3 (r3.py): NotImplementedError: lost" in refused.err) == (2, True)
    lines = cli("migrate", "--rehearse-rows", "5").out.splitlines()
    assert lines[0] == "rehearsing on a copy of shard_0 for 2 shards …"
    assert lines[1] == "rehearsed on a copy of shard_0 with 1 row of 1 table, for 2 shards (shard_0, shard_1)"
    told = [re.sub(r"\d\.\d{3} s", "T", line) for line in lines]
    assert told[2:8] == [
        "  r2: up T",
        "    T  CREATE INDEX i ON a (id)",
        "             SHARE on a: writers wait",
        "    T  CREATE SEQUENCE IF NOT EXISTS s",
        "! r2: no way back: was not tried",
        "  r3: up T",
    ]
    assert told[8] == "! r3: no way back: downgrade r3 (r3.py): NotImplementedError: lost"
    assert lines[-1] == "2 migrated · run 2"
