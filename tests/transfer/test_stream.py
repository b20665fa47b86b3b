"""Rows from one database to another: all of them or an error, in blocks, as fast as they may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kit import until
from shardwright.transfer.stream import RowsLost, Streamed, stream

Session = psycopg.Connection[Any]
_FORMS = [sql.SQL("BINARY"), sql.SQL("TEXT")]
_ROWS = "SELECT n, repeat('x', 1000) FROM generate_series(1, 1000) AS n"


@pytest.fixture
def sessions(make_database: Callable[[], str]) -> Iterator[tuple[Session, Session]]:
    """Of two databases; the second has a table."""
    with ExitStack() as stack:
        source, target = (
            stack.enter_context(psycopg.connect(make_database(), autocommit=True)) for _ in range(2)
        )  # fmt: skip
        target.execute("CREATE TABLE there (n integer, text text)")
        yield source, target


def carry(sessions: tuple[Session, Session], query: str, form: sql.SQL = _FORMS[0], **options: Any) -> Streamed:
    source, target = sessions
    with source.transaction(), target.transaction():
        return stream(
            source, sql.SQL(query), target, sql.Identifier("there"), sql.SQL("n, text"), form, **options
        )  # fmt: skip


def arrived(sessions: tuple[Session, Session]) -> list[Any]:
    """Count and sum at the target; both sessions can be used."""
    assert sessions[0].execute("SELECT 1").fetchall() == [(1,)]
    return sessions[1].execute("SELECT count(*), sum(n), sum(length(text)) FROM there").fetchall()


@pytest.mark.parametrize("form", _FORMS, ids=["binary", "text"])
def test_all_rows_arrive_and_each_block_is_paced(sessions: tuple[Session, Session], form: sql.SQL) -> None:
    """A limit can be kept within a block: none is larger than 64 kB and a row, however much is sent in all."""
    blocks: list[int] = []
    brought = carry(sessions, _ROWS, form, pace=blocks.append)
    assert arrived(sessions) == [(1000, 500500, 1000000)]
    assert brought == Streamed(1000, sum(blocks))
    assert len(blocks) > 10
    assert max(blocks) < 67_000


def test_no_rows(sessions: tuple[Session, Session]) -> None:
    """Nothing is brought, and that is no error."""
    assert carry(sessions, "SELECT 1, 'x' WHERE false").rows == 0
    assert arrived(sessions)[0][0] == 0


def test_the_next_rows_wait_for_the_pace(sessions: tuple[Session, Session]) -> None:
    """What was paced is all that has been asked of the source, but for what lies in the buffers between."""
    source, _ = sessions
    source.execute("CREATE SEQUENCE asked")
    stopped_at: list[int] = []

    class Enough(Exception):
        pass

    def stop(_: int) -> None:
        with psycopg.connect(source.info.dsn) as other:
            activity = "SELECT wait_event FROM pg_stat_activity WHERE pid = %s"
            until(lambda: other.execute(activity, [source.info.backend_pid]).fetchall() == [("ClientWrite",)])
            stopped_at.append(other.execute("SELECT last_value FROM asked").fetchall()[0][0])
        raise Enough

    with pytest.raises(Enough):
        carry(
            sessions,
            "SELECT nextval('asked')::int, repeat('x', 1000) FROM generate_series(1, 100000)",
            pace=stop,
        )
    assert stopped_at[0] < 10_000
    assert arrived(sessions)[0][0] == 0


def test_a_source_that_fails_on_its_way(sessions: tuple[Session, Session]) -> None:
    """Its error is told, and nothing is at the target, though blocks had been sent."""
    with pytest.raises(psycopg.errors.DivisionByZero):
        carry(sessions, "SELECT n, repeat('x', 1000 / (n - 900) * 0 + 1000) FROM generate_series(1, 1000) AS n")
    assert arrived(sessions)[0][0] == 0


def test_a_target_that_refuses(sessions: tuple[Session, Session]) -> None:
    """Its error is told, not that of the source, which was in the midst of its rows."""
    sessions[1].execute("ALTER TABLE there ADD CHECK (n < 10)")
    with pytest.raises(psycopg.errors.CheckViolation):
        carry(sessions, _ROWS.replace("(1, 1000)", "(1, 20000)"))
    assert arrived(sessions)[0][0] == 0


def test_rows_that_a_trigger_swallows_are_missed(sessions: tuple[Session, Session]) -> None:
    """Fewer have arrived than were sent: that is an error, and nothing stays."""
    sessions[1].execute(
        """CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN IF NEW.n = 7 THEN RETURN NULL; END IF; RETURN NEW; END';
           CREATE TRIGGER swallows BEFORE INSERT ON there FOR EACH ROW EXECUTE FUNCTION swallow()"""
    )
    with pytest.raises(RowsLost, match="1000 rows were sent, and 999 have arrived"):
        carry(sessions, _ROWS)
    assert arrived(sessions)[0][0] == 0
