"""Green shards are made, brought to their revision, and taken back; nobody else's database is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kit import MakeProject, Project, drop_databases
from shardwright import errors
from shardwright.bluegreen.shard_sets import create as creating
from shardwright.bluegreen.shard_sets.create import create, keep, missing, require_fit, take_back
from shardwright.bluegreen.shard_sets.emptiness import make_empty, require_empty
from shardwright.catalog import placement
from shardwright.catalog.control import open_control
from shardwright.catalog.store import record_shards
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.migration.history import History, ScriptLocation
from shardwright.pg import databases
from shardwright.pg.fingerprint import fingerprint
from shardwright.pg.tables import TableName
from shardwright.runs.fanout import FanOutLimits
from shardwright.runs.stopping import StopRequest
from shardwright.shard import Shard

PLANS = TableName("public", "plans")


class Green:
    """A project with a blue shard at r1 and two green databases that are not there, to be brought to r2."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.config = project.fleet().config
        self.blue = self.config.shards[0]
        self.shards = [
            Shard(f"green_{place}", self.blue.url.with_database(f"{self.blue.url.database}_green_{place}"), {})
            for place in range(2)
        ]

    def create(self, run: int = 7, revision: str = "r2", like: Shard | None = None) -> tuple[str, ...]:
        history = History(ScriptLocation.from_config(self.config))
        limits = FanOutLimits.from_config(self.config.limits)
        return create(self.shards, like or self.blue, history, revision, run=run, limits=limits, stop=StopRequest())

    def take_back(self, run: int = 7) -> tuple[str, ...]:
        with open_control(DatabaseUrl.parse(self.project.control), application_name="test") as control:
            return take_back(self.shards, control, "main", run=run)

    def sql(self, place: int, statement: str) -> list[tuple[Any, ...]]:
        with closing(psycopg.connect(self.shards[place].url.conninfo, autocommit=True)) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def versions(self) -> list[tuple[Any, ...]]:
        return [row for place in range(2) for row in self.sql(place, "SELECT version_num FROM alembic_version")]

    def make(self, place: int) -> None:
        """One of them is there before."""
        databases.create_if_missing(self.shards[place].url, application_name="test")


@pytest.fixture
def green(make_project: MakeProject, cluster: Cluster) -> Iterator[Green]:
    project = make_project(shards=1)
    project.table("r1", "a")
    project.revision("r2", "op.execute(\"CREATE TABLE plans AS SELECT 'free' AS code\")", "op.drop_table('plans')")
    project.table("r3", "c")
    project.migrate("r1")
    green = Green(project)
    yield green
    drop_databases(cluster, [shard.url.conninfo for shard in green.shards])


def test_green_is_made_and_at_its_revision(green: Green) -> None:
    """What blue is at counts for nothing; again it does nothing, and gives the same names."""
    assert missing(green.shards) == ("green_0", "green_1")
    assert green.create() == ("green_0", "green_1")
    assert green.versions() == [("r2",), ("r2",)]
    assert green.project.versions() == {"shard_0": ["r1"]}
    assert missing(green.shards) == ()
    assert green.create() == ("green_0", "green_1")


def test_green_databases_are_as_blue_s(green: Green) -> None:
    """Encoding, locale and settings; of a role that is not there, nothing."""
    name = sql.Identifier(green.blue.url.database)
    with psycopg.connect(green.blue.url.with_database("postgres").conninfo, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {}").format(name))
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'").format(name)
        )
        admin.execute(sql.SQL("ALTER DATABASE {} SET search_path = app, public").format(name))
        admin.execute(sql.SQL("ALTER ROLE postgres IN DATABASE {} SET work_mem = '8MB'").format(name))
    green.create()
    blue, own = (databases.nature(shard.url, application_name="test") for shard in (green.blue, green.shards[0]))
    assert blue == own
    assert own is not None
    assert (own.encoding, own.collate, len(own.settings)) == ("LATIN1", "C", 2)


def test_a_database_with_an_icu_locale_has_it_again(green: Green) -> None:
    """Under the server's own default its text would sort otherwise than blue's."""
    icu = databases.Nature("postgres", "UTF8", "C", "C", "icu", "de")
    try:
        databases.create_like(green.shards[0].url, icu, mark="test", application_name="test")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL is built without ICU")
    found = databases.nature(green.shards[0].url, application_name="test")
    assert found is not None
    assert (found.provider, found.locale) == ("icu", "de")


def test_one_that_was_there_is_brought_on_and_never_dropped(green: Green) -> None:
    """Only what the run has made is its own to take back."""
    green.make(1)
    green.sql(1, "CREATE TABLE somebodys ()")
    assert green.create() == ("green_0",)
    assert green.versions() == [("r2",), ("r2",)]
    assert green.take_back(run=8) == ()
    assert green.take_back() == ("green_0",)
    assert missing(green.shards) == ("green_0",)
    assert green.sql(1, "SELECT count(*) FROM somebodys") == [(0,)]
    assert green.take_back() == ()


def test_what_was_killed_half_way_is_made_anew(green: Green, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database without its mark never has its name; nothing is left when it is taken back, or made the next time."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(databases, "_setting_again", die)
        like = databases.Nature("postgres", "UTF8", "C", "C", "libc", None, ((None, "work_mem=8MB"),))
        for shard in green.shards:
            with pytest.raises(Killed):
                databases.create_like(shard.url, like, mark="made", application_name="test")
    assert missing(green.shards) == ("green_0", "green_1")
    assert len(unfinished(green)) == 2
    green.take_back()
    assert unfinished(green) == []
    assert green.create() == ("green_0", "green_1")


def unfinished(green: Green) -> list[str]:
    query = "SELECT datname FROM pg_database WHERE datname LIKE 'shardwright\\_new%'"
    return [row[0] for row in green.project.sql("control", query)]


def test_a_tenant_on_green_keeps_all_of_it(green: Green) -> None:
    """Whatever the run is at: not one of the databases is dropped."""
    green.create()
    with open_control(DatabaseUrl.parse(green.project.control), application_name="test") as control:
        record_shards(control, "main", [green.blue, *green.shards])
        placement.place(control, "main", "acme", "green_1", changed_by="test")
    with pytest.raises(errors.NotDropped, match="green_1 was not dropped: 1 tenant is placed on it"):
        green.take_back()
    assert missing(green.shards) == ()


def test_kept_databases_are_like_any_others(green: Green) -> None:
    """Nothing of ours is left in them, and no run takes them back."""
    green.create()
    keep(green.shards, run=8)
    assert creating.made(green.shards, run=7) == ("green_0", "green_1")
    keep(green.shards, run=7)
    assert databases.mark_of(green.shards[0].url, application_name="test") is None
    assert green.take_back() == ()


@pytest.mark.parametrize(
    ("at", "fact"),
    [("r3", "green_1: it is at r3, which is not on the way to r2"), ("f00", "green_1: it is at f00, which is not in")],
)
def test_one_with_another_history_is_refused_before_anything_is_made(at: str, fact: str, green: Green) -> None:
    """Ahead of the revision, or of other code: named, and no database is there that was not before."""
    green.make(1)
    green.sql(1, f"CREATE TABLE alembic_version AS SELECT '{at}'::varchar AS version_num")
    with pytest.raises(errors.GreenNotMade, match=fact):
        green.create()
    assert missing(green.shards) == ("green_0",)


def test_each_shard_that_is_not_ready_is_named(green: Green) -> None:
    """A revision that fails is every shard's fault at once; the next try goes on from there."""
    green.project.revision("r2b", "op.execute('SELECT 1/0')", down="r2")
    green.make(0)
    with pytest.raises(
        errors.GreenNotMade, match=r"(?s)green_[01]: .*division by zero.*green_[01]: .*division by zero"
    ):
        green.create(revision="r2b")
    assert green.create() == ("green_1",)


def test_a_server_that_is_away_is_named(green: Green) -> None:
    """Before anything is made elsewhere."""
    url = DatabaseUrl.parse("postgresql://localhost:1/nowhere")
    green.shards[1] = Shard("green_1", url, {})
    with pytest.raises(errors.GreenNotMade, match="green_1: "):
        green.create()
    green.shards[1] = green.shards[0]
    assert missing(green.shards[:1]) == ("green_0",)


def test_rows_of_revisions_give_place_only_where_we_made_the_database(green: Green) -> None:
    """In one that was there before they are somebody's: refused, with nothing deleted anywhere."""
    green.make(1)
    green.create()
    with pytest.raises(errors.GreenNotEmpty, match=r"green_1 has rows in public\.plans"):
        make_empty(green.shards, [PLANS], run=7)
    assert [green.sql(place, "SELECT * FROM plans") for place in range(2)] == [[("free",)], [("free",)]]
    green.sql(1, "DELETE FROM plans")
    make_empty(green.shards, [PLANS], run=7)
    require_empty(green.shards, [PLANS])
    assert green.sql(0, "SELECT * FROM plans") == []


def test_green_rows_that_stay_may_refer_to_those_that_go(green: Green) -> None:
    """A lookup table of green's own is not emptied because one that it refers to is filled from blue."""
    green.create()
    green.sql(0, "ALTER TABLE plans ADD PRIMARY KEY (code)")
    green.sql(0, "CREATE TABLE prices AS SELECT code, 5 AS price FROM plans")
    green.sql(0, "ALTER TABLE prices ADD FOREIGN KEY (code) REFERENCES plans")
    make_empty(green.shards, [PLANS], run=7)
    assert green.sql(0, "SELECT code, price FROM prices") == [("free", 5)]


def test_fit_is_asked_without_changing_anything(green: Green) -> None:
    """A plan asks it: the databases are still missing."""
    history = History(ScriptLocation.from_config(green.config))
    require_fit(green.shards, history, "r2")
    with pytest.raises(errors.NoSuchRevision):
        require_fit(green.shards, history, "nope")
    assert missing(green.shards) == ("green_0", "green_1")


def test_green_has_the_schema_that_a_rollout_gives(green: Green) -> None:
    """Object by object."""
    green.create()
    green.project.migrate("r2")
    with (
        psycopg.connect(green.blue.url.conninfo) as blue,
        psycopg.connect(green.shards[0].url.conninfo) as own,
    ):
        assert fingerprint(own) == fingerprint(blue)
