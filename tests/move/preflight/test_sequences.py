"""Numbers that both shards would give: which sequences can meet, and how they are kept apart."""

from __future__ import annotations

import pytest

from shardwright.move.preflight.sequences import sequences
from two_shards import Shards


def alter(shards: Shards, source: str, target: str) -> None:
    """Both sequences are changed."""
    shards.sql("source", f"ALTER SEQUENCE tasks_id_seq {source}")
    shards.sql("target", f"ALTER SEQUENCE tasks_id_seq {target}")


@pytest.mark.parametrize(
    ("source", "target", "meet"),
    [
        ("INCREMENT BY 1", "INCREMENT BY 1", True),
        ("INCREMENT BY 2", "INCREMENT BY 2", False),
        ("INCREMENT BY 2", "INCREMENT BY 3", True),
        ("INCREMENT BY 2", "INCREMENT BY 4", False),
        ("INCREMENT BY 4", "INCREMENT BY 1", True),
        ("INCREMENT BY 2 CYCLE", "INCREMENT BY 2", True),
        ("INCREMENT BY 1 MAXVALUE 999", "INCREMENT BY 1 MINVALUE 1000 START 1000 RESTART 1000", False),
        ("INCREMENT BY 1 MAXVALUE 1000", "INCREMENT BY 1 MINVALUE 1000 START 1000 RESTART 1000", True),
        ("INCREMENT BY -1 MINVALUE -99 MAXVALUE -1 START -1 RESTART -1", "INCREMENT BY 1", False),
    ],
)
def test_which_sequences_meet(shards: Shards, source: str, target: str, meet: bool) -> None:
    """Increments that are multiples of one with other remainders, or ranges without overlap: else they meet."""
    alter(shards, source, target)
    assert bool(shards.find(sequences)) == meet


def test_the_cure_keeps_them_apart(shards: Shards) -> None:
    """Run on both shards, while both go on: no number is given twice, on either, and none again."""
    alter(shards, "INCREMENT BY 1", "INCREMENT BY 1 RESTART 5000")
    source, target = shards.find(sequences)
    assert (source.shard, target.shard) == ("source", "target")
    assert source.allow == "sequences"
    assert "draws tasks.id from public.tasks_id_seq as the other shard does" in source.fact
    shards.sql("source", "SELECT nextval('tasks_id_seq') FROM generate_series(1, 50)")
    for finding in (source, target):
        shards.mend(finding)
    assert shards.find(sequences) == []
    drawn = [
        {number for (number,) in shards.sql(name, "SELECT nextval('tasks_id_seq') FROM generate_series(1, 500)")}
        for name in shards.urls
    ]
    assert not drawn[0] & drawn[1]
    assert min(*drawn[0], *drawn[1]) > 5000


def test_identity_columns_and_sequences_named_in_a_default(shards: Shards) -> None:
    """A sequence need not belong to the column that draws from it."""
    shards.both("CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id bigint)")
    shards.both("CREATE SEQUENCE s; CREATE TABLE b (id int PRIMARY KEY DEFAULT nextval('s'), org_id bigint)")
    found = shards.find(sequences)
    assert [each.fact.split()[2] for each in found] == ["a.id", "a.id", "b.id", "b.id"]
    for finding in found:
        shards.mend(finding)
    assert shards.find(sequences) == []


def test_numbers_that_may_be_alike(shards: Shards) -> None:
    """Unique with the tenant key, or not unique at all."""
    shards.both("CREATE TABLE a (org_id bigint, n serial, PRIMARY KEY (org_id, n))")
    shards.both("CREATE TABLE b (id uuid PRIMARY KEY, org_id bigint, n serial)")
    assert shards.find(sequences) == []


def test_ids_that_the_target_would_come_to(shards: Shards) -> None:
    """Ids from before the sequences were kept apart: the target's next rows would have them too."""
    shards.sql("source", "INSERT INTO tasks (id, org_id) VALUES (22, 1), (40, 1), (41, 1), (60, 2)")
    finding = shards.find_one(sequences)
    assert finding.fact == (
        "target draws tasks.id from public.tasks_id_seq, which is at 22 and will come to 2 ids"
        " that rows of the tenant have"
    )
    shards.mend(finding)
    assert shards.find(sequences) == []
    assert shards.sql("target", "SELECT nextval('tasks_id_seq')") == [(42,)]
