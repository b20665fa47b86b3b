"""What a database error means, in words without secrets, and the command that helps."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from shardwright.dsn import redact

LOCK_TIMEOUT = "55P03"
CANCELLED = "57014"


@dataclass(frozen=True)
class Fault:
    """One database error: the fact, a hint (may be empty), PostgreSQL's code where it sent one."""

    reason: str
    hint: str = ""
    sqlstate: str | None = None


_CONNECT_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"password authentication failed|no password supplied|pg_hba"),
        "check the user and password of this shard's URL",
    ),
    (
        re.compile(r'database ".*" does not exist'),
        "create the database, or let `shardwright dev up` do it in development",
    ),
    (
        re.compile(r"Connection refused|No such file or directory"),
        "is the server running and listening there?",
    ),
    (re.compile(r"could not translate host name|resolve host"), "check the host of this shard's URL"),
    (re.compile(r"timeout expired|timed out"), "the host does not answer: check network and firewall"),
    (
        re.compile(r"too many clients|remaining connection slots"),
        "lower limits.connections_per_host, or raise max_connections",
    ),
    (re.compile(r"starting up|shutting down|recovery"), "wait until the server is up, then repeat"),
)
_STATE_HINTS = {
    "42501": "grant the role the privilege named above, or connect as the owner of the schema",
    "25006": "the server is read-only: point the URL at the primary",
    "53100": "free disk space on the server",
    "53300": "lower limits.connections_per_host, or raise max_connections",
}


def explain(error: BaseException) -> Fault:
    """`error`, and what lies beneath an SQLAlchemy error, as one line and a hint."""
    cause = getattr(error, "orig", None) or error
    state = sqlstate(cause)
    text = _one_line(cause)
    if isinstance(cause, psycopg.OperationalError) and state is None:
        hint = next((hint for pattern, hint in _CONNECT_HINTS if pattern.search(text)), "")
        return Fault(_without_preamble(text), hint, None)
    return Fault(text, _STATE_HINTS.get(state or "", ""), state)


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code, from psycopg, psycopg2 or asyncpg (which SQLAlchemy wraps once more); None without one."""
    candidates: tuple[Callable[[BaseException], object], ...] = (
        lambda e: getattr(e, "sqlstate", None),
        lambda e: getattr(e, "pgcode", None),
        lambda e: getattr(e.__cause__, "sqlstate", None),
    )
    found = (candidate(error) for candidate in candidates)
    return next((state for state in found if isinstance(state, str)), None)


def _one_line(error: BaseException) -> str:
    """The server's own message where there is one, else the text; one line, redacted."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    detail = getattr(getattr(error, "diag", None), "message_detail", None)
    text = f"{primary} ({detail})" if primary and detail else primary or str(error) or type(error).__name__
    # The ledger can hold neither NUL nor half a surrogate pair, and user code may raise anything.
    text = re.sub(r"[\s\x00]+", " ", text).encode(errors="replace").decode()
    return redact(text.strip())


def _without_preamble(text: str) -> str:
    """libpq repeats itself for every address it tried; the last attempt says it all."""
    last = re.split(r"Multiple connection attempts failed\. All failures were: ", text)[0]
    return re.sub(r"^connection failed: |\s*Is the server running .*\?$", "", last)
