"""Blue and green draw at the same time, and never the same number."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from shardwright import errors
from shardwright.bluegreen.shard_sets.numbering import Given, Plan, Refusal, Room, deal, keep
from shardwright.bluegreen.shard_sets.sequences import check_sequences, raise_home, raise_sequences, room_left
from shardwright.config import TenantsSection
from shardwright.dsn import DatabaseUrl
from shardwright.pg.sequences import Sequence
from shardwright.pg.tables import TableName, read_tables
from shardwright.shard import Shard
from shardwright.transfer.graph import PlacedTable
from shardwright.transfer.place import table_graph

NAME = TableName("public", "tasks_id_seq")
INT = (1 << 31) - 1
SECTION = TenantsSection(root="orgs", key="org_id", shared=("plans",))


def numbers(last: int = 1, step: int = 1, *, called: bool = True, **fields: Any) -> Sequence:
    plain = Sequence(NAME, step, 1, INT, cycles=False, ceiling=INT, last=last, is_called=called)
    return replace(plain, **fields)


def fresh(count: int) -> dict[str, Sequence]:
    return {f"green_{place}": numbers(called=False) for place in range(count)}


def draws(sequence: Sequence, *, to: int) -> set[int]:
    """What it gives from now on, up to there."""
    return set(range(sequence.next, min(to, sequence.highest) + 1, sequence.increment))


def after(plan: Plan) -> dict[str, Sequence]:
    return {start.shard: start.as_set for start in plan.starts}


# --- the numbers by themselves ----------------------------------------------------------------


SCHEMES: dict[str, Callable[[random.Random, int], list[Sequence]]] = {
    "each from 1": lambda dice, count: [numbers(dice.randint(1, 5000)) for _ in range(count)],
    "increments": lambda dice, count: [numbers(count * dice.randint(1, 999) + place, count) for place in range(count)],
    "wide increments": lambda dice, count: [numbers(8 * dice.randint(1, 99) + place, 8) for place in range(count)],
    "ranges": lambda dice, count: [
        numbers(dice.randint(low, low + 500), lowest=low, highest=low + 99_999)
        for low in range(1, 100_000 * count, 100_000)
    ],
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("blue", "green"), [(1, 1), (3, 3), (2, 3), (3, 1), (1, 4)])
def test_nobody_draws_what_another_draws_in_the_room(scheme: str, blue: int, green: int) -> None:
    """Green meets neither what blue has drawn, nor what it draws up to the floor, nor other green shards."""
    dice = random.Random(f"{scheme} {blue} {green}")  # noqa: S311 data
    for _ in range(20):
        giving = [Given(f"b{place}", (each,)) for place, each in enumerate(SCHEMES[scheme](dice, blue))]
        plan = deal(giving, fresh(green), ceiling=INT, room=1000)
        floor_of = {shard: room.floor for room in plan.rooms for shard in room.shards}
        drawn = set().union(*(set(range(1, each.sequences[0].last + 1)) for each in giving if scheme != "ranges"))
        coming = set().union(*(draws(each.sequences[0], to=floor_of[each.shard]) for each in giving))
        greens = [draws(each, to=each.next + 20_000) for each in after(plan).values()]
        assert all(len(each) > 1000 for each in greens)
        assert all(one.isdisjoint(other) for one, other in itertools.combinations([coming, *greens], 2))
        if len(plan.rooms) == 1:  # a partner's own numbers lie below its floor, others' between its own
            assert all(each.isdisjoint(drawn) for each in greens)
        assert all(len(draws(each.sequences[0], to=floor_of[each.shard])) > 100 // blue for each in giving)


def test_a_partner_goes_on_as_its_blue_shard_would() -> None:
    """As many green as blue, told apart by remainders: so moves between green shards are what they were."""
    giving = [Given("b0", (numbers(10, 4),)), Given("b1", (numbers(4003, 4),))]
    found = after(deal(giving, fresh(2), ceiling=INT, room=1000))
    assert [(each.increment, each.next % 4, each.highest) for each in found.values()] == [(4, 2, INT), (4, 3, INT)]
    assert found["green_0"].next < 4003 < found["green_1"].next


def test_a_partner_stays_in_its_blue_shards_range() -> None:
    """Told apart by ranges alone."""
    giving = [Given("b0", (numbers(10, lowest=1, highest=9999),)), Given("b1", (numbers(10_500, lowest=10_000),))]
    found = after(deal(giving, fresh(2), ceiling=INT, room=1000))
    assert [(each.lowest, each.highest) for each in found.values()] == [(1, 9999), (10_000, INT)]
    assert [each.next for each in found.values()] == [1011, 11_501]


def test_rows_count_as_drawn_unless_they_leave_no_room() -> None:
    """Ids that an application gave itself near the end of the type would make every sequence useless."""
    below = deal([Given("b", (numbers(10),), held=70_000)], fresh(1), ceiling=INT, room=1000)
    assert after(below)["green_0"].next == 71_001
    ends = deal([Given("b", (numbers(10),), held=INT - 5)], fresh(1), ceiling=INT, room=1000)
    assert after(ends)["green_0"].next == 1011


@pytest.mark.parametrize(
    ("ceiling", "last", "room"), [(INT, 10, 1_000_000), (INT, 1 << 29, 1 << 27), (32_767, 767, 8000)]
)
def test_the_room_is_sized_by_what_was_drawn_and_what_is_left(ceiling: int, last: int, room: int) -> None:
    """A million, or a quarter of all that was drawn, or a quarter of what the type has left."""
    (found,) = deal([Given("b", (numbers(last),))], fresh(1), ceiling=ceiling).rooms
    assert (found.base, found.floor - found.base) == (last, room)


@pytest.mark.parametrize(
    ("sequence", "fact", "cure"),
    [
        (numbers(INT - 500), "500 numbers left", "bigint"),
        (numbers(cycles=True), "begins anew", "NO CYCLE"),
        (numbers(increment=-1), "goes down", "INCREMENT BY 1"),
    ],
)
def test_what_can_t_be_raised_is_refused(sequence: Sequence, fact: str, cure: str) -> None:
    """With what mends it."""
    with pytest.raises(Refusal, match=fact) as refused:
        deal([Given("b", (sequence,))], fresh(2), ceiling=INT)
    assert cure in refused.value.cure


def test_a_column_without_giving_sequence_is_dealt_out() -> None:
    """A key that is new in green: each shard its own numbers, and no room, for nobody else draws."""
    plan = deal([Given("b", ())], fresh(3), ceiling=INT)
    assert [each.next for each in after(plan).values()] == [3, 1, 2]
    assert plan.rooms == ()


def test_going_home_keeps_increments_and_ranges() -> None:
    """Each blue shard goes on above what it could meet, with its own remainder, in its own range."""
    green = [Given("g0", (numbers(20_000, 2),)), Given("g1", (numbers(30_001, 2),))]
    blue = {"b0": numbers(10, 2), "b1": numbers(11, 2)}
    found = after(keep(green, blue, ceiling=INT, room=1000))
    assert [(each.increment, each.next) for each in found.values()] == [(2, 21_002), (2, 31_003)]
    ranged = {"b0": numbers(10, lowest=1, highest=9999), "b1": numbers(10_010, lowest=10_000)}
    greens = [Given("g0", (replace(ranged["b0"], last=500),)), Given("g1", (replace(ranged["b1"], last=10_500),))]
    assert [each.next for each in after(keep(greens, ranged, ceiling=INT, room=1000)).values()] == [1501, 11_501]


# --- on shards --------------------------------------------------------------------------------

BLUE = """
CREATE TABLE plans (id serial PRIMARY KEY, code text);
CREATE TABLE orgs (id bigint PRIMARY KEY);
CREATE TABLE "Odd %s" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs);
CREATE TABLE users (id smallserial PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs);
CREATE SEQUENCE invoice_no;
INSERT INTO orgs VALUES (1);
INSERT INTO plans (code) VALUES ('free'), ('team');
INSERT INTO "Odd %s" (org_id) SELECT 1 FROM generate_series(1, 10);
INSERT INTO users (org_id) SELECT 1 FROM generate_series(1, 10);
"""
GREEN = """
CREATE TABLE plans (id serial PRIMARY KEY, code text);
CREATE TABLE orgs (id bigint PRIMARY KEY);
CREATE TABLE "Odd %s" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs);
CREATE TABLE people (id bigserial PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs, note bigserial);
"""
PEOPLE, USERS = TableName("public", "people"), TableName("public", "users")
ELSEWHERE = {(PEOPLE, "id"): [(USERS, "id")]}


class Sets:
    """Blue and green shards with those tables."""

    def __init__(self, make: Callable[[], str], blue: int, green: int) -> None:
        self.blue = [self._shard(f"blue_{place}", make(), BLUE) for place in range(blue)]
        self.green = [self._shard(f"green_{place}", make(), GREEN) for place in range(green)]

    def _shard(self, name: str, url: str, script: str) -> Shard:
        shard = Shard(name, DatabaseUrl.parse(url), {})
        for statement in script.strip().split(";\n"):
            self.sql(shard, statement)
        return shard

    def sql(self, shard: Shard, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(shard.url.conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def tables(self, shard: Shard) -> list[PlacedTable]:
        with psycopg.connect(shard.url.conninfo) as connection:
            return list(table_graph(read_tables(connection), SECTION).tables)

    def draw(self, shard: Shard, table: str, count: int = 3, column: str = "id") -> list[int]:
        """What the next rows would get."""
        text = f"pg_get_serial_sequence('\"{table}\"', '{column}')"
        return [row[0] for row in self.sql(shard, f"SELECT nextval({text}) FROM generate_series(1, {count})")]

    def raise_green(self, **options: Any) -> tuple[Room, ...]:
        return raise_sequences(self.blue, self.green, self.tables(self.green[0]), elsewhere=ELSEWHERE, **options)


def test_green_draws_above_blue_each_its_own(make_database: Callable[[], str]) -> None:
    """Identity and serial, a wider type, another name of the table, a key that blue has not; shared ones alike."""
    sets = Sets(make_database, 2, 3)
    rooms = {room.sequence.name: room for room in sets.raise_green(room=5000)}
    assert set(rooms) == {"Odd %s_id_seq", "people_id_seq", "plans_id_seq"}
    assert rooms["people_id_seq"].sources == (TableName("public", "users_id_seq"),)
    assert (rooms["people_id_seq"].base, rooms["people_id_seq"].floor) == (10, 5010)
    for table, column in (("Odd %s", "id"), ("people", "id"), ("people", "note")):
        drawn = [number for shard in sets.green for number in sets.draw(shard, table, column=column)]
        assert len(set(drawn)) == 9
        assert min(drawn) > (5010 if column == "id" else 0)
    assert [sets.draw(shard, "plans") for shard in sets.green] == [[5003, 5004, 5005]] * 3


def test_the_room_shrinks_as_blue_draws(make_database: Callable[[], str]) -> None:
    """And is made anew by raising again, with green lower nowhere; kept with the run and read back it is the same."""
    sets = Sets(make_database, 2, 1)
    rooms = [Room.from_dict(room.as_dict()) for room in sets.raise_green(room=5000)]
    before = sets.draw(sets.green[0], "people")[-1]
    sets.draw(sets.blue[1], "users", 4990)
    narrowest = room_left(sets.blue, rooms)[0]
    assert (narrowest.room.sequence.name, narrowest.used, narrowest.left) == ("people_id_seq", 4990, 10)
    assert min(each.left for each in room_left(sets.blue, sets.raise_green(room=5000))) >= 5000
    assert sets.draw(sets.green[0], "people")[0] > before + 3


def test_home_again_blue_draws_above_green(make_database: Callable[[], str]) -> None:
    """With what a writer on blue has drawn in an open transaction, which does not hold anybody up."""
    sets = Sets(make_database, 2, 2)
    sets.raise_green(room=1000)
    drawn = {number for shard in sets.green for number in sets.draw(shard, "people", 500)}
    back = {(USERS, "id"): [(PEOPLE, "id")]}
    with psycopg.connect(sets.blue[0].url.conninfo) as writer:
        writer.execute("INSERT INTO users (org_id) VALUES (1)")
        rooms = raise_home(sets.green, sets.blue, sets.tables(sets.blue[0]), elsewhere=back, room=300)
        first = writer.execute("INSERT INTO users (org_id) VALUES (1) RETURNING id").fetchone()
    assert first is not None
    assert first[0] > max(drawn) + 300
    assert {shard.name: min(sets.draw(shard, "users")) > max(drawn) + 300 for shard in sets.blue} == {
        "blue_0": True,
        "blue_1": True,
    }
    assert min(each.left for each in room_left(sets.green, rooms)) == 300


def test_what_blue_can_t_hold_is_refused_and_nothing_is_changed(make_database: Callable[[], str]) -> None:
    """Green has drawn beyond a smallint: no way home for that column, with its name."""
    sets = Sets(make_database, 1, 1)
    sets.raise_green(room=1000)
    sets.sql(sets.green[0], "SELECT setval('people_id_seq', 40000)")
    with pytest.raises(errors.SequencesRefused, match="users_id_seq has 0 numbers left above 40,000"):
        raise_home(sets.green, sets.blue, sets.tables(sets.blue[0]), elsewhere={(USERS, "id"): [(PEOPLE, "id")]})
    assert sets.draw(sets.blue[0], "Odd %s", 1) == [11]


def test_the_check_names_what_it_can_t_answer_for(make_database: Callable[[], str]) -> None:
    """A sequence without a column is a warning on the shard that has it; one that goes round an error; before and with
    green.
    """
    sets = Sets(make_database, 1, 1)
    sets.sql(sets.blue[0], "ALTER SEQUENCE users_id_seq CYCLE")
    tables = sets.tables(sets.green[0])
    for receiving in ([], sets.green):
        found = check_sequences(sets.blue, receiving, tables, elsewhere=ELSEWHERE)
        assert [(each.severity, each.shard) for each in found] == [("error", "blue_0"), ("warning", "blue_0")]
        assert ("CYCLE" in found[0].fact, "invoice_no" in found[1].fact) == (True, True)
    assert sets.draw(sets.green[0], "people", 1) == [1]


def test_green_s_increment_is_blue_s_where_that_is_wide_enough(make_database: Callable[[], str]) -> None:
    """Two shards with INCREMENT BY 4 become three: the same increment, so that a fourth has its place."""
    sets = Sets(make_database, 2, 3)
    for place, shard in enumerate(sets.blue):
        sets.sql(shard, 'ALTER TABLE "Odd %s" ALTER id SET INCREMENT BY 4')
        sets.sql(shard, f"SELECT setval('\"Odd %s_id_seq\"', {100 + place})")
    sets.raise_green()
    steps: Mapping[str, list[int]] = {shard.name: sets.draw(shard, "Odd %s", 2) for shard in sets.green}
    assert {later - one for one, later in steps.values()} == {4}
    assert len({one % 4 for one, _ in steps.values()}) == 3
