"""Which statements are of the CONCURRENTLY kind."""

from __future__ import annotations

import pytest

from shardwright.pg.indexes import index_to_be_built, waits_without_harm


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "\n  create unique index\n concurrently i on t (a)",
        "-- so that writers go on\nCREATE INDEX CONCURRENTLY i ON t (a)",
        "/* why */ DROP INDEX CONCURRENTLY IF EXISTS i",
        "REINDEX INDEX CONCURRENTLY i",
        "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "ALTER TABLE events DETACH PARTITION events_2020 CONCURRENTLY",
    ],
)
def test_statements_nobody_queues_behind_may_wait(statement: str) -> None:
    """A short lock_timeout would break them off half way."""
    assert waits_without_harm(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX i ON t (a)",
        "CREATE INDEX concurrently_made ON t (a)",
        "ALTER TABLE concurrently ADD COLUMN a int",
        "ALTER TABLE events DETACH PARTITION events_2020",
        "SELECT 'CREATE INDEX CONCURRENTLY i ON t (a)'",
        "-- CREATE INDEX CONCURRENTLY i ON t (a)\nDROP TABLE t",
    ],
)
def test_all_others_may_not(statement: str) -> None:
    """They hold up whoever comes after them."""
    assert not waits_without_harm(statement)


@pytest.mark.parametrize(
    ("statement", "target"),
    [
        ("CREATE INDEX CONCURRENTLY by_a ON t (a)", ("by_a", "t")),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS by_a ON app.t (a)", ("by_a", "app.t")),
        ('CREATE INDEX CONCURRENTLY "By A" ON ONLY "My""Schema"."T" (a)', ('"By A"', '"My""Schema"."T"')),
        ("/* why */ CREATE INDEX CONCURRENTLY by_a\n  ON t USING gin (a)", ("by_a", "t")),
        ("CREATE INDEX CONCURRENTLY ON t (a)", None),
        ("DROP INDEX CONCURRENTLY by_a", None),
        ("CREATE INDEX by_a ON t (a)", None),
    ],
)
def test_the_index_and_its_table_are_found(statement: str, target: tuple[str, str] | None) -> None:
    """As the statement spells them; an index without a name leaves none that could be known again."""
    assert index_to_be_built(statement) == target
