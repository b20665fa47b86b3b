"""`migrate --atomic`: all shards or none, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from kit import ASYNC_ENV, AT_GATE, NOTE_WORKER, STOCK_ENV, TRANSACTION_EACH, MakeProject, Project, statuses, until
from shardwright import errors
from shardwright.embedded import Cluster, temporary_cluster
from shardwright.migration import atomic, ways
from shardwright.migration.atomic import job
from shardwright.pg import locks
from shardwright.runs.events import Decided, Event, RunStarted, ShardPrepared, ShardStarted, ShardWaiting
from shardwright.runs.fanout import SHARD_LOCK
from shardwright.runs.stopping import StopRequest

READS = 'op.get_bind().execute(sa.text("SELECT 1")).scalar()'


@pytest.fixture(params=["sent", "online"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each promise holds for revisions that are sent and for those that run online."""
    if request.param == "online":
        monkeypatch.setattr(atomic, "job", lambda history, plan, _, name: job(history, plan, ways.Ways(), name))


both_ways = pytest.mark.usefixtures("_both_ways")


def at(project: Project, *revisions: str) -> dict[str, list[str]]:
    """What `versions` gives where every shard is at these."""
    return {name: list(revisions) for name in project.shards}


@both_ways
def test_all_shards_have_it_together(make_project: MakeProject) -> None:
    """Every shard is migrated, nothing stays prepared, and the ledger says what was decided and how long it took."""
    project = make_project(shards=3)
    project.table("r1", "a")
    project.revision("r2", 'op.execute("INSERT INTO a VALUES (1)")')
    events: list[Event] = []
    result = project.migrate(atomic=True, on_event=events.append)
    assert statuses(result) == dict.fromkeys(project.shards, "migrated")
    assert (result.exit_code, project.prepared()) == (0, [])
    assert [project.sql(shard, "SELECT id FROM a") for shard in project.shards] == [[(1,)]] * 3
    assert result.extra["atomic"]["decision"] == "commit"
    assert result.extra["atomic"]["locks_held_seconds"] > 0
    assert "committed on 3 together; locks were held for at most" in (result.note or "")
    assert project.sql("control", "SELECT decision, settled_at IS NOT NULL FROM shardwright.decision") == [
        ("commit", True)
    ]
    order = [type(event) for event in events if isinstance(event, ShardPrepared | Decided)]
    assert order == [ShardPrepared] * 3 + [Decided]


@both_ways
def test_one_shard_that_cannot_means_none(make_project: MakeProject) -> None:
    """The last shard has rows that forbid it: those that were prepared already are as they were."""
    project = make_project(shards=3)
    project.table("r1", "a")
    project.migrate()
    project.sql("shard_2", "INSERT INTO a VALUES (NULL)")
    project.revision("r2", 'op.alter_column("a", "id", nullable=False)')
    result = project.migrate(atomic=True)
    assert (result.exit_code, result["shard_2"].status) == (2, "failed")
    assert "contains null values" in (result["shard_2"].error or "")
    assert {result[name].status for name in ("shard_0", "shard_1")} <= {"rolled_back", "not_tried"}
    assert result.stopped == "shard_2 could not be prepared"
    assert project.versions() == at(project, "r1")
    assert project.prepared() == []


@both_ways
def test_shards_with_nothing_to_do_take_no_part(make_project: MakeProject) -> None:
    """One is there already; the others go together."""
    project = make_project(shards=3)
    project.table("r1", "a")
    project.migrate(shards="shard_0")
    result = project.migrate(atomic=True)
    assert statuses(result) == {"shard_0": "up_to_date", "shard_1": "migrated", "shard_2": "migrated"}
    assert (result.exit_code, result.extra["atomic"]["prepared"]) == (0, 2)


def test_with_nothing_to_do_nothing_is_decided(make_project: MakeProject) -> None:
    """A fleet at the head is up to date, as ever."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.migrate()
    result = project.migrate(atomic=True)
    assert (result.exit_code, set(statuses(result).values())) == (0, {"up_to_date"})
    assert "atomic" not in result.extra


def test_a_revision_that_reads_takes_part_online(make_project: MakeProject) -> None:
    """Rows that a revision reads and writes are in the same transaction as its tables."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.revision("r2", f'{READS}\nop.execute("INSERT INTO a VALUES (1)")')
    assert project.migrate(atomic=True).exit_code == 0
    assert [project.sql(shard, "SELECT id FROM a") for shard in project.shards] == [[(1,)]] * 2


def use(project: Project, driver: str, env: str) -> None:
    """The project's env.py is this, and shardwright.toml names the driver."""
    (project.path / "migrations" / "env.py").write_text(env)
    toml = project.path / "shardwright.toml"
    toml.write_text(toml.read_text().replace("postgresql://", f"postgresql+{driver}://"))


@pytest.mark.parametrize(
    ("driver", "env"), [("psycopg", STOCK_ENV), ("psycopg2", STOCK_ENV), ("psycopg", ASYNC_ENV), ("asyncpg", ASYNC_ENV)]
)
def test_every_driver_can_prepare(make_project: MakeProject, driver: str, env: str) -> None:
    """The commit of the user's own driver becomes PREPARE TRANSACTION, also where it can only be awaited."""
    project = make_project(shards=2)
    use(project, driver, env)
    project.revision("r1", f'op.create_table("a", sa.Column("id", sa.Integer))\n{READS}')
    assert project.migrate(atomic=True).exit_code == 0
    assert project.prepared() == []


# --- refused beforehand -----------------------------------------------------------------------


def refusal(project: Project) -> str:
    """Why it can't be all or none; no shard was touched and no run was begun."""
    before = project.versions()
    with pytest.raises(errors.NotAtomic) as raised:
        project.migrate(atomic=True)
    assert project.versions() == before
    assert project.sql("control", "SELECT count(*) FROM shardwright.run WHERE state = 'running'") == [(0,)]
    assert raised.value.hint
    return str(raised.value)


def test_concurrently_is_refused_by_name(make_project: MakeProject) -> None:
    """An autocommit_block is known from the rendering, before anything is tried."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.revision(
        "r2",
        """
        with op.get_context().autocommit_block():
            op.create_index("a_id", "a", ["id"], postgresql_concurrently=True)
        """,
    )
    assert "revision r2 has statements outside of a transaction (autocommit_block)" in refusal(project)


@pytest.mark.parametrize(("driver", "env"), [("psycopg", STOCK_ENV), ("asyncpg", ASYNC_ENV)])
def test_an_autocommit_block_that_cannot_be_rendered_is_found_by_the_trial(
    make_project: MakeProject, driver: str, env: str
) -> None:
    """A revision that reads is not rendered: the trial on a scratch copy finds its commit in the middle."""
    project = make_project(shards=2)
    use(project, driver, env)
    project.revision("r1", f"{READS}\nwith op.get_context().autocommit_block():\n    op.execute('SELECT 1')")
    assert "commits before the end" in refusal(project)


def test_a_transaction_for_each_revision_is_refused(make_project: MakeProject) -> None:
    """One revision alone is one transaction; two are not, whichever way they go."""
    project = make_project(shards=2)
    project.env(TRANSACTION_EACH)
    project.revision("r1", f'op.create_table("a", sa.Column("id", sa.Integer))\n{READS}')
    project.table("r2", "b")
    assert "upgrade r1 (r1.py) commits before the end" in refusal(project)
    assert project.migrate("r1", atomic=True).exit_code == 0
    project.env(TRANSACTION_EACH, ("literal_binds=True", "literal_binds=True, transaction_per_migration=True"))
    project.table("r3", "c")
    assert "env.py asks for a transaction per migration" in refusal(project)
    assert project.migrate("r2", atomic=True).exit_code == 0
    assert project.migrate("r3", atomic=True).exit_code == 0


@both_ways
def test_one_revision_with_a_transaction_of_its_own_is_all_or_none(make_project: MakeProject) -> None:
    """What env.py would commit by itself waits for the decision all the same."""
    project = make_project(shards=2)
    project.env(TRANSACTION_EACH, ("literal_binds=True", "literal_binds=True, transaction_per_migration=True"))
    project.table("r1", "a")
    project.migrate()
    project.sql("shard_1", "INSERT INTO a VALUES (NULL)")
    project.revision("r2", 'op.alter_column("a", "id", nullable=False)')
    result = project.migrate(atomic=True, jobs=1)
    assert statuses(result) == {"shard_0": "rolled_back", "shard_1": "failed"}
    assert (project.prepared(), project.versions()) == ([], at(project, "r1"))


@both_ways
def test_what_postgresql_cannot_prepare_is_refused_with_its_own_words(make_project: MakeProject) -> None:
    """NOTIFY and temporary tables can't be in a prepared transaction: the trial says so."""
    project = make_project(shards=2)
    project.revision("r1", 'op.execute("CREATE TEMPORARY TABLE t (i int)")')
    assert "has operated on temporary objects" in refusal(project)


def test_work_on_a_connection_of_its_own_is_refused(make_project: MakeProject) -> None:
    """A revision that writes past its transaction would stay on shards where none is to."""
    project = make_project(shards=2)
    project.revision(
        "r1",
        """
        import psycopg
        url = op.get_bind().engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE stray (id int)")
        """,
    )
    assert "changed something that a roll-back does not undo" in refusal(project)


def test_a_shard_that_is_down_is_refused(make_project: MakeProject, dead_url: str) -> None:
    """All or none can't be where one can't take part."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.shards["shard_2"] = dead_url
    project.write()
    with pytest.raises(errors.NotAtomic, match="shard_2: "):
        project.migrate(atomic=True)
    del project.shards["shard_2"]
    assert project.versions() == {"shard_0": [], "shard_1": []}


@pytest.mark.parametrize("options", [{"canary": 1}, {"waves": "50%"}, {"on_failure": "continue"}, {"max_failures": 1}])
def test_options_that_let_some_shards_go_alone_are_refused(make_project: MakeProject, options: dict[str, Any]) -> None:
    """--canary and --atomic contradict one another."""
    with pytest.raises(errors.UsageError, match="all shards or none"):
        make_project(shards=1).migrate(atomic=True, **options)


@pytest.fixture(scope="module")
def unprepared() -> Iterator[Cluster]:
    """A server as PostgreSQL comes: it keeps no prepared transaction."""
    with temporary_cluster(settings={"max_prepared_transactions": "0"}) as running:
        yield running


def test_a_server_without_places_for_prepared_transactions_is_named(
    make_project: MakeProject, unprepared: Cluster
) -> None:
    """max_prepared_transactions is 0 by default: the host, the number that is needed, and the cure are told."""
    project = make_project(shards=1)
    with psycopg.connect(unprepared.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE here")
    project.shards["shard_1"] = unprepared.url("here")
    project.write()
    project.table("r1", "a")
    with pytest.raises(errors.NotAtomic, match="can keep 0 more prepared transactions, and 1 are needed") as raised:
        project.migrate(atomic=True)
    assert "max_prepared_transactions to 1 or more" in raised.value.hint


# --- time and locks ---------------------------------------------------------------------------


@both_ways
def test_the_time_that_locks_are_held_is_bounded(make_project: MakeProject) -> None:
    """A shard that does not come to its end in time means none, and the others are let go."""
    project = make_project(shards=2)
    project.table("r0", "a")
    project.migrate()
    project.revision("r1", 'op.add_column("a", sa.Column("n", sa.Integer))\nop.execute("SELECT note()")')
    function = "FUNCTION note() RETURNS void LANGUAGE sql AS"
    for shard in project.shards:
        project.sql(shard, f"CREATE {function} $$ SELECT NULL::void $$")

    def slow_down(event: Event) -> None:
        if isinstance(event, RunStarted):  # after the trial
            project.sql("shard_1", f"CREATE OR REPLACE {function} $$ SELECT pg_sleep(600) $$")

    result = project.migrate(atomic=True, atomic_timeout="1s", jobs=2, on_event=slow_down)
    assert result.exit_code == 2
    assert "not all shards were prepared within 1s (--atomic-timeout)" in (result["shard_1"].error or "")
    assert statuses(result) == {"shard_0": "rolled_back", "shard_1": "failed"}
    assert (project.prepared(), project.versions()) == ([], at(project, "r0"))


def test_a_lock_that_somebody_holds_is_tried_for_again(make_project: MakeProject) -> None:
    """A lock time-out on one shard is no failure: the others stay prepared until it is let go."""
    project = make_project(shards=2, limits={"lock_timeout": '"50ms"'})
    project.table("r0", "a")
    project.migrate()
    project.revision("r1", 'op.add_column("a", sa.Column("n", sa.Integer))')
    tries: list[int] = []
    with project.holding("shard_1", "LOCK TABLE a IN ACCESS SHARE MODE") as somebody:

        def listen(event: Event) -> None:
            if isinstance(event, ShardStarted) and event.shard == "shard_1":
                tries.append(event.attempt)
                if event.attempt == 2:
                    somebody.rollback()

        result = project.migrate(atomic=True, on_event=listen)
    assert (result.exit_code, tries) == (0, [1, 2])


def test_a_shard_that_waited_again_when_another_failed_is_not_blamed(make_project: MakeProject) -> None:
    """It was ended for the other's sake: not tried, though its second try knows who was in its way."""
    project = make_project(shards=2, limits={"lock_timeout": '"4s"'})
    project.table("r0", "a")
    project.migrate()
    project.sql("shard_0", "INSERT INTO a VALUES (NULL)")
    add, fail = 'op.add_column("a", sa.Column("n", sa.Integer))', 'op.alter_column("a", "id", nullable=False)'
    project.revision("r1", f"{add}{AT_GATE}{fail}")
    with (
        project.holding("shard_1", "LOCK TABLE a IN ACCESS SHARE MODE"),
        project.holding("shard_1", f"SELECT pg_advisory_xact_lock({locks.CLASS}, {SHARD_LOCK})") as somebody,
        project.gate("shard_0") as gate,
    ):

        def let_it_try_again(event: Event) -> None:
            if isinstance(event, ShardWaiting):
                somebody.rollback()

        with project.migrating(atomic=True, atomic_timeout="60s", on_event=let_it_try_again) as rollout:
            until(lambda: max(project.waiting("shard_1"), default=0) > 1.5)  # seen by who looks every second
            gate.reached()
            gate.open()
            result = rollout.result()
    assert statuses(result) == {"shard_0": "failed", "shard_1": "not_tried"}
    assert (result["shard_1"].attempts, result["shard_1"].error) == (2, None)
    assert project.versions() == at(project, "r0")


@both_ways
def test_a_listener_that_raises_leaves_nothing_prepared(make_project: MakeProject) -> None:
    """Also where nobody has heard of it yet, and what still runs is ended; the ledger has nothing open."""
    project = make_project(shards=3)
    project.revision("r1", f'op.create_table("a", sa.Column("id", sa.Integer)){AT_GATE}')
    with project.gate("shard_0") as gate:

        def break_down(event: Event) -> None:
            if isinstance(event, ShardPrepared):
                gate.reached()
                until(lambda: len(project.prepared()) == 2)
                raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            project.migrate(atomic=True, jobs=3, on_event=break_down)
        assert gate.is_free
    assert (project.prepared(), project.versions()) == ([], at(project))
    query = "SELECT decision, settled_at IS NOT NULL FROM shardwright.decision"
    assert project.sql("control", query) == [("abort", True)]


@both_ways
def test_ctrl_c_before_the_decision_means_none(make_project: MakeProject) -> None:
    """What runs is cancelled, what is prepared is rolled back, the exit code is that of the signal."""
    project = make_project(shards=2)
    project.table("r0", "a")
    project.migrate()
    project.revision("r1", f'op.add_column("a", sa.Column("n", sa.Integer)){AT_GATE}')
    stop = StopRequest()
    with project.gate("shard_1") as gate, project.migrating(atomic=True, stop=stop, jobs=2) as rollout:
        gate.reached()
        until(project.prepared)
        stop.ask("SIGINT", signal_number=2)
        result = rollout.result()
    assert (result.exit_code, result.stopped) == (130, "interrupted by SIGINT")
    assert statuses(result) == {"shard_0": "rolled_back", "shard_1": "failed"}
    assert (project.prepared(), project.versions()) == ([], at(project, "r0"))


def test_ctrl_c_during_the_trial_is_an_interruption(make_project: MakeProject) -> None:
    """Not a reason against all or none: no shard is tried, and no scratch copy is left."""
    project = make_project(shards=2)
    project.revision("r1", f'{READS}\n{NOTE_WORKER}op.execute("SELECT pg_sleep(600)")')
    stop = StopRequest()
    with project.migrating(atomic=True, stop=stop) as rollout:
        project.worker()
        stop.ask("SIGINT", signal_number=2)
        result = rollout.result()
    assert (result.exit_code, result.stopped) == (130, "interrupted by SIGINT")
    assert set(statuses(result).values()) == {"not_tried"}
    assert project.versions() == at(project)
    assert project.sql("control", "SELECT datname FROM pg_database WHERE datname LIKE 'shardwright_scratch%'") == []


def test_ctrl_c_after_the_decision_changes_nothing(make_project: MakeProject) -> None:
    """What is decided is done, and the command has done its work."""
    project = make_project(shards=2)
    project.table("r1", "a")
    stop = StopRequest()

    def listen(event: Event) -> None:
        if isinstance(event, Decided):
            stop.ask("SIGINT", signal_number=2)

    result = project.migrate(atomic=True, stop=stop, on_event=listen)
    assert (result.exit_code, result.stopped) == (0, None)
    assert set(statuses(result).values()) == {"migrated"}


def test_it_can_be_rolled_back_like_any_other(make_project: MakeProject) -> None:
    """`rollback` takes each shard to the revision it had before."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.migrate(atomic=True)
    assert set(statuses(project.fleet().rollback()).values()) == {"rolled_back"}
    assert project.versions() == at(project)
