"""A page that can be played: its files are written and its commands run in order, and what they print is compared."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

_FENCE = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<body>.*?)^```', re.DOTALL | re.MULTILINE)
_SHARD_LINE = re.compile(r"[✓✗↩-] shard_\d+: .* \(# s\)")
_BUSY = re.compile(r"^\S+  switch, try \d+: ")  # a busy machine: the switch waited for a better moment
_ANYTHING = "…"
_VARYING = [
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "DATE"),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"\b\d[\d.,]* (s|ms)\b", r"# \1"),
    (r"\b\d[\d.]* [kM]?B\b", "# B"),
    (r"\b\d+ tr(y|ies)\b", "# tries"),
    (r"\bschema [0-9a-f]{8}\b", "schema #"),
    (r"\bPostgreSQL \d+\.\d+", "PostgreSQL #"),
    (r" +# B", " # B"),
    (r"(on|by) \S+$", r"\1 #"),
    (r"/[^?= ]*/(tracker-)[0-9a-f]{8}/", r"/\1#/"),
    (r"(Generating) /\S*/(\S+) \.\.\. +done", r"\1 \2"),
]


@dataclass(frozen=True)
class File:
    """A file that the page shows, whole; or a `diff` of it whose lines with + come after those without."""

    name: str
    body: str
    is_diff: bool

    def write(self, folder: Path) -> None:
        """The file is as the page says."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._patched(path.read_text()) if self.is_diff else self.body)

    def _patched(self, text: str) -> str:
        lines = self.body.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line.startswith(" "))
        assert text.count(before) == 1, f"{self.name} has not this once:\n{before}"
        return text.replace(before, "".join(line[1:] for line in lines))


@dataclass(frozen=True)
class Command:
    """A command that the page shows, and what it prints there."""

    words: list[str]
    shown: list[str]

    def differences(self, printed: str) -> str:
        """What is other than the page says; empty where nothing is."""
        expected, found = comparable(self.shown), comparable(printed.splitlines())
        if self.shown == [_ANYTHING] or expected == found:
            return ""
        told = [*(f"- {line}" for line in expected if line not in found), *(f"+ {line}" for line in found)]
        return "\n".join([f"$ {shlex.join(self.words)}", *told])


def steps(page: Path) -> Iterator[File | Command]:
    """What the reader does, in order."""
    for found in _FENCE.finditer(page.read_text()):
        if found["file"]:
            yield File(found["file"], found["body"], is_diff=found["kind"] == "diff")
        elif found["kind"] == "console":
            for shown in re.split(r"^\$ ", found["body"], flags=re.MULTILINE)[1:]:
                command, *output = shown.splitlines()
                yield Command(shlex.split(command, comments=True), output)


def comparable(lines: list[str]) -> list[str]:
    """The lines without what differs from run to run; shards in the order of their names, not of their speed."""
    plain = [_plain(line.rstrip()) for line in lines if not _BUSY.match(line)]
    groups = groupby(plain, key=lambda line: bool(_SHARD_LINE.fullmatch(line)))
    return [line for are_shards, group in groups for line in (sorted(group) if are_shards else group)]


def _plain(line: str) -> str:
    for pattern, word in _VARYING:
        line = re.sub(pattern, word, line)
    return line


class Reader:
    """Somebody at a terminal, in a folder, who does what the page says.

    `programs`: the folder of those that were installed; else they are this Python's.
    """

    def __init__(self, folder: Path, environment: dict[str, str], programs: Path | None = None) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment}
        self.programs = programs

    def does(self, step: File | Command) -> str:
        """What is other than the page says; empty where nothing is."""
        if isinstance(step, File):
            step.write(self.folder)
            return ""
        if step.words[0] == "export":
            name, _, value = step.words[1].partition("=")
            self.environment[name] = value
            return ""
        if step.words[0] == "pip":  # whoever runs this has it
            return ""
        return step.differences(self._run(step.words))

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            self._command(*words),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def _command(self, program: str, *arguments: str) -> list[str]:
        ours = {"shardwright": ["-m", "shardwright"], "alembic": ["-m", "alembic"], "python": []}
        if program not in ours:
            return [program, *arguments]
        if self.programs is not None:
            return [str(self.programs / program), *arguments]
        return [sys.executable, *ours[program], *arguments]
