"""A role with the grants of docs/howto/operations.md, no superuser, carries a whole change; the plan misses each."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pair import as_role
from shardwright import errors
from shardwright.bluegreen.preflight.grants import grants
from shardwright.bluegreen.shard_sets.drop import drop
from shardwright.bluegreen.status import ChangeStatus
from shardwright.pg import databases
from two_sets import Sets
from two_shards import SCHEMA

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "operations.md"
NOTHING_FOR_ALL = "REVOKE ALL ON DATABASE {database} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC"


def documented() -> list[str]:
    """The statements of the page's section on changes, one right each."""
    section = re.search(r"\n### To change to a new shard set\n(.*?)\n##", PAGE.read_text(), re.DOTALL)
    assert section is not None
    text = "\n".join(re.findall(r"```sql\n(.*?)```", section[1], re.DOTALL))
    found = re.findall(r"^(GRANT .*?|ALTER ROLE .*?);", text, re.MULTILINE)
    return [one for each in found for one in _each_right(each)]


def _each_right(statement: str) -> list[str]:
    parts = re.fullmatch(r"GRANT (.*?) (ON .*)", statement)
    return [f"GRANT {right} {parts[2]}" for right in parts[1].split(", ")] if parts else [statement]


@pytest.fixture
def granted(sets: Sets) -> Sets:
    """The tables belong to a role of their own; who carries the change has what the page names. Green is not there."""
    owner, carrier = sets.carrier(), sets.carrier()
    sets.drop("green_0", "green_1")
    sets.sql("control", f"GRANT CREATE ON DATABASE {sets.database('control')} TO {carrier}")
    sets.sql("control", f"ALTER SCHEMA shardwright OWNER TO {carrier}")
    for kind, name in sets.sql("control", _OWNED):
        sets.sql("control", f"ALTER {kind} shardwright.{name} OWNER TO {carrier}")
    for shard in ("blue_0", "blue_1"):
        database = sets.database(shard)
        sets.sql(shard, NOTHING_FOR_ALL.format(database=database))
        for table in ("orgs", "users", "tasks", "comments", "audit", "plans"):
            sets.sql(shard, f"ALTER TABLE {table} OWNER TO {owner}")
        sets.sql(shard, f"GRANT USAGE ON SCHEMA public TO {owner}")
        sets.sql(shard, f"GRANT CONNECT ON DATABASE {database} TO {carrier}")
        for statement in statements(sets, shard):
            sets.sql(shard, statement)
    return sets


_OWNED = """SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname
FROM pg_class WHERE relnamespace = 'shardwright'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('i', 'a'))"""


def statements(sets: Sets, shard: str) -> list[str]:
    """The page's statements for this blue shard and the test's roles."""
    owner, carrier = sets.roles
    names = {"shardwright": carrier, "app_owner": owner, "shard_0": sets.database(shard)}
    return [
        re.sub(r"\b(shardwright|app_owner|shard_0)\b", lambda found: names[found[0]], each) for each in documented()
    ]


def test_the_documented_grants_are_enough(granted: Sets) -> None:
    """Green is made, filled, and takes over; back again, and the databases are gone."""
    fleet = granted.project.fleet()
    plan = fleet.plan_bluegreen()
    assert plan.errors == ()

    def story(status: ChangeStatus) -> str:
        return f"{status.run.state}: {status.run.note}"

    run = fleet.start_bluegreen(plan)
    status = fleet.carry_bluegreen(run, until=lambda each: each.change.phase == "in_step")
    assert status.change.phase == "in_step", story(status)
    run, order = fleet.switch_bluegreen()
    status = fleet.carry_bluegreen(run, until=lambda _: fleet.bluegreen_order_ended(order))
    assert (status.change.phase, status.at_green) == ("switched", 3), story(status)
    status = fleet.undo_bluegreen()
    assert (status.change.phase, status.at_green) == ("undone", 0), story(status)
    left = "SELECT count(*) FROM pg_database WHERE datname = ANY (ARRAY['{}', '{}'])"
    assert granted.sql("postgres", left.format(*map(granted.database, granted.green))) == [(0,)]


def test_each_documented_grant_is_needed(granted: Sets) -> None:
    """Without any of them the plan has an error, before anything is made."""
    for shard in ("blue_0", "blue_1"):
        for each in statements(granted, shard):
            if shard == "blue_1" and (" ON " not in each or "PARAMETER" in each):
                continue  # of the whole server
            granted.sql(shard, _taken(each, granted.roles[0]))
            assert granted.project.fleet().plan_bluegreen().errors, each
            granted.sql(shard, each)
    assert granted.project.fleet().plan_bluegreen().errors == ()


def test_grants_that_nothing_gives_on_green(sets: Sets) -> None:
    """What a role may do on blue: with a table that only green has, what it may with every one. Told for each green
    shard; before they are made, by what revisions give."""
    app = sets.carrier()
    sets.role = None
    assert sets.find(grants) == []
    sets.blue(f"GRANT SELECT, INSERT ON orgs, users, tasks, comments, plans TO {app}")
    sets.blue(f"GRANT UPDATE ON tasks TO {app}; GRANT USAGE ON SEQUENCE tasks_id_seq TO {app}")
    sets.sql("green_1", "CREATE TABLE badges (id int PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs)")
    first, second = sets.mended(grants)
    assert first.fact.startswith(f"green_0: role {app} may not INSERT, SELECT, UPDATE, USAGE on ")
    assert first.cure.startswith(f'GRANT USAGE ON SEQUENCE "public"."tasks_id_seq" TO "{app}"; ')
    assert '"badges"' in second.cure
    assert '"badges"' not in first.cure
    sets.drop("green_0", "green_1")
    finding = sets.one(grants)
    assert (finding.severity, finding.shard) == ("warning", None)
    assert finding.fact.startswith(f"green, once its shards are made: role {app} may not ")


def test_a_role_that_greens_server_has_not(sets: Sets, make_frail_database: Callable[[], str]) -> None:
    """Is named with what it may do on blue, and what to grant once it is made; the server that has it lacks no role."""
    app, sets.role = sets.carrier(), None
    sets.urls["green_1"] = make_frail_database()
    sets.sql("green_1", f"{SCHEMA}; CREATE TABLE alembic_version AS SELECT 'one' AS version_num")
    sets.blue(f"GRANT SELECT ON orgs TO {app}")
    near, far = sets.find(grants)
    assert (near.shard, far.shard) == ("green_0", "green_1")
    assert "it is not on that server" not in near.fact
    assert far.fact == f"green_1: role {app} may not SELECT on orgs: it is not on that server, as it may on blue"
    assert far.cure == f'make the role there; then GRANT SELECT ON TABLE "public"."orgs" TO "{app}"'


def test_the_rights_at_the_end(sets: Sets) -> None:
    """Whoever owns a blue database makes it read-only and drops it; sessions of others are ended with
    pg_signal_backend, and told without it."""
    other, carrier = sets.carrier(), sets.carrier()
    fleet = sets.project.fleet().resolved
    shard, name = fleet.shards[0], "test"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        databases.make_read_only(shard.url, application_name=name)
    with psycopg.connect(sets.urls["control"], autocommit=True) as control:
        control.execute("DELETE FROM shardwright.placement")
        with pytest.raises(errors.NotDropped, match="must be owner of database"):
            drop(shard, control, "main", folder=None, without_archive=True)
        sets.sql("postgres", f"ALTER DATABASE {sets.database('blue_0')} OWNER TO {carrier}")
        with psycopg.connect(as_role(sets.urls["blue_0"], other)):
            (left,) = databases.make_read_only(shard.url, application_name=name)
            assert f"({other}" in left
            sets.sql("postgres", f"GRANT pg_signal_backend TO {carrier}")
            assert databases.make_read_only(shard.url, application_name=name) == []
        assert drop(shard, control, "main", folder=None, without_archive=True)


def _taken(statement: str, owner: str) -> str:
    """What takes it back; the right to a schema from the owner as well, else the role has it as a member."""
    if statement.startswith("ALTER ROLE"):
        return statement.replace("CREATEDB", "NOCREATEDB")
    return re.sub(r"^GRANT (.*) TO ", r"REVOKE \1 FROM ", statement) + (f", {owner}" if "SCHEMA" in statement else "")
