"""How a shard is: what it says of itself, and to a role with fewer rights; what becomes of one that is away."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from catalog.conftest import AsRole, Sql, as_role, run_sql  # noqa: F401 fixtures
from kit import MakeProject, Project, until
from pictures import NOW, away, vitals
from shardwright.monitor import vitals as reading
from shardwright.monitor.uneven import uneven
from shardwright.monitor.vitals import Vitals, read_vitals
from shardwright.pg.connect import connect

TENANTS = '[tenants]\nroot = "organizations"\nkey = "organization_id"\n'


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    made = make_project(shards=1, extra=TENANTS)
    made.stamp("4f2a", "CREATE TABLE organizations AS SELECT generate_series(1, 7) AS id")
    return made


def read(project: Project) -> Vitals:
    fleet = project.fleet().resolved
    return read_vitals(fleet, fleet.shards)[0]


def test_a_shard_says_how_it_is(project: Project) -> None:
    """Everything that a tile of it shows, by one connection."""
    found = read(project)
    assert found.fault is None
    assert (found.tenants, found.revision, found.in_recovery) == (7, "4f2a", False)
    assert found.connections is not None
    assert found.connections_allowed is not None
    assert 0 < found.connections < found.connections_allowed
    assert found.bytes is not None
    assert found.bytes > 1_000_000
    assert found.seconds is not None
    assert 0 < found.seconds < 10
    assert found.cache is not None
    assert 0 <= found.cache <= 1
    assert (found.lag, found.longest, found.disk, found.writes_per_second) == (None, None, None, None)


def test_the_longest_transaction_is_named_without_secrets(project: Project) -> None:
    """With its session and what it runs."""
    with project.holding("shard_0", "SELECT 1 AS one, 'postgresql://ada:s3cret@h/d' AS url") as other:
        pid = other.info.backend_pid
        found = until(lambda: read(project).longest)
    assert found is not None
    assert found.pid == pid
    assert found.age > 0
    assert found.query.startswith("SELECT 1 AS one")
    assert "s3cret" not in found.query


def test_a_role_without_pg_monitor_sees_a_fact_less(project: Project, as_role: AsRole, run_sql: Sql) -> None:  # noqa: F811
    """No others' transactions and no standbys; all else, and with the grant these too."""
    owner = project.shards["shard_0"]
    project.shards["shard_0"] = as_role(owner)
    role = psycopg.conninfo.conninfo_to_dict(project.shards["shard_0"])["user"]
    run_sql(owner, f"GRANT SELECT ON organizations, alembic_version TO {role}")
    project.shards["shard_0"], url = owner, project.shards["shard_0"]
    with project.holding("shard_0", "SELECT 1"):
        project.shards["shard_0"] = _as_url(url)
        project.write()
        modest = read(project)
        assert (modest.longest, modest.lag) == (None, None)
        assert (modest.tenants, modest.revision) == (7, "4f2a")
        assert None not in (modest.connections, modest.bytes, modest.cache, modest.writes)
        run_sql(owner, f"GRANT pg_monitor TO {role}")
        assert read(project).longest is not None


def test_what_a_role_may_not_read_does_not_make_the_shard_away(project: Project, as_role: AsRole) -> None:  # noqa: F811
    """It answers; how many tenants it has, and its revision, are not known."""
    project.shards["shard_0"] = _as_url(as_role(project.shards["shard_0"]))
    project.write()
    found = read(project)
    assert (found.fault, found.tenants, found.state) == (None, None, None)
    assert found.bytes is not None


def _as_url(conninfo: str) -> str:
    told = psycopg.conninfo.conninfo_to_dict(conninfo)
    return f"postgresql://{told['user']}@/{told['dbname']}?host={told['host']}&port={told.get('port', 5432)}"


def test_a_locked_version_table_is_not_waited_for(project: Project) -> None:
    """A rollout holds it while it is at work there: the shard is well, its revision is not known."""
    with project.holding("shard_0", "LOCK TABLE alembic_version"):
        found = read(project)
    assert (found.fault, found.state, found.tenants) == (None, None, 7)


def test_a_shard_that_is_away_has_a_reason_and_the_others_are_read(make_project: MakeProject) -> None:
    """In the order in which they were asked for."""
    project = make_project(shards=2)
    project.shards["shard_0"] = "postgresql://postgres@127.0.0.1:1/nobody"
    project.write()
    fleet = project.fleet().resolved
    down, up = read_vitals(fleet, fleet.shards)
    assert (down.shard, down.is_up, down.connections) == ("shard_0", False, None)
    assert down.fault is not None
    assert "refused" in down.fault.reason
    assert (up.shard, up.is_up) == ("shard_1", True)


def test_a_host_that_does_not_answer_is_waited_for_once(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its other shards are away for the same reason."""
    project = make_project(shards=3, limits={"connections_per_host": "3"})
    asked: list[str] = []

    def silent(url: Any, **_: Any) -> None:
        asked.append(url.database)
        raise psycopg.errors.ConnectionTimeout("timeout expired")

    monkeypatch.setattr(reading, "connect", silent)
    monkeypatch.setattr("shardwright.catalog.ask._AT_ONCE", 1)
    fleet = project.fleet().resolved
    assert [each.is_up for each in read_vitals(fleet, fleet.shards)] == [False] * 3
    assert len(asked) == 1


def test_a_picture_takes_no_more_connections_than_the_budget(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many shards a host has."""
    project = make_project(shards=8, limits={"connections_per_host": "3"})
    alone, at_once, most = threading.Lock(), 0, 0

    class Counted:
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def __enter__(self) -> Any:
            return self.connection.__enter__()

        def __exit__(self, *told: Any) -> None:
            nonlocal at_once
            self.connection.__exit__(*told)
            with alone:
                at_once -= 1

    def counted(*arguments: Any, **options: Any) -> Counted:
        nonlocal at_once, most
        with alone:
            at_once += 1
            most = max(most, at_once)
        return Counted(connect(*arguments, **options))

    monkeypatch.setattr(reading, "connect", counted)
    fleet = project.fleet().resolved
    assert all(each.is_up for each in read_vitals(fleet, fleet.shards))
    assert 1 < most <= 3


def test_writes_in_a_second_are_counted_between_two_pictures(project: Project) -> None:
    """Rows that were written, by the server's own count; nothing where that has begun anew."""
    fleet = project.fleet()
    first = fleet.picture()
    project.sql("shard_0", "INSERT INTO organizations SELECT generate_series(8, 1007)")
    before = first.vitals[0].writes or 0
    until(lambda: fleet.picture(first).vitals[0].writes != before)
    second = fleet.picture(first).vitals[0]
    seconds = (second.at - first.vitals[0].at).total_seconds()
    assert second.writes_per_second == pytest.approx(((second.writes or 0) - before) / seconds)
    assert (second.writes or 0) - before >= 1000
    anew = replace(first, vitals=(replace(first.vitals[0], writes=10**12),))
    assert fleet.picture(anew).vitals[0].writes_per_second is None


def test_the_room_that_is_configured_is_shared_by_the_shards_of_a_host(make_project: MakeProject) -> None:
    """Their databases together, of what the host has."""
    project = make_project(shards=2)
    host = project.fleet().resolved.shards[0].host
    project.extra = f'[monitor.disk]\n"{host}" = "100MB"\n'
    project.write()
    one, other = project.fleet().picture().vitals
    assert one.disk == other.disk == pytest.approx(((one.bytes or 0) + (other.bytes or 0)) / 100e6)


def test_uneven_load_names_both_ends() -> None:
    """By tenants, bytes and writes; more than three times, and enough for it to matter."""
    small, large = vitals("shard_0", tenants=10), vitals("shard_1", tenants=31, bytes=300_000_000)
    by_tenants, by_bytes = uneven([small, large], most=3.0)
    assert (by_tenants.of, by_tenants.most, by_tenants.least) == ("tenants", "shard_1", "shard_0")
    assert by_tenants.ratio == pytest.approx(3.1)
    assert (by_bytes.of, by_bytes.most) == ("bytes", "shard_1")
    assert uneven([vitals(tenants=10), vitals("shard_1", tenants=30)], most=3.0) == ()
    assert uneven([vitals(tenants=0), vitals("shard_1", tenants=19)], most=3.0) == ()
    assert uneven([away(), vitals("shard_1", tenants=1000)], most=3.0) == ()


def test_a_shard_tells_all_of_itself_as_json() -> None:
    """Also one that is away; the moment as text."""
    assert vitals().as_dict()["revision"] == "4f2a"
    told = away().as_dict()
    assert (told["up"], told["error"], told["at"]) == (False, "connection refused", NOW.isoformat())
