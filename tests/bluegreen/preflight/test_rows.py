"""Tenants and rows: where they are, where they go, and whether green has a place for all of them."""

from __future__ import annotations

import pytest

from shardwright.bluegreen.preflight import collisions as of_collisions
from shardwright.bluegreen.preflight.collisions import collisions
from shardwright.bluegreen.preflight.directory import directory
from shardwright.bluegreen.preflight.keys import keys
from shardwright.bluegreen.preflight.pins import pins
from shardwright.bluegreen.preflight.sequences import sequences
from shardwright.bluegreen.preflight.shapes import shapes
from shardwright.bluegreen.preflight.shared_rows import shared_rows
from two_sets import Sets


def merged(sets: Sets) -> Sets:
    """Both blue shards go to one green."""
    sets.green, sets.lines = ("green_0",), 'placement = "least_loaded"'
    return sets


def test_the_directory_disagrees(sets: Sets) -> None:
    """Each way to differ has its own cure."""
    sets.sql("blue_0", "INSERT INTO orgs VALUES (4, 'four'), (3, 'three')")
    sets.sql("blue_1", "INSERT INTO orgs VALUES (5, 'five')")
    sets.sql("control", "UPDATE shardwright.placement SET shard = 'blue_1', epoch = epoch + 1 WHERE tenant = '1'")
    found = {each.fact.split(":")[0]: each for each in sets.find(directory)}
    assert set(found) == {
        "2 tenants are not in the directory",
        "1 tenant is on several shards",
        "1 tenant is on another shard than the directory says",
    }
    assert found["2 tenants are not in the directory"].cure == "shardwright tenants sync"
    assert "4 (found on blue_0), 5 (found on blue_1)" in found["2 tenants are not in the directory"].fact
    sets.sql("blue_0", "DELETE FROM orgs WHERE id = 3")
    sets.project.fleet().sync_tenants(accept=True)
    assert sets.find(directory) == []
    sets.sql("blue_0", "DELETE FROM orgs WHERE id = 4")
    assert sets.one(directory).cure == "shardwright tenants sync --forget"


def test_pins_and_pairs(sets: Sets) -> None:
    """Pairs without pairs are an error, a pin for nobody a warning."""
    sets.extra = '[bluegreen.pins]\n9 = "green_0"'
    assert (sets.one(pins).severity, sets.one(pins).fact) == ("warning", "no shard has the pinned tenants 9")
    sets.extra, sets.green = "", ("green_0",)
    assert sets.one(pins).cure == 'placement = "least_loaded" under [bluegreen]'
    plan = sets.project.fleet().plan_bluegreen()
    assert (plan.tenants, plan.estimate) == ({}, None)


# --- shapes ---------------------------------------------------------------------------------------


def test_a_select_that_is_wrong(sets: Sets) -> None:
    """Nothing was made, and the line is named."""
    sets.extra = "[bluegreen.tables.users]\nselect = 'SELECT nothing FROM users'\nfrom = { users = ['id'] }"
    assert any('column "nothing" does not exist' in each.fact for each in sets.find(shapes))


def test_what_does_not_come_back(sets: Sets) -> None:
    """An error that `lossy` lets pass; of no interest where nothing is brought back."""
    sets.extra = (
        '[bluegreen.tables.users]\nselect = "SELECT id, org_id, upper(email) AS email FROM users"\n'
        "from = { users = ['id'] }"
    )
    found = [each for each in sets.find(shapes) if each.severity == "error"]
    assert [each.allow for each in found] == ["lossy", "lossy"]  # of each blue shard
    assert "users.email comes back as another value" in found[0].fact
    assert not [each for each in sets.find(shapes, allow=["lossy"]) if each.severity == "error"]
    assert not [each for each in sets.find(shapes, one_way=True) if each.severity == "error"]


def test_rows_that_green_refuses_are_found_on_any_blue_shard(sets: Sets) -> None:
    """A column that may be null on blue only: every row of every shard is looked at."""
    for shard in ("green_0", "green_1"):
        sets.sql(shard, "ALTER TABLE tasks ALTER COLUMN title SET NOT NULL")
    sets.sql("blue_1", "INSERT INTO tasks (org_id) VALUES (3)")
    facts = [each.fact for each in sets.find(shapes) if each.severity == "error" and "is null" in each.fact]
    assert len(facts) == 1
    assert "title is null, and may not be in 1 row" in facts[0]
    assert facts[0].endswith("(blue_1)")


def test_what_is_lost_and_what_is_left_alone(sets: Sets) -> None:
    """Notes: a column that green has not, a table that blue has not."""
    for shard in ("green_0", "green_1"):
        sets.sql(shard, "ALTER TABLE tasks DROP COLUMN title")
        sets.sql(shard, "CREATE TABLE fresh (id int PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs)")
    facts = [each.fact for each in sets.find(shapes)]
    assert "green has no place for tasks.title" in facts
    assert "nothing of blue comes to fresh: they stay as green has them" in facts


def test_shapes_are_asked_of_the_scratch_database(sets: Sets) -> None:
    """Before any green database is there."""
    sets.drop("green_0", "green_1")
    sets.extra = "[bluegreen.tables.users]\nselect = 'SELECT id FROM users'\nfrom = { users = ['id'] }"
    assert any("users.(org_id, email)" in each.fact for each in sets.find(shapes))


def test_tables_without_a_key(sets: Sets) -> None:
    """Small ones are a warning, large ones an error; the cure is a key."""
    sets.all("ALTER TABLE comments DROP CONSTRAINT comments_pkey")
    assert {each.severity for each in sets.find(keys)} == {"warning"}
    sets.sql("blue_1", "INSERT INTO comments SELECT 2, n FROM generate_series(1, 6000) AS n; ANALYZE comments")
    severities = {each.fact.rsplit(" ", 9)[0]: each.severity for each in sets.find(keys)}
    assert sorted(severities.values()) == ["error", "warning"]
    cure = sets.find(keys)[0].cure
    sets.all(cure)
    assert sets.find(keys) == []


def test_sequences_that_go_down(sets: Sets) -> None:
    """And one that no column draws from is left alone, a warning."""
    sets.sql("blue_0", "ALTER SEQUENCE tasks_id_seq INCREMENT -1 MINVALUE -1000 MAXVALUE 1000000")
    sets.sql("blue_0", "CREATE SEQUENCE tickets")
    found = sets.find(sequences)
    assert sorted({each.severity for each in found}) == ["error", "warning"]
    assert any("tickets" in each.fact and each.shard == "blue_0" for each in found)


def test_sequences_of_green_shards_that_are_not_there(sets: Sets) -> None:
    """What is refused is what all of them would be refused, not only the one that was tried."""
    sets.drop("green_0", "green_1")
    sets.blue("SELECT setval('tasks_id_seq', 9223372036854775800)")
    assert any(each.severity == "error" for each in sets.find(sequences))


# --- more than one blue shard ---------------------------------------------------------------------


def test_shared_rows_differ(sets: Sets) -> None:
    """Named by key, and how; as bad as it is only where two shards come together."""
    sets.sql("blue_1", "UPDATE plans SET price = 11 WHERE code = 'team'; INSERT INTO plans VALUES ('gold', 9)")
    finding = sets.one(shared_rows)
    assert (finding.severity, finding.shard) == ("warning", "blue_1")
    assert finding.fact == ("shared rows of plans on blue_1 are not those of blue_0: others: team; only here: gold")
    finding = merged(sets).one(shared_rows)
    assert (finding.severity, finding.allow) == ("error", "shared-rows")


def test_large_shared_tables_are_counted_only(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every row comes here."""
    monkeypatch.setattr("shardwright.bluegreen.preflight.shared_rows._NAMED_UP_TO", 1)
    sets.sql("blue_1", "INSERT INTO plans VALUES ('gold', 9)")
    assert sets.one(shared_rows).fact.endswith(": 2 rows there, 3 rows here")


def test_ids_meet_where_two_become_one(sets: Sets) -> None:
    """A primary key, and a unique value of another column; with examples, and only if they come together."""
    sets.sql("blue_0", "INSERT INTO tasks (id, org_id, title) VALUES (1000, 1, 'a'), (1001, 2, 'b')")
    sets.sql("blue_1", "INSERT INTO tasks (id, org_id, title) VALUES (1000, 3, 'a'), (1001, 3, 'b')")
    sets.sql("blue_1", "UPDATE orgs SET slug = 'org-2'")
    sets.sql("blue_1", "UPDATE users SET id = '00000001-0000-0000-0000-000000000002' WHERE email = '2@x'")
    assert sets.find(collisions) == []
    facts = {each.fact for each in merged(sets).find(collisions)}
    assert facts == {
        "blue_0 and blue_1 both have tasks with the id 1000, 1001, and green_0 would get both",
        "blue_0 and blue_1 both have orgs with the slug org-2, and green_0 would get both",
        "blue_0 and blue_1 both have users with the id 00000001-0000-0000-0000-000000000002, "
        "and green_0 would get both",
    }


def test_ids_of_tenants_that_never_meet(sets: Sets) -> None:
    """They go to different green shards, though other tenants of their shards come together."""
    sets.sql("blue_0", "INSERT INTO tasks (id, org_id) VALUES (1000, 1)")
    sets.sql("blue_1", "INSERT INTO tasks (id, org_id) VALUES (1000, 3)")
    sets.lines = 'placement = "least_loaded"'
    sets.extra = '[bluegreen.pins]\n1 = "green_0"\n2 = "green_1"\n3 = "green_1"'
    assert sets.find(collisions) == []
    sets.extra = sets.extra.replace('1 = "green_0"', '1 = "green_1"')
    assert "would get both" in sets.one(collisions).fact


def test_partial_indexes_expressions_and_nulls(sets: Sets) -> None:
    """Only what the index itself refuses is told."""
    sets.all("CREATE UNIQUE INDEX titles ON tasks (lower(title)) WHERE owner IS NULL")
    sets.blue("UPDATE tasks SET title = id || 'x'")
    sets.sql("blue_0", "INSERT INTO tasks (org_id, title) VALUES (1, 'Same'), (1, NULL)")
    sets.sql("blue_1", "INSERT INTO tasks (org_id, title) VALUES (3, 'sAME'), (3, NULL)")
    finding = merged(sets).one(collisions)
    assert "tasks with the lower(title) same" in finding.fact
    sets.sql("blue_1", "UPDATE tasks SET title = title || '!' WHERE title = 'sAME'")
    assert sets.find(collisions) == []
    sets.sql("blue_1", "UPDATE tasks SET title = 'same', owner = (SELECT id FROM users LIMIT 1) WHERE title = 'sAME!'")
    assert sets.find(collisions) == []


def test_of_large_tables_a_part_is_looked_at(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same part of each shard: numbers drawn from 1 on both are found, and it is said that it was a part."""
    monkeypatch.setattr(of_collisions, "_MOST", 500)
    for shard, tenant in {"blue_0": 1, "blue_1": 3}.items():
        sets.sql(shard, f"INSERT INTO tasks (id, org_id) SELECT n, {tenant} FROM generate_series(5000, 8000) AS n")
    sets.sql("blue_0", "ANALYZE tasks")
    error, note = merged(sets).find(collisions)
    assert (error.severity, note.severity) == ("error", "note")
    assert "of tasks one value in 8 was looked at for tasks_pkey" in note.fact
