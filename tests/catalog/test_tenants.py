"""The directory of a fleet: adopted from its shards, kept in step with them; what is not certain is not concluded."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest

from catalog.conftest import AsRole
from kit import MakeProject, Project
from shardwright import errors
from shardwright.catalog import tenants as operations
from shardwright.catalog.comparison import Workbench
from shardwright.catalog.placement import stable_hash
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster

SECTION = '[tenants]\nroot = "organizations"\nkey = "organization_id"'
AWAY = "postgresql://postgres@/x?host=/nowhere"
ONE, TWO = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"


def fill(project: Project, kind: str, **tenants: list[str]) -> Project:
    """Each shard has a root table with a key of this type, and these tenants."""
    for shard in project.shards:
        project.sql(shard, f"CREATE TABLE organizations (id {kind} PRIMARY KEY)")
        for tenant in tenants.get(shard, []):
            project.sql(shard, "INSERT INTO organizations VALUES (%s)", tenant)
    return project


def _role(url: str) -> psycopg.sql.Identifier:
    return psycopg.sql.Identifier(DatabaseUrl.parse(url).user or "")


def directory(project: Project) -> dict[str, tuple[str, int]]:
    return {each.tenant: (each.shard, each.epoch) for each in project.fleet().tenants()}


@pytest.mark.parametrize(
    ("kind", "given", "spelled"),
    [
        ("integer", ["7", "10"], ["10", "7"]),
        ("bigint", ["-9000000000", "1"], ["-9000000000", "1"]),
        ("uuid", [ONE.upper(), TWO], [ONE, TWO]),
        ("text", ["'; --", '🦔\n\t\\N\\."', "\\N", ""], ["", "'; --", "\\N", '🦔\n\t\\N\\."']),
        ("varchar(20)", ["ab ", "ab"], ["ab", "ab "]),
        ("timestamptz", ["2025-01-06 08:00+02"], ["2025-01-06 06:00:00+00"]),
    ],
)
def test_a_fleet_is_adopted_whatever_its_key(
    kind: str, given: list[str], spelled: list[str], make_project: MakeProject
) -> None:
    """The directory has each id as PostgreSQL writes it; a second sync, and verify, find nothing to do."""
    project = fill(make_project(2, extra=SECTION), kind, shard_0=given)
    done = project.fleet().sync_tenants()
    assert (done.exit_code, done.added) == (0, len(given))
    assert directory(project) == dict.fromkeys(spelled, ("shard_0", 1))
    assert list(directory(project)) == spelled
    again = project.fleet().sync_tenants(accept=True, forget=True)
    assert (again.exit_code, again.added, again.comparison.agreeing) == (0, 0, len(given))
    assert project.fleet().verify_tenants().is_equal
    assert {tenant: project.fleet().ask_shards(tenant).found for tenant in given} == dict.fromkeys(given, ("shard_0",))


@pytest.mark.parametrize(
    ("named", "schema", "table"),
    [
        ("sales.organizations", "sales", "organizations"),
        ('we"ird . näme; --', "public", 'we"ird . näme; --'),
        ('"My Table"', "public", "My Table"),
        ("Mixed", "public", "Mixed"),
        ('"Sales"."My.Table"', "Sales", "My.Table"),
        ("a.b", "public", "a.b"),
    ],
)
def test_the_root_table_is_found_by_any_name(named: str, schema: str, table: str, make_project: MakeProject) -> None:
    """In any schema, as it is or as SQL would quote it, with a key of any name; nothing in it is run as SQL."""
    project = make_project(1, extra=f"[tenants]\nroot = '{named}'\nkey = 'k'")
    place = psycopg.sql.Identifier(schema, table)
    with psycopg.connect(project.shards["shard_0"], autocommit=True) as shard:
        shard.execute(psycopg.sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(psycopg.sql.Identifier(schema)))
        shard.execute(psycopg.sql.SQL('CREATE TABLE {} ("the ""key" int PRIMARY KEY)').format(place))
        shard.execute(psycopg.sql.SQL("INSERT INTO {} VALUES (1)").format(place))
    assert project.fleet().sync_tenants().added == 1


def test_a_tenant_on_two_shards_is_named_and_not_guessed(make_project: MakeProject) -> None:
    """The directory says of it what it said; all others are taken in."""
    project = fill(make_project(3, extra=SECTION), "text", shard_0=["x", "a"], shard_1=["y"], shard_2=["x", "y"])
    project.sql("shard_2", "DELETE FROM organizations WHERE id = 'y'")
    project.fleet().sync_tenants()
    project.sql("shard_2", "INSERT INTO organizations VALUES ('y')")
    done = project.fleet().sync_tenants(accept=True, forget=True)
    assert done.exit_code == 1
    assert [(each.tenant, each.placed, each.found) for each in done.comparison.twice.first] == [
        ("x", None, ("shard_0", "shard_2")),
        ("y", "shard_1", ("shard_1", "shard_2")),
    ]
    assert directory(project) == {"a": ("shard_0", 1), "y": ("shard_1", 1)}
    assert project.fleet().ask_shards("x").found == ("shard_0", "shard_2")


def test_moved_by_hand_is_taken_over_only_when_asked(make_project: MakeProject) -> None:
    """Reported with both shards, and the directory unchanged; with accept, at the next epoch."""
    project = fill(make_project(2, extra=SECTION), "text", shard_0=["a", "b"])
    project.fleet().sync_tenants()
    project.sql("shard_0", "DELETE FROM organizations WHERE id = 'a'")
    project.sql("shard_1", "INSERT INTO organizations VALUES ('a')")
    reported = project.fleet().sync_tenants()
    assert (reported.exit_code, reported.comparison.elsewhere.count) == (1, 1)
    assert directory(project)["a"] == ("shard_0", 1)
    accepted = project.fleet().sync_tenants(accept=True)
    assert (accepted.exit_code, accepted.accepted) == (0, 1)
    assert directory(project) == {"a": ("shard_1", 2), "b": ("shard_0", 1)}


def test_a_tenant_that_is_gone_is_kept_until_it_is_to_be_forgotten(make_project: MakeProject) -> None:
    """It may have been placed for a tenant whose rows are still to come. Also where its shard left the fleet."""
    project = fill(make_project(2, extra=SECTION), "text", shard_0=["a"], shard_1=["b"])
    project.fleet().sync_tenants()
    project.sql("shard_0", "DELETE FROM organizations")
    del project.shards["shard_1"]
    project.write()
    reported = project.fleet().sync_tenants()
    assert (reported.exit_code, [each.tenant for each in reported.comparison.missing.first]) == (1, ["a", "b"])
    assert set(directory(project)) == {"a", "b"}
    assert project.fleet().sync_tenants(forget=True).exit_code == 0
    assert directory(project) == {}


def test_of_a_shard_that_is_down_nothing_is_concluded(make_project: MakeProject) -> None:
    """It is named; its tenants are neither missing nor elsewhere, and what is certain is done all the same."""
    project = fill(make_project(3, extra=SECTION), "text", shard_0=["a"], shard_1=["b", "c"])
    project.fleet().sync_tenants()
    url, project.shards["shard_1"] = project.shards["shard_1"], AWAY
    project.write()
    project.sql("shard_0", "DELETE FROM organizations WHERE id = 'a'")  # it may be on shard_1 now
    project.sql("shard_2", "INSERT INTO organizations VALUES ('b'), ('new')")  # b may be on shard_1, too
    done = project.fleet().sync_tenants(accept=True, forget=True)
    found = done.comparison
    assert (done.exit_code, list(found.unread), found.not_read, done.added) == (1, ["shard_1"], 1, 1)
    assert "No such file" in found.unread["shard_1"].reason
    assert [each.tenant for each in found.undecided.first] == ["a", "b"]
    before = {"a": ("shard_0", 1), "b": ("shard_1", 1), "c": ("shard_1", 1), "new": ("shard_2", 1)}
    assert directory(project) == before
    project.shards["shard_1"] = url
    project.write()
    assert project.fleet().verify_tenants().comparison.twice.first[0].found == ("shard_1", "shard_2")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TABLE organizations", "it has no table organizations"),
        ("ALTER TABLE organizations DROP CONSTRAINT organizations_pkey", "has no primary key"),
        (
            "ALTER TABLE organizations DROP CONSTRAINT organizations_pkey, ADD COLUMN n int, ADD PRIMARY KEY (id, n)",
            "has 2 columns",
        ),
    ],
)
def test_a_shard_without_a_proper_root_table_is_named(statement: str, said: str, make_project: MakeProject) -> None:
    """As one that was not read, with what helps; the others are."""
    project = fill(make_project(2, extra=SECTION), "text", shard_0=["a"])
    project.sql("shard_1", statement)
    done = project.fleet().sync_tenants()
    assert (done.exit_code, done.added) == (1, 1)
    assert said in done.comparison.unread["shard_1"].reason
    assert "tenants.root" in done.comparison.unread["shard_1"].hint


def test_rows_that_a_policy_hides_are_not_taken_for_gone(make_project: MakeProject, as_role: AsRole) -> None:
    """A role that sees only a part is told so, and forgets nobody."""
    project = fill(make_project(1, extra=SECTION), "text", shard_0=["a"])
    project.fleet().sync_tenants()
    url = as_role(project.shards["shard_0"])
    owners, project.shards["shard_0"] = project.shards["shard_0"], url
    project.write()
    assert "permission denied" in project.fleet().sync_tenants(forget=True).comparison.unread["shard_0"].reason
    with psycopg.connect(owners, autocommit=True) as shard:
        shard.execute(psycopg.sql.SQL("GRANT SELECT ON organizations TO {}").format(_role(url)))
        shard.execute("ALTER TABLE organizations ENABLE ROW LEVEL SECURITY")
    assert "row-level security" in project.fleet().sync_tenants(forget=True).comparison.unread["shard_0"].reason
    assert directory(project) == {"a": ("shard_0", 1)}


def test_reading_tables_and_making_ones_own_is_all_the_role_needs(make_project: MakeProject, as_role: AsRole) -> None:
    """On the shards SELECT on the root table; on the control database what every command needs."""
    project = fill(make_project(1, extra=SECTION), "text", shard_0=["a"])
    control, shard = as_role(project.control), as_role(project.shards["shard_0"])
    grant = psycopg.sql.SQL("GRANT CREATE ON DATABASE {} TO {}")
    database = psycopg.sql.Identifier(DatabaseUrl.parse(control).database)
    with psycopg.connect(project.control, autocommit=True) as owner:
        owner.execute(grant.format(database, _role(control)))
    with psycopg.connect(project.shards["shard_0"], autocommit=True) as owner:
        owner.execute(psycopg.sql.SQL("GRANT SELECT ON organizations TO {}").format(_role(shard)))
    project.control, project.shards["shard_0"] = control, shard
    project.write()
    assert project.fleet().sync_tenants().exit_code == 0
    assert project.fleet().add_tenant("b").shard == "shard_0"
    assert project.fleet().verify_tenants().comparison.missing.count == 1


def test_a_page_that_the_control_database_refuses_is_its_fault(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that of the shard whose tenants it holds: nothing is changed, and the control database is named."""
    project = fill(make_project(2, extra=SECTION), "text", shard_0=["a"])
    project.fleet().sync_tenants()
    load = Workbench.load

    def end_the_session(bench: Workbench, page: bytes) -> None:
        pid = bench._connection.info.backend_pid
        project.sql("control", "SELECT pg_terminate_backend(%s, 10000)", pid)
        load(bench, page)

    monkeypatch.setattr(Workbench, "load", end_the_session)
    with pytest.raises(errors.ControlUnavailable):
        project.fleet().sync_tenants(forget=True)
    assert set(directory(project)) == {"a"}


def test_ids_that_are_no_text_are_the_shards_fault(make_project: MakeProject, cluster: Cluster) -> None:
    """A database in SQL_ASCII may hold any bytes; such a shard is named, and nothing of it concluded."""
    project = fill(make_project(2, extra=SECTION), "text", shard_0=["a"])
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        name = project.shards["shard_1"].split("@/")[1].split("?")[0]
        admin.execute(psycopg.sql.SQL("DROP DATABASE {}").format(psycopg.sql.Identifier(name)))
        create = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        admin.execute(psycopg.sql.SQL(create).format(psycopg.sql.Identifier(name)))
    project.sql("shard_1", "CREATE TABLE organizations (id text PRIMARY KEY)")
    project.sql("shard_1", "INSERT INTO organizations VALUES (E'\\xff')")
    done = project.fleet().sync_tenants()
    assert (done.added, list(done.comparison.unread)) == (1, ["shard_1"])
    assert "invalid byte sequence" in done.comparison.unread["shard_1"].reason


def test_a_control_database_in_another_encoding_holds_the_same_ids(make_project: MakeProject, cluster: Cluster) -> None:
    """What can be written in it is; it is not the bytes that are kept, but the text."""
    project = fill(make_project(1, extra=SECTION), "text", shard_0=["é"])
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        name = psycopg.sql.Identifier(DatabaseUrl.parse(project.control).database)
        admin.execute(psycopg.sql.SQL("DROP DATABASE {}").format(name))
        create = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
        admin.execute(psycopg.sql.SQL(create).format(name))
    assert project.fleet().sync_tenants().exit_code == 0
    assert project.fleet().locate("é").shard == "shard_0"
    assert project.fleet().verify_tenants().is_equal


def test_two_who_sync_at_once_do_not_hinder_each_other(make_project: MakeProject) -> None:
    """Each tenant is added once, and both end well."""
    project = fill(make_project(2, extra=SECTION), "integer")
    project.fleet().sync_tenants()
    project.sql("shard_0", "INSERT INTO organizations SELECT generate_series(1, 3000)")
    project.sql("shard_1", "INSERT INTO organizations SELECT generate_series(3001, 6000)")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: project.fleet().sync_tenants(), range(4)))
    assert ([each.exit_code for each in done], sum(each.added for each in done)) == ([0] * 4, 6000)
    assert project.fleet().verify_tenants().comparison.agreeing == 6000


# --- add --------------------------------------------------------------------------------------


def test_a_new_tenant_is_placed_before_its_row_is_there(make_project: MakeProject) -> None:
    """On the shard with the fewest, or the one that is named; the spelling is PostgreSQL's."""
    project = fill(make_project(2, extra=SECTION), "uuid", shard_0=[ONE])
    fleet = project.fleet()
    fleet.sync_tenants()
    assert fleet.plan_add_tenant(TWO.upper()) == (TWO, "shard_1")
    added = fleet.add_tenant(TWO.upper())
    assert (added.tenant, added.shard, added.epoch) == (TWO, "shard_1", 1)
    assert fleet.add_tenant(TWO.replace("b", "c"), shard="shard_1").shard == "shard_1"
    assert fleet.locate(TWO) == added


def test_modulo_places_by_the_sorted_names(make_project: MakeProject) -> None:
    """As documented, so that another program can do the same sum."""
    project = fill(make_project(3, extra=f'{SECTION}\nplacement = "modulo"'), "text")
    assert {each: project.fleet().add_tenant(each).shard for each in ("acme", "b", "c")} == {
        each: f"shard_{stable_hash(each) % 3}" for each in ("acme", "b", "c")
    }


def test_what_is_there_already_is_not_added(make_project: MakeProject) -> None:
    """In the directory, or on a shard that no sync has read; in any spelling; and nothing has changed."""
    project = fill(make_project(2, extra=SECTION), "uuid", shard_0=[ONE])
    fleet = project.fleet()
    for act in (fleet.plan_add_tenant, fleet.add_tenant):
        with pytest.raises(errors.TenantExists, match="is on shard_0 already"):
            act(ONE.upper())
    fleet.add_tenant(TWO)
    for act in (fleet.plan_add_tenant, fleet.add_tenant):
        with pytest.raises(errors.TenantExists, match="is placed on shard_0 already, epoch 1"):
            act(TWO.upper())
        with pytest.raises(errors.BadTenantId, match="invalid input syntax for type uuid"):
            act("acme")
        with pytest.raises(errors.NoSuchShard):
            act(ONE, shard="nowhere")
        with pytest.raises(errors.UsageError, match="one shard's name"):
            act(ONE, shard="shard_*")
    assert directory(project) == {TWO: ("shard_0", 1)}


def test_nothing_is_added_while_a_shard_cannot_be_asked(make_project: MakeProject) -> None:
    """The tenant might be there."""
    project = fill(make_project(2, extra=SECTION), "text")
    project.shards["shard_1"] = AWAY
    project.write()
    with pytest.raises(errors.ShardsSilent, match="shard_1 can't be asked"):
        project.fleet().add_tenant("a")
    assert directory(project) == {}


def test_of_those_who_add_at_once_one_wins_and_all_get_its_answer(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All have begun before any has written: one row, one epoch, one answer; another shard than that is refused."""
    project = fill(make_project(3, extra=SECTION), "text")
    project.fleet().tenants()
    at_once, look = Barrier(6), operations.ask_shards

    def look_together(*arguments: object) -> operations.Search:
        search = look(*arguments)  # type: ignore[arg-type]
        at_once.wait(60)
        return search

    monkeypatch.setattr(operations, "ask_shards", look_together)

    def add(shard: str | None) -> str:
        try:
            return project.fleet().add_tenant("acme", shard=shard).shard
        except errors.TenantExists as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(add, [None, None, None, "shard_0", "shard_1", "shard_2"]))
    ((tenant, (winner, epoch)),) = directory(project).items()
    assert (tenant, epoch) == ("acme", 1)
    assert answers[:3] == [winner] * 3
    assert sorted(answers[3:]) == sorted([winner, *[f"tenant 'acme' is placed on {winner} already, epoch 1"] * 2])
    assert project.sql("control", "SELECT count(*) FROM shardwright.placement_history") == [(0,)]


# --- reading ----------------------------------------------------------------------------------


def test_the_directory_is_read_while_shards_and_writes_are_away(make_project: MakeProject) -> None:
    """list and locate need nothing but a control database that can be read, and write nothing."""
    project = fill(make_project(1, extra=SECTION), "text", shard_0=["a"])
    fleet = project.fleet()
    fleet.sync_tenants()
    name = project.control.split("@/")[1].split("?")[0]
    project.sql("control", f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    project.shards["shard_0"] = AWAY
    project.write()
    assert project.fleet().locate("a").shard == "shard_0"
    assert [each.tenant for each in project.fleet().tenants(shard="shard_0")] == ["a"]
    with pytest.raises(errors.NoSuchTenant):
        project.fleet().locate("b")


def test_the_shards_are_asked_while_the_control_database_is_away(make_project: MakeProject) -> None:
    """What they say needs no directory."""
    project = fill(make_project(2, extra=SECTION), "integer", shard_1=["7"])
    project.control = AWAY
    project.write()
    assert (search := project.fleet().ask_shards(" 07 ")).found == ("shard_1",)
    assert (search.tenant, search.exit_code) == ("7", 0)
    with pytest.raises(errors.ControlUnavailable):
        project.fleet().locate("7")


@pytest.mark.parametrize(
    "ask",
    [
        lambda fleet: fleet.sync_tenants(),
        lambda fleet: fleet.plan_sync_tenants(),
        lambda fleet: fleet.verify_tenants(),
        lambda fleet: fleet.add_tenant("a"),
        lambda fleet: fleet.ask_shards("a"),
    ],
)
def test_a_file_that_names_no_root_table_is_told_what_to_write(
    ask: Callable[[object], object], make_project: MakeProject
) -> None:
    """The lines, ready to paste."""
    with pytest.raises(errors.NoTenants) as refused:
        ask(make_project(1).fleet())
    assert "[tenants]" in refused.value.hint
    assert 'root = "organizations"' in refused.value.hint
    assert refused.value.exit_code == 78
