"""Runs squawk, a linter of PostgreSQL schema changes, over one script; knows nothing of revisions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardwright import errors

_PG_VERSION = "15.0"  # the oldest supported: what is harmless there is harmless on every shard
_SECONDS = 60.0
_OPTIONS = ("--reporter", "json", "--assume-in-transaction", "--pg-version", _PG_VERSION)


@dataclass(frozen=True)
class Complaint:
    """What squawk says about one of the statements, by its place in the list."""

    statement: int
    rule: str
    message: str


def find() -> Path:
    """The squawk of this Python environment, else the one on PATH. Raises LinterMissing."""
    found = shutil.which("squawk", path=sysconfig.get_path("scripts")) or shutil.which("squawk")
    if found is None:
        raise errors.LinterMissing
    return Path(found)


def complaints(statements: Sequence[str], *, project: Path) -> list[Complaint]:
    """All that squawk says about `statements` in this order, a `.squawk.toml` of the project honoured.

    They are looked at together: what is done to a table that an earlier one creates is harmless.
    Raises LinterMissing, LinterUnusable.
    """
    program = find()
    if not statements:
        return []
    starts, script = _script(statements)
    try:
        done = subprocess.run(
            [program, *_OPTIONS],
            cwd=project,
            input=script,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=_SECONDS,
        )
        answer = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode} and no answer"])[0]
        raise errors.LinterUnusable(program=str(program), reason=said) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.LinterUnusable(program=str(program), reason=str(error)) from error
    return [_complaint(entry, starts) for entry in answer]


def _script(statements: Sequence[str]) -> tuple[list[int], str]:
    """The statements as one text, and the line each begins on."""
    starts, lines = [], 0
    for statement in statements:
        starts.append(lines)
        lines += statement.count("\n") + 2
    return starts, "".join(f"{statement}\n;\n" for statement in statements)  # the last line may be a comment


def _complaint(entry: dict[str, Any], starts: Sequence[int]) -> Complaint:
    place = max(number for number, start in enumerate(starts) if start <= entry["line"])
    return Complaint(place, entry["rule_name"], entry["message"])
