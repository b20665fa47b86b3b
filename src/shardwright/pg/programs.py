"""Runs PostgreSQL's own client programs on a database, its secrets where no `ps` shows them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from shardwright.dsn import DatabaseUrl, redact

_SERVICE = "shardwright"


class ProgramFailed(Exception):
    """The program's last word, without secrets."""


def run_on(url: DatabaseUrl, command: Sequence[str], *, text: str = "") -> str:
    """The output of a program that takes `--dbname`, given `text` as its input.

    It is ended where we are. Raises ProgramFailed, OSError where it can't be started.
    """
    with _hiding(url) as (conninfo, environment):
        return run_plainly([*command, f"--dbname={conninfo}"], text=text, environment=environment)


def run_plainly(command: Sequence[str], *, text: str = "", environment: Mapping[str, str] | None = None) -> str:
    """The output of a program that asks no server, or knows already which. Raises as `run_on` does."""
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ProgramFailed(redact(last))
    return done.stdout


@contextmanager
def _hiding(url: DatabaseUrl) -> Iterator[tuple[str, dict[str, str]]]:
    """The conninfo without secrets, and the environment that has them: the password, and a service file for others."""
    bare, secrets = url.without_secrets()
    environment = {**os.environ, **({"PGPASSWORD": url.password} if url.password else {})}
    if not secrets:
        yield bare.conninfo, environment
        return
    with tempfile.NamedTemporaryFile("w", prefix="sw-", suffix=".conf", encoding="utf-8") as file:  # mode 0600
        lines = (f"{name}={value}" for name, value in secrets.items())
        file.write("\n".join([f"[{_SERVICE}]", *lines, ""]))
        file.flush()
        yield bare.with_parameter("service", _SERVICE).conninfo, {**environment, "PGSERVICEFILE": file.name}
