"""What the mover's role may do; each cure is run, and enough."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

from shardwright.move.preflight.check import preflight
from shardwright.move.preflight.database_rights import database_rights
from shardwright.move.preflight.declare import Check
from shardwright.move.preflight.ownership import ownership
from shardwright.move.preflight.row_security import row_security
from shardwright.move.preflight.table_rights import table_rights
from shardwright.move.preflight.triggers import triggers
from shardwright.transfer.sessions import may_write_silently
from two_shards import Shards

NOTICE = """CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL\\; END'"""


def mended(shards: Shards, check: Check[Any]) -> list[str]:
    """What the check said; by its own cures it says nothing any more."""
    found = shards.find(check)
    assert found
    for finding in found:
        shards.mend(finding)
    assert shards.find(check) == []
    return [each.fact for each in found]


def test_a_role_that_may_make_no_schema(shards: Shards) -> None:
    """CREATE; TEMPORARY too, where it has been taken from everybody. The source has its lists of keys as well."""
    role = shards.mover()
    for shard in shards.urls:
        shards.sql(shard, f"REVOKE TEMP ON DATABASE {shards.database(shard)} FROM PUBLIC")
    said = mended(shards, database_rights)
    assert [f"role {role} has no right to CREATE, TEMPORARY"] * 2 == [fact.partition(" in ")[0] for fact in said]


def test_a_schema_of_ours_that_is_another_role_s(shards: Shards) -> None:
    """A move by a superuser left it there; this one has to add to it."""
    role = shards.mover(*shards.enough)
    shards.sql("target", "CREATE SCHEMA shardwright")
    assert mended(shards, database_rights) == [f"role {role} may not create in the schema shardwright of target"]


def test_tables_of_another_role(shards: Shards) -> None:
    """Membership in the owner's role is enough; a superuser's tables are given away instead."""
    shards.mover()
    owner = shards.mover("ALTER TABLE tasks OWNER TO {role}")
    mover = shards.mover()
    said = mended(shards, ownership)
    assert said[0] == f"role {mover} does not own comments, orgs, tasks, users of source"
    with shards.ground() as ground:
        ((is_member,),) = ground.target_side.ask(sql.SQL(f"SELECT pg_has_role('{owner}', 'USAGE')"))
        assert is_member


def test_tables_that_may_not_be_read_or_written(shards: Shards) -> None:
    """The schema's USAGE too; of shared tables only SELECT is asked for."""
    shards.both("CREATE SCHEMA apart; ALTER TABLE tasks SET SCHEMA apart; ALTER TABLE plans SET SCHEMA apart")
    shards.tenants = shards.tenants.replace('"plans"', '"apart.plans"')
    role = shards.mover("GRANT SELECT ON users, orgs TO {role}")
    said = mended(shards, table_rights)
    assert said[0] == f"role {role} may not SELECT, INSERT, DELETE on apart.tasks, comments, orgs, users of source"
    assert said[1] == f"role {role} may not SELECT on apart.plans, audit of source"
    assert len(said) == 4


def test_row_security_that_hides_rows(shards: Shards) -> None:
    """For a role that is neither owner nor BYPASSRLS; an owner is subject to it where it is forced."""
    shards.mover(*shards.enough)
    shards.sql("target", "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY")
    assert shards.find(row_security) == []
    shards.sql("target", "ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
    assert mended(shards, row_security) == [f"role {shards.role} is subject to row security on tasks of target"]


def test_triggers_without_the_right_to_silence_them(shards: Shards) -> None:
    """On the source only those that a DELETE fires: the clean-up's. One that is disabled does nothing."""
    shards.both(NOTICE)
    for name, event in (("on_insert", "INSERT"), ("on_delete", "DELETE"), ("on_update", "UPDATE")):
        shards.both(f"CREATE TRIGGER {name} AFTER {event} ON tasks FOR EACH ROW EXECUTE FUNCTION shout()")
    role = shards.mover(*shards.enough[:-1])
    source, target, slower = shards.find(triggers, offline=True)
    assert source.fact == (
        f"role {role} may not set session_replication_role on source, so the move would fire on_delete of tasks"
    )
    assert target.fact.endswith("would fire on_delete of tasks, on_insert of tasks")
    assert slower.severity == "warning"
    shards.both("ALTER TABLE tasks DISABLE TRIGGER USER")
    assert [each.severity for each in shards.find(triggers, offline=True)] == ["warning"]
    why = "which a move needs while the tenant works (one with --offline may do without)"
    assert [(each.severity, each.fact) for each in shards.find(triggers)] == [
        ("error", f"role {role} may not set session_replication_role on {side}, {why}") for side in ("source", "target")
    ]
    shards.both("ALTER TABLE tasks ENABLE TRIGGER USER")
    mended(shards, triggers)


def test_circles_of_foreign_keys_without_the_right(shards: Shards) -> None:
    """A table that refers to itself can't be filled in order, in an offline move either."""
    shards.both("ALTER TABLE tasks ADD COLUMN parent bigint REFERENCES tasks")
    shards.mover(*shards.enough[:-1])
    finding = shards.find_one(triggers, offline=True)
    assert finding.severity == "error"
    assert finding.fact.endswith("the order of these foreign keys: tasks.parent → tasks")


def test_triggers_that_fire_for_replicas_too(shards: Shards) -> None:
    """The right to be a replica does not silence them."""
    shards.both(NOTICE)
    shards.both("CREATE TRIGGER shouts AFTER INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION shout()")
    assert shards.find(triggers) == []
    shards.both("ALTER TABLE tasks ENABLE ALWAYS TRIGGER shouts")
    (said,) = mended(shards, triggers)
    assert said == "trigger shouts of tasks on target fires for replicas too: also for each row that is brought"


@pytest.mark.parametrize("lacking", range(3))
def test_each_of_the_rights_is_needed(shards: Shards, lacking: int) -> None:
    """What the page on rights names is complete, and no more than is needed."""
    shards.mover(*(grant for number, grant in enumerate(shards.enough) if number != lacking))
    with shards.ground() as ground:
        assert any(each.severity != "note" for each in preflight(ground))


@pytest.mark.parametrize(("grants", "may"), [(slice(None), True), (slice(-1), False)])
def test_the_right_to_write_silently_is_tried(shards: Shards, grants: slice, may: bool) -> None:
    """What is asked is the server, not its list of grants, which services that manage servers leave out; and neither a
    session nor a transaction is a replica's afterwards, or broken."""
    shards.mover(*shards.enough[grants])
    with shards.ground() as ground:
        connection = ground.source_side.connection
        assert may_write_silently(connection) is may
        with connection.transaction():
            assert may_write_silently(connection) is may
            assert connection.execute("SHOW session_replication_role").fetchone() == ("origin",)
        assert connection.execute("SHOW session_replication_role").fetchone() == ("origin",)
