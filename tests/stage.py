"""What stages of moves and of changes have in common: a project, its board of runs, processes that carry them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from kit import Project, until
from shardwright.catalog.control import open_control
from shardwright.runs.board import Board

MINE = "application_name LIKE 'shardwright move %'"
SESSIONS = f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {MINE}"
LEFT = """SELECT to_regnamespace('shardwright'), (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'shardwright%'),
    (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class Stage:
    """Where something happens to shards while others write to them. `program` is the file that carries a run."""

    program: ClassVar[str]

    def __init__(self, project: Project) -> None:
        self.project = project
        self.quiet = threading.Event()
        self.processes: list[subprocess.Popen[str]] = []

    def ask(self, shard: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What it gives on that shard (or "control"), committed."""
        raise NotImplementedError

    def end(self) -> None:
        """Nothing of it is at work."""
        self.quiet.set()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def require_empty(self, shard: str) -> None:
        """No schema, trigger, session, prepared transaction or lock of ours is on that shard."""
        until(lambda: self.ask(shard, SESSIONS) == [(0,)], seconds=20)
        assert self.ask(shard, LEFT) == [(None, 0, 0, 0)], shard

    # --- runs and who carries them

    @contextmanager
    def board(self) -> Iterator[Board]:
        """The board of runs."""
        fleet = self.project.fleet().resolved
        with open_control(fleet.control, application_name="test") as connection:
            yield Board(connection, fleet.shard_set)

    def messages(self, run: int) -> list[str]:
        """What the run has told."""
        with self.board() as board:
            return [str(event.data["text"]) for event in board.events(run) if event.kind == "message"]

    def take_over(self, run: int) -> None:
        """The run's mover has been silent for long enough: it is in the queue again."""
        with self.board() as board:
            until(lambda: board.take_over(0.3, most=99, discard=lambda *_: None))
            until(lambda: (found := board.run(run)) and found.state == "queued")

    def carrier(self, *words: str, dies: str = "", stops: str = "") -> subprocess.Popen[str]:
        """A process that carries the run that `words` name, and dies, or is stopped, at that point."""
        with (self.project.path / f"carrier-{len(self.processes)}").open("w+") as log:
            process = subprocess.Popen(
                [sys.executable, self.program, *words],
                cwd=self.project.path,
                env={**os.environ, "SW_DIES": dies, "SW_STOPS": stops},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def log(self, process: subprocess.Popen[str]) -> str:
        """What a carrier has said."""
        return (self.project.path / f"carrier-{self.processes.index(process)}").read_text()

    @staticmethod
    def is_stopped(process: subprocess.Popen[str]) -> bool:
        """Whether it sleeps by SIGSTOP."""
        return "State:\tT" in Path(f"/proc/{process.pid}/status").read_text()
