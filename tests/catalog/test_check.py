"""`shards check`: each thing that makes a shard unfit is found, named, and comes with what mends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.conftest import AsRole, Sql
from kit import MakeProject, Project, until
from shardwright.catalog.check import Finding, ShardHealth
from shardwright.dsn import DatabaseUrl

Database = Callable[[], str]


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    return make_project(shards=1)


def check(project: Project, url: str | None = None) -> ShardHealth:
    """The health of the only shard, at `url` if another is given."""
    if url is not None:
        project.shards["shard_0"] = url
        project.write()
    (health,) = project.fleet().check_shards()
    return health


def errors_of(health: ShardHealth) -> list[Finding]:
    return [finding for finding in health.findings if finding.severity == "error"]


def test_a_shard_that_is_well_says_what_it_is(project: Project) -> None:
    """No finding, and the facts that people ask for first."""
    health = check(project)
    assert (health.is_well, health.findings) == (True, ())
    assert health.facts["version_number"] >= 150000
    assert health.facts["bytes"] > 0
    assert (health.facts["encoding"], health.facts["tenants"]) == ("UTF8", None)


def test_tenants_are_counted(project: Project, run_sql: Sql) -> None:
    """Where the root table is named and there."""
    project.extra = '[tenants]\nroot = "organizations"\nkey = "organization_id"'
    project.write()
    assert check(project).facts["tenants"] is None
    run_sql(project.shards["shard_0"], "CREATE TABLE organizations AS SELECT generate_series(1, 7) AS id")
    assert check(project).facts["tenants"] == 7


def test_a_locked_table_is_not_waited_for(project: Project) -> None:
    """A migration may hold it: the rest is told, and that the count is missing."""
    project.extra = '[tenants]\nroot = "organizations"\nkey = "organization_id"'
    project.write()
    with project.holding("shard_0", "CREATE TABLE organizations (id int)") as other:
        other.commit()
        other.execute("LOCK TABLE organizations")
        health = check(project)
    assert (health.is_well, health.facts["tenants"]) == (True, None)
    assert [finding.fact for finding in health.findings] == [
        "its tenants can't be counted: canceling statement due to lock timeout"
    ]


def test_one_that_cannot_be_reached_does_not_hide_the_others(make_project: MakeProject) -> None:
    """Each has its own finding with a reason and a hint; the well one is well."""
    project = make_project(shards=2)
    project.shards["away"] = "postgresql://postgres@/x?host=/nowhere"
    project.shards["missing"] = str(DatabaseUrl.parse(project.shards["shard_0"]).with_database("missing"))
    project.write()
    healths = {health.shard: health for health in project.fleet().check_shards()}
    assert [name for name, health in healths.items() if health.is_well] == ["shard_0", "shard_1"]
    assert "No such file or directory" in healths["away"].findings[0].fact
    assert healths["away"].findings[0].cure == "is the server running and listening there?"
    assert 'database "missing" does not exist' in healths["missing"].findings[0].fact


def test_a_role_without_create_is_told_the_grant(project: Project, as_role: AsRole, run_sql: Sql) -> None:
    """The cure is a statement that can be pasted, and after it the shard is fit."""
    owner = project.shards["shard_0"]
    (finding,) = errors_of(check(project, as_role(owner)))
    assert "may not create tables in schema public" in finding.fact
    run_sql(owner, finding.cure)
    assert check(project).is_well


def test_a_role_without_schema_rights_is_warned(project: Project, as_role: AsRole, run_sql: Sql) -> None:
    """Moves need a schema of their own; migrations do not, so it is no error."""
    owner = project.shards["shard_0"]
    health = check(project, as_role(owner))
    (warning,) = (finding for finding in health.findings if finding.severity == "warning")
    run_sql(owner, warning.cure)
    assert [finding.severity for finding in check(project).findings] == ["error"]


def test_tables_of_another_owner_are_named(project: Project, as_role: AsRole, run_sql: Sql) -> None:
    """ALTER TABLE would fail on them; names that need quotes have them."""
    owner = project.shards["shard_0"]
    run_sql(
        owner, 'CREATE TABLE plain (id int); CREATE TABLE "Odd ""one""" (id int); GRANT ALL ON SCHEMA public TO public'
    )
    (finding,) = errors_of(check(project, as_role(owner)))
    assert 'does not own Odd "one", plain' in finding.fact
    run_sql(owner, finding.cure)
    assert check(project).is_well


@pytest.mark.parametrize("where", ["DATABASE {database}", "ROLE {role}", "ROLE {role} IN DATABASE {database}"])
def test_a_shard_that_is_read_only_is_told_where_that_was_set(
    where: str, project: Project, as_role: AsRole, run_sql: Sql
) -> None:
    """The cure takes it back exactly there."""
    owner = project.shards["shard_0"]
    url = DatabaseUrl.parse(as_role(owner))
    run_sql(owner, "GRANT ALL ON SCHEMA public TO public")
    place = where.format(database=url.database, role=url.user)
    run_sql(owner, f"ALTER {place} SET default_transaction_read_only = on")
    (finding,) = errors_of(check(project, url.conninfo))
    assert finding.fact == "default_transaction_read_only is on"
    run_sql(owner, finding.cure)
    assert check(project).is_well


def test_read_only_by_the_url_itself_is_told(project: Project) -> None:
    """No statement at the server would help there."""
    (finding,) = errors_of(check(project, f"{project.shards['shard_0']}&options=-cdefault_transaction_read_only%3Don"))
    assert "out of the URL's options" in finding.cure


def test_an_encoding_that_stores_anything_is_an_error(project: Project, run_sql: Sql) -> None:
    """SQL_ASCII takes every byte for text; the check itself still reads its answers as text."""
    url = DatabaseUrl.parse(project.shards["shard_0"])
    name = f"{url.database}_ascii"
    run_sql(project.control, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII'")
    try:
        health = check(project, str(url.with_database(name)))
    finally:
        run_sql(project.control, f"DROP DATABASE {name}")
    assert [finding.fact for finding in errors_of(health)] == ["its encoding is SQL_ASCII"]
    assert isinstance(health.facts["version"], str)


def test_a_budget_larger_than_the_server_is_a_warning(project: Project) -> None:
    """The number of connections there are is named."""
    project.limits = {"connections_per_host": "500"}
    project.write()
    (finding,) = check(project).findings
    assert finding.severity == "warning"
    assert "limits.connections_per_host = 500, but the server has" in finding.fact


def test_one_database_by_two_ways_is_found(make_project: MakeProject, tmp_path: Path) -> None:
    """The URLs differ, the database is the same: the second name is an error."""
    project = make_project(shards=1)
    project.shards["twin"] = by_another_way(project.shards["shard_0"], tmp_path)
    project.write()
    healths = project.fleet().check_shards()
    assert [health.is_well for health in healths] == [True, False]
    assert healths[1].findings[0].fact == "it is the same database as shard_0"


def test_the_control_database_by_another_way_is_found(make_project: MakeProject, tmp_path: Path) -> None:
    """Or a reset of that shard would drop the ledger."""
    project = make_project(shards=1)
    project.shards["twin"] = by_another_way(project.control, tmp_path)
    project.write()
    healths = project.fleet().check_shards()
    assert healths[1].findings[0].fact == "it is the same database as the control database"


def by_another_way(url: str, folder: Path) -> str:
    """The same server by a symbolic link to its socket directory."""
    parsed = DatabaseUrl.parse(url)
    (folder / "link").symlink_to(parsed.host)
    return DatabaseUrl(**{**vars(parsed), "host": str(folder / "link")}).conninfo


def test_databases_of_one_name_on_two_servers_are_no_twins(project: Project, other_cluster: object) -> None:
    """Every server has a `postgres` of the same number; only the server tells them apart."""
    home = DatabaseUrl.parse(project.shards["shard_0"]).with_database("postgres").conninfo
    project.shards = {"here": home, "there": other_cluster.url("postgres")}  # type: ignore[attr-defined]
    project.write()
    assert [health.is_well for health in project.fleet().check_shards()] == [True, True]


@pytest.mark.parametrize("setting", ["", "ignore_startup_parameters = options"], ids=["strict", "lenient"])
def test_a_pooler_in_between_is_noticed(setting: str, project: Project, pgbouncer: Callable[[str], str]) -> None:
    """Whether it refuses our session's settings or swallows them: locks would be lost between two transactions."""
    (finding,) = check(project, pgbouncer(setting)).findings
    assert "a connection pooler stands between" in finding.fact
    assert "the PostgreSQL server itself" in finding.cure


def test_the_control_database_is_checked_too(project: Project) -> None:
    """Before anything was recorded, and after; looking makes nothing."""
    before = project.fleet().check_control()
    assert before is not None
    assert (before.is_well, before.facts["schema_version"]) == (True, 0)
    assert project.sql("control", "SELECT 1 FROM pg_namespace WHERE nspname = 'shardwright'") == []
    project.table("r1", "a")
    project.migrate()
    after = project.fleet().check_control()
    assert after is not None
    assert after.facts["schema_version"] > 0


def test_a_control_database_that_is_unfit_is_named(project: Project, as_role: AsRole, run_sql: Sql) -> None:
    """Away; or for a role that may not make its schema, with the grant that helps."""
    owner = project.control
    project.control = as_role(owner)
    project.write()
    health = project.fleet().check_control()
    assert health is not None
    (finding,) = health.findings
    run_sql(owner, finding.cure)
    again = project.fleet().check_control()
    assert again is not None
    assert again.is_well
    project.control = "postgresql://postgres@/x?host=/nowhere"
    project.write()
    away = project.fleet().check_control()
    assert away is not None
    assert (away.is_well, away.facts) == (False, {})


def test_nothing_is_left_behind_by_a_check(project: Project) -> None:
    """A question changes nothing, and leaves no session."""
    check(project)
    ours = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name <> ''"
    until(lambda: project.sql("shard_0", ours) == [])
