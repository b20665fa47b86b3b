"""`dev up | down`: the fleet on this machine, on servers of ours or on the developer's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from kit import STOCK_ENV, MakeProject, Project, statuses
from shardwright import errors
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.fleet import Fleet, RollbackOptions

REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "r1", None
def upgrade(): op.create_table("a", sa.Column("id", sa.Integer))
def downgrade(): op.drop_table("a")
"""


@pytest.fixture
def folder(tmp_path: Path, state: Path) -> Path:
    """A project with one revision and a seed, that leaves control and shards to us."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions / "r1.py").write_text(REVISION)
    (tmp_path / "migrations" / "env.py").write_text(STOCK_ENV)
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "1.sql").write_text("INSERT INTO a VALUES (1)")
    configure(tmp_path)
    return tmp_path


def configure(folder: Path, *, environment: str = "development", shards: str = "", control: str = "embedded") -> None:
    text = f'[fleet]\ncontrol = "{control}"\nenvironment = "{environment}"\n{shards}'
    (folder / "shardwright.toml").write_text(text)


def fleet_in(folder: Path) -> Fleet:
    return Fleet.from_config(folder / "shardwright.toml")


def count(fleet: Fleet, shard: str) -> int:
    url = next(each.url for each in fleet.resolved.shards if each.name == shard)
    with psycopg.connect(url.conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM a").fetchone()
    return row[0] if row else 0


def servers(state: Path) -> list[str]:
    """The PostgreSQL processes at work below the state directory, and the sockets they left."""
    working = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            working += [entry.name] if (entry / "cwd").readlink().is_relative_to(state) else []
        except OSError:
            continue
    return working + [str(path) for path in state.glob("*/*/socket/*")]


# --- our own servers ------------------------------------------------------------------------------


def test_one_command_makes_the_fleet_and_another_stops_it(folder: Path, state: Path) -> None:
    """Databases, schema and seed on as many servers as asked for; down leaves no process and no socket; and any
    command finds the data again."""
    up = fleet_in(folder).dev_up(shards=3, clusters=2)
    assert up.exit_code == 0
    assert up.created == ("control", "shard_0", "shard_1", "shard_2")
    assert (up.migrated.summary, up.seeded and up.seeded.summary) == ({"migrated": 3}, {"seeded": 3})
    assert {shard.url.host for shard in up.fleet.shards} == {str(path) for path in state.glob("*/cluster_*/socket")}
    assert len(list(state.glob("*/cluster_*"))) == 2
    assert fleet_in(folder).dev_down() == ["cluster_0", "cluster_1"]
    assert servers(state) == []
    again = fleet_in(folder)
    assert statuses(again.status()) == dict.fromkeys(["shard_0", "shard_1", "shard_2"], "up_to_date")
    assert count(again, "shard_2") == 1


def test_a_fleet_grows_and_never_shrinks(folder: Path, state: Path) -> None:
    """More shards join, those there are keep their data; fewer is refused before anything is done."""
    fleet_in(folder).dev_up(shards=1)
    before = fleet_in(folder).resolved.shards
    grown = fleet_in(folder).dev_up(shards=2, clusters=2)
    assert grown.created == ("shard_1",)
    assert grown.fleet.shards[0] == before[0]
    assert grown.migrated.summary == {"up_to_date": 1, "migrated": 1}
    for ask in (fleet_in(folder).dev_up, fleet_in(folder).plan_dev_up):
        with pytest.raises(errors.LayoutCannotShrink, match="2 local shards already, 1 were asked for"):
            ask(shards=1)
    assert len(fleet_in(folder).resolved.shards) == 2


def test_destroyed_is_gone_and_can_be_made_anew(folder: Path, state: Path) -> None:
    """`down --destroy` leaves no file; `up` afterwards begins with empty shards."""
    fleet_in(folder).dev_up(shards=1)
    assert fleet_in(folder).plan_dev_down(destroy=True) == ["cluster_0"]
    assert count(fleet_in(folder), "shard_0") == 1
    assert fleet_in(folder).dev_down(destroy=True) == ["cluster_0"]
    assert (servers(state), list(state.iterdir())) == ([], [])
    with pytest.raises(errors.NoLocalFleet) as none:
        fleet_in(folder).status()
    assert none.value.hint.startswith("shardwright dev up")
    assert fleet_in(folder).dev_up(shards=1).created == ("control", "shard_0")


def test_a_plan_starts_nothing(folder: Path, state: Path) -> None:
    """It says what would be started, made and run."""
    plan = fleet_in(folder).plan_dev_up(shards=2, clusters=2)
    assert plan[:2] == ["start cluster_0 with shard_0", "start cluster_1 with shard_1"]
    assert plan[2:] == [f"migrate to head of {folder / 'migrations'}", "seed"]
    assert list(state.iterdir()) == []


def test_down_without_up_has_nothing_to_do(folder: Path) -> None:
    """It is no error, so scripts can begin with it."""
    assert fleet_in(folder).dev_down() == []
    assert fleet_in(folder).dev_down(destroy=True) == []


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_a_fleet_that_matters_is_not_for_dev(environment: str, folder: Path, state: Path) -> None:
    """Nothing is started, nothing destroyed; and no --force is proposed, which these commands do not have."""
    configure(folder, environment=environment)
    fleet = fleet_in(folder)
    for act in (fleet.dev_up, fleet.plan_dev_up, lambda: fleet.dev_down(destroy=True)):
        with pytest.raises(errors.NotDisposable) as refused:
            act()
        assert "--force" not in refused.value.hint
    assert list(state.iterdir()) == []


def test_a_history_that_cannot_be_run_is_found_before_a_server_is_started(folder: Path, state: Path) -> None:
    """Its error is about the history, and nothing of ours is left running."""
    (folder / "migrations" / "versions" / "r1.py").write_text("import nothing_like_it")
    with pytest.raises(errors.HistoryBroken):
        fleet_in(folder).dev_up()
    assert list(state.iterdir()) == []


# --- the developer's own servers ------------------------------------------------------------------


@pytest.fixture
def own(make_project: MakeProject) -> Iterator[Project]:
    """Two shards whose databases are not there yet."""
    project = make_project(shards=2)
    project.table("r1", "a")
    names = {shard: f"{DatabaseUrl.parse(url).database}_own" for shard, url in project.shards.items()}
    project.shards = {
        shard: DatabaseUrl.parse(url).with_database(names[shard]).conninfo for shard, url in project.shards.items()
    }
    project.write()
    yield project
    for name in names.values():
        project.sql("control", sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)).as_string())


def test_missing_databases_are_made_on_the_developers_own_servers(own: Project) -> None:
    """And migrated; a second time nothing is to be done."""
    first = own.fleet().dev_up()
    assert (first.created, first.migrated.summary) == (("shard_0", "shard_1"), {"migrated": 2})
    second = own.fleet().dev_up()
    assert (second.created, second.migrated.summary) == ((), {"up_to_date": 2})
    plan = own.fleet().plan_dev_up()
    assert [line.split(" (")[0] for line in plan[:3]] == [
        f"create if missing: {name}" for name in ("control", *own.shards)
    ]


def test_numbers_are_for_embedded_fleets(own: Project) -> None:
    """The file says how many shards there are, and the servers are not ours to stop."""
    for act in (own.fleet().dev_up, own.fleet().plan_dev_up):
        with pytest.raises(errors.UsageError, match="names the shards itself"):
            act(shards=3)
    for down in (own.fleet().dev_down, own.fleet().plan_dev_down):
        with pytest.raises(errors.UsageError, match="the servers are yours"):
            down()


def test_a_database_that_cannot_be_made_is_that_shards_result(own: Project) -> None:
    """The reason is the server's, not that it does not exist; the others come up."""
    role = "may_not_create"
    own.sql("control", f"CREATE ROLE {role} LOGIN")
    url = DatabaseUrl.parse(own.shards["shard_0"])
    own.shards["shard_0"] = DatabaseUrl(**{**vars(url), "user": role}).conninfo
    own.write()
    try:
        up = own.fleet().dev_up()
    finally:
        own.sql("control", f"DROP ROLE {role}")
    assert (up.exit_code, statuses(up.migrated)) == (1, {"shard_0": "failed", "shard_1": "migrated"})
    assert up.migrated["shard_0"].error == "its database can't be created: permission denied to create database"


def test_a_role_without_the_maintenance_database_needs_none(
    make_project: MakeProject, make_database: Callable[[], str], cluster: Cluster
) -> None:
    """Where the databases are there already, nothing else has to be reached."""
    project = make_project(shards=1)
    project.table("r1", "a")
    project.sql("control", "CREATE ROLE only_here LOGIN; REVOKE CONNECT ON DATABASE postgres FROM public")
    url = DatabaseUrl.parse(project.shards["shard_0"])
    project.sql("shard_0", "GRANT ALL ON SCHEMA public TO only_here")
    project.shards["shard_0"] = DatabaseUrl(**{**vars(url), "user": "only_here"}).conninfo
    project.write()
    try:
        assert project.fleet().dev_up().migrated.summary == {"migrated": 1}
    finally:
        project.shards["shard_0"] = url.conninfo
        project.sql("shard_0", "DROP OWNED BY only_here CASCADE")
        project.sql("control", "DROP ROLE only_here; GRANT CONNECT ON DATABASE postgres TO public")


# --- our control database beside the developer's own shards ---------------------------------------


@pytest.fixture
def mixed(folder: Path, make_database: Callable[[], str]) -> Callable[[str], Fleet]:
    """The folder's fleet with two shards of its own, the control database embedded."""
    urls = [make_database() for _ in range(2)]
    shards = "\n".join(f'[shards.own_{number}]\nurl = "{url}"' for number, url in enumerate(urls))

    def with_environment(environment: str) -> Fleet:
        configure(folder, environment=environment, shards=shards)
        return fleet_in(folder)

    return with_environment


def test_an_embedded_control_database_is_made_by_the_first_command_that_acts(
    mixed: Callable[[str], Fleet], state: Path
) -> None:
    """Reading makes nothing; a rollout makes it, and its ledger is there for the next process."""
    fleet = mixed("production")
    assert (fleet.runs(), fleet.status().summary, fleet.check_control()) == ([], {"behind": 2}, None)
    with pytest.raises(errors.NothingToRollBack):
        fleet.plan_rollback(RollbackOptions())
    assert list(state.iterdir()) == []
    assert fleet.migrate().summary == {"migrated": 2}
    assert [run.kind for run in mixed("production").runs()] == ["migrate"]
    assert [path.name for path in state.glob("*/*")] == ["control"]


@pytest.mark.parametrize(("environment", "fsync"), [("production", "on"), ("development", "off")])
def test_a_ledger_that_matters_survives_the_machine(
    environment: str, fsync: str, mixed: Callable[[str], Fleet]
) -> None:
    """Where the shards are not disposable, what is acknowledged is on the disk."""
    fleet = mixed(environment)
    fleet.migrate()
    with psycopg.connect(fleet.resolved.control.conninfo) as control:
        assert control.execute("SHOW fsync").fetchone() == (fsync,)


def test_the_embedded_control_database_comes_up_and_goes_down_with_dev(
    mixed: Callable[[str], Fleet], state: Path
) -> None:
    """Only it is ours to start and stop; any command starts it again; destroyed, it leaves no file."""
    up = mixed("development").dev_up()
    assert (up.created, up.migrated.summary) == (("control",), {"migrated": 2})
    assert mixed("development").dev_down() == ["control"]
    assert servers(state) == []
    assert [run.kind for run in mixed("development").runs()] == ["seed", "migrate"]
    assert mixed("development").dev_down(destroy=True) == ["control"]
    assert list(state.iterdir()) == []
