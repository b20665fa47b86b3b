"""What the two servers and databases are: reached once, new enough, writable, alike."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shardwright.dsn import DatabaseUrl
from shardwright.move.preflight import connection_room as room
from shardwright.move.preflight import server_version as versions
from shardwright.move.preflight.connection_room import connection_room
from shardwright.move.preflight.encoding import encoding
from shardwright.move.preflight.locale import locale
from shardwright.move.preflight.pooler import pooler
from shardwright.move.preflight.same_database import same_database
from shardwright.move.preflight.schema import schema
from shardwright.move.preflight.server_version import server_version
from shardwright.move.preflight.tables import tables
from shardwright.move.preflight.writable import writable
from two_shards import Shards


def test_one_database_by_two_ways(shards: Shards, tmp_path: Path) -> None:
    """The URLs differ and the names differ, and still it is the same."""
    url = DatabaseUrl.parse(shards.urls["source"])
    (tmp_path / "link").symlink_to(url.host)
    shards.urls["target"] = DatabaseUrl(**{**vars(url), "host": str(tmp_path / "link")}).conninfo
    finding = shards.find_one(same_database)
    assert finding.fact == "source and target are one database by two ways"


def test_a_move_to_itself(shards: Shards) -> None:
    """The same name needs no look at the database."""
    assert shards.find_one(same_database, target="source").fact == "1 is to move from source to itself"


def test_a_server_that_is_too_old(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides are asked."""
    monkeypatch.setattr(versions, "OLDEST_SERVER", 990000)
    assert [each.shard for each in shards.find(server_version)] == ["source", "target"]


@pytest.mark.parametrize("where", ["DATABASE {database}", "ROLE {role}", "ROLE {role} IN DATABASE {database}"])
def test_a_target_that_is_read_only(shards: Shards, where: str) -> None:
    """The cure undoes the setting where it was made."""
    names = {"role": shards.mover(), "database": DatabaseUrl.parse(shards.urls["target"]).database}
    shards.sql("target", f"ALTER {where.format(**names)} SET default_transaction_read_only = on")
    found = shards.find(writable)
    assert "default_transaction_read_only is on for target" in [each.fact for each in found]
    for finding in found:
        shards.mend(finding)
    assert shards.find(writable) == []


def test_a_pooler_in_between(shards: Shards) -> None:
    """It forgets settings, or answers from another process; each by itself is enough."""

    def before(connection: Any, *, forgets: bool, changes: bool) -> Any:
        answers = iter([("w", 1), ("w" if not forgets else "", 2 if changes else 1)])
        words: list[str] = []

        def execute(query: object, values: Any) -> Any:
            words.extend((values or {}).values())
            word, pid = next(answers)
            return SimpleNamespace(fetchall=lambda: [(words[0] if word else "", pid)])

        return SimpleNamespace(execute=execute, info=SimpleNamespace(backend_pid=1))

    for forgets, changes in ((True, False), (False, True), (False, False)):
        with shards.ground() as ground:
            real = ground.on_target
            ground.on_target = before(real, forgets=forgets, changes=changes)
            found = list(pooler.find(ground))
        assert [each.shard for each in found] == (["target"] if forgets or changes else [])


def test_another_encoding(shards: Shards) -> None:
    """Named with both encodings."""
    shards.replace("target", "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    finding = shards.find_one(encoding)
    assert finding.fact == "source is encoded in UTF8, target is encoded in LATIN1"


def test_another_locale(shards: Shards) -> None:
    """A warning: rows can be moved, and are sorted in another way."""
    mine = shards.sql("source", "SELECT datcollate FROM pg_database WHERE datname = current_database()")[0][0]
    other = "C" if mine != "C" else "C.UTF-8"
    shards.replace("target", f"TEMPLATE template0 LOCALE '{other}'")
    finding = shards.find_one(locale)
    assert finding.severity == "warning"
    assert finding.fact.endswith(f"target has the locale libc {other} {other}")


def test_schemas_that_differ(shards: Shards) -> None:
    """The first objects are named, with what they are on each side; the others are counted."""
    shards.sql("target", "; ".join(f"ALTER TABLE tasks ADD COLUMN more_{n} int" for n in range(4)))
    shards.sql("target", "DROP TABLE audit")
    found = shards.find(schema)
    assert found[0].fact == "column public.audit.id: integer NOT NULL on source, missing on target"
    assert len(found) == 6
    assert found[-1].fact.endswith("more objects of source and target differ")


def test_sequences_may_have_other_numbers(shards: Shards) -> None:
    """Ranges of its own are how a shard keeps its ids apart; another type of numbers is a difference."""
    shards.sql(
        "target",
        "ALTER SEQUENCE tasks_id_seq MINVALUE 1000 MAXVALUE 1999 INCREMENT BY 1 START WITH 1000 RESTART WITH 1000",
    )
    assert shards.find(schema) == []
    shards.sql("target", "ALTER SEQUENCE tasks_id_seq AS int")
    assert "sequence public.tasks_id_seq" in shards.find_one(schema).fact


def test_tables_that_can_not_be_placed(shards: Shards) -> None:
    """Each problem of the graph, with the line of configuration that mends it."""
    shards.both("CREATE TABLE loose (id int PRIMARY KEY)")
    finding = shards.find_one(tables)
    assert "loose has no org_id" in finding.fact
    assert finding.cure.startswith('under [tenants]: ignored = ["audit", "loose"]')
    shards.tenants = shards.tenants.replace('"audit"', '"audit", "loose"')
    assert shards.find(tables) == []


@pytest.mark.parametrize("whose", ["role", "database"])
def test_too_few_connections(shards: Shards, whose: str) -> None:
    """The limits of role and database count, beside the server's."""
    role, database = shards.mover(), DatabaseUrl.parse(shards.urls["target"]).database
    name = role if whose == "role" else database
    shards.sql("target", f"ALTER {whose} {name} CONNECTION LIMIT 5")
    found = shards.find(connection_room)
    assert f"{whose} {name} of target has" in found[-1].fact
    for finding in found:
        shards.mend(finding)
    assert shards.find(connection_room) == []


def test_a_server_with_few_connections_left(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both shards are on one server here: twice as many are needed of it."""
    monkeypatch.setattr(room, "NEEDED", 1000)
    found = shards.find(connection_room)
    assert [each.shard for each in found] == ["source", "target"]
    assert re.fullmatch(r"the server of source has \d+ connections left, a move needs 2000", found[0].fact)
