"""`reset`: new databases in place of the old ones, where that is allowed and nowhere else."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from kit import MakeProject, Project, statuses
from shardwright import errors
from shardwright.dsn import DatabaseUrl
from shardwright.runs.events import Event, RunStarted
from shardwright.runs.stopping import StopRequest

SEEDS = """
def seed(connection):
    connection.exec_driver_sql("insert into a values (1)")
"""


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """Two shards at r1 with a row each, and a seed."""
    project = make_project(shards=2, extra='seed = "app_seeds:seed"')
    project.table("r1", "a")
    (project.path / "app_seeds.py").write_text(SEEDS)
    for shard in project.shards:
        project.sql(shard, "CREATE TABLE a AS SELECT 5 AS id")
        project.sql(shard, "CREATE TABLE alembic_version AS SELECT 'r1'::varchar AS version_num")
    return project


def rows(project: Project, shard: str) -> list[int]:
    return [row[0] for row in project.sql(shard, "SELECT id FROM a")]


def test_every_shard_is_new_and_at_the_head(project: Project) -> None:
    """The data are gone, the schema is that of the code; the ledger tells of both acts."""
    project.table("r2", "b")
    result = project.fleet().reset()
    assert statuses(result) == {"shard_0": "reset", "shard_1": "reset"}
    assert (result.exit_code, result["shard_0"].after) == (0, ("r2",))
    assert [rows(project, shard) for shard in project.shards] == [[], []]
    assert [run.kind for run in project.fleet().runs()] == ["migrate", "reset"]


def test_it_seeds_where_that_is_asked(project: Project) -> None:
    """Only the chosen shard is touched."""
    result = project.fleet().reset(shards="shard_1", seed=True)
    assert statuses(result) == {"shard_1": "reset"}
    assert (rows(project, "shard_0"), rows(project, "shard_1")) == ([5], [1])


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_a_fleet_that_matters_is_not_reset(environment: str, project: Project) -> None:
    """Exit 2, and no row is gone; unless it is forced."""
    project.environment = environment
    project.write()
    with pytest.raises(errors.NotDisposable, match=f"marked {environment}") as refused:
        project.fleet().reset()
    assert (refused.value.exit_code, "--force" in refused.value.hint) == (2, True)
    assert [rows(project, shard) for shard in project.shards] == [[5], [5]]
    assert project.fleet().reset(force=True, shards="shard_0").exit_code == 0


def test_without_a_terminal_it_wants_a_yes(project: Project) -> None:
    """It never waits for an answer that cannot come, whatever is on stdin; nothing is dropped."""
    done = project.cli("reset", stdin="y\ny\n")
    assert (done.returncode, done.stdout) == (64, "")
    assert "repeat the command with --yes" in done.stderr
    assert "shard_0" in done.stderr
    assert rows(project, "shard_0") == [5]
    agreed = project.cli("reset", "--yes", "--seed", "--json")
    assert agreed.returncode == 0
    assert json.loads(agreed.stdout)["summary"] == {"reset": 2}


@pytest.mark.parametrize(
    ("file", "text", "kind"),
    [
        ("versions/r1.py", "import nothing_like_it", errors.HistoryBroken),
        ("versions/r9.py", "revision, down_revision = 'r9', None\ndef upgrade(): pass", errors.SeveralHeads),
        ("env.py", None, errors.NoMigrations),
    ],
)
def test_what_cannot_be_built_again_is_not_torn_down(
    file: str, text: str | None, kind: type[errors.HistoryError], project: Project
) -> None:
    """A history that can't be run is found before the first database is dropped."""
    path = project.path / "migrations" / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(kind):
        project.fleet().reset()
    assert rows(project, "shard_0") == [5]


def test_a_missing_seed_is_found_before_anything_is_dropped(project: Project) -> None:
    """--seed with nothing to seed is refused."""
    project.extra = ""
    project.write()
    with pytest.raises(errors.NoSeed):
        project.fleet().reset(seed=True)
    assert rows(project, "shard_0") == [5]


@pytest.fixture
def owned(project: Project) -> Iterator[DatabaseUrl]:
    """Shard 0 as a database with an owner and settings of its own."""
    url = DatabaseUrl.parse(project.shards["shard_0"])
    role, name = f"owner_{url.database}", sql.Identifier(url.database).as_string()
    project.sql("control", f"CREATE ROLE {role}")
    project.sql("control", f"ALTER DATABASE {name} OWNER TO {role}")
    project.sql("control", f"ALTER DATABASE {name} SET work_mem = '7MB'")
    project.sql("control", f"ALTER DATABASE {name} SET \"my.text\" = 'say ''hi'', = all'")
    yield url
    project.sql("control", f"ALTER DATABASE {name} OWNER TO postgres; DROP ROLE {role}")


def test_owner_encoding_and_settings_stay(project: Project, owned: DatabaseUrl) -> None:
    """They belong to the database and not to what is in it."""
    ask = """SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate,
                    current_setting('work_mem'), current_setting('my.text')
             FROM pg_database WHERE datname = current_database()"""
    before = project.sql("shard_0", ask)
    assert project.fleet().reset(shards="shard_0").exit_code == 0
    assert project.sql("shard_0", ask) == before
    assert before == [(f"owner_{owned.database}", "UTF8", "C", "7MB", "say 'hi', = all")]


def test_sessions_of_the_application_are_ended(project: Project) -> None:
    """A developer's server that holds connections is no reason to fail."""
    with psycopg.connect(project.shards["shard_0"]) as application:
        application.execute("INSERT INTO a VALUES (6)")
        assert project.fleet().reset(shards="shard_0").exit_code == 0
        with pytest.raises(psycopg.OperationalError):
            application.execute("SELECT 1")
    assert rows(project, "shard_0") == []


def test_a_shard_out_of_reach_does_not_stop_the_others(project: Project) -> None:
    """It is named with the reason, exit 1; the others are reset."""
    project.shards["away"] = "postgresql://postgres@/x?host=/nowhere"
    project.write()
    result = project.fleet().reset()
    assert statuses(result) == {"shard_0": "reset", "shard_1": "reset", "away": "failed"}
    assert result.exit_code == 1
    assert "No such file or directory" in (result["away"].error or "")


def test_the_control_database_by_another_address_is_not_dropped(project: Project, tmp_path: Path) -> None:
    """Whatever the URL says: the ledger stays, and the shard is named."""
    url = DatabaseUrl.parse(project.control)
    (tmp_path / "link").symlink_to(url.host)
    project.shards["twin"] = str(DatabaseUrl(**{**vars(url), "host": str(tmp_path / "link")}))
    project.write()
    result = project.fleet().reset()
    assert statuses(result) == {"shard_0": "reset", "shard_1": "reset", "twin": "failed"}
    assert "it is the control database" in (result["twin"].error or "")
    assert len(project.fleet().runs()) == 2


@pytest.mark.parametrize(
    ("at", "reason"),
    [("migrate", "its database is new and empty"), ("seed", "new and migrated, but not seeded")],
)
def test_an_interrupted_reset_says_how_far_it_came_and_can_be_repeated(at: str, reason: str, project: Project) -> None:
    """A dropped shard is neither `reset` nor `not tried`; the hint is the command that ends the work."""
    stop = StopRequest()

    def interrupt(event: Event) -> None:
        if isinstance(event, RunStarted) and event.kind == at:
            stop.ask("SIGINT", signal_number=signal.SIGINT)

    result = project.fleet().reset(seed=True, stop=stop, on_event=interrupt)
    assert (statuses(result), result.exit_code) == ({"shard_0": "failed", "shard_1": "failed"}, 130)
    assert reason in (result["shard_0"].error or "")
    assert result["shard_0"].hint == "shardwright reset --shards shard_0"
    assert statuses(project.fleet().reset(seed=True)) == {"shard_0": "reset", "shard_1": "reset"}
    assert rows(project, "shard_0") == [1]


def test_shards_that_were_not_dropped_are_not_tried(project: Project) -> None:
    """Interrupted before the first: no row is gone."""
    stop = StopRequest()
    stop.ask("SIGTERM", signal_number=signal.SIGTERM)
    result = project.fleet().reset(stop=stop)
    assert (statuses(result), result.exit_code) == ({"shard_0": "not_tried", "shard_1": "not_tried"}, 143)
    assert result.stopped == "interrupted by SIGTERM"
    assert rows(project, "shard_0") == [5]


def test_a_database_that_is_not_there_is_made(project: Project) -> None:
    """As after a kill between the drop and the making."""
    name = sql.Identifier(DatabaseUrl.parse(project.shards["shard_0"]).database).as_string()
    project.sql("control", f"DROP DATABASE {name}")
    assert statuses(project.fleet().reset()) == {"shard_0": "reset", "shard_1": "reset"}
    assert rows(project, "shard_0") == []


def test_a_dry_run_drops_nothing(project: Project) -> None:
    """It names each database that would be lost."""
    done = project.cli("reset", "--dry-run", "--seed")
    assert done.returncode == 0
    assert done.stdout.count("would drop, create, migrate and seed: shard_") == 2
    assert [rows(project, shard) for shard in project.shards] == [[5], [5]]
    assert project.fleet().runs() == []
