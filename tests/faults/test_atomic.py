"""`migrate --atomic` and kill -9, at every point: all shards or none, and nothing stays prepared."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from kills import kill, migrate_until_killed
from kit import AT_GATE, MakeProject, Project, statuses, until
from shardwright.embedded import Cluster
from shardwright.errors import ControlUnavailable
from shardwright.migration import atomic
from shardwright.runs.events import Decided, Event, Listener, RunStarted, ShardFinished, ShardPrepared

SHARDS = 3
# Where the process dies, and whether the decision was made by then.
POINTS = [
    pytest.param("RunStarted", 1, False, id="before-any-is-prepared"),
    pytest.param("ShardPrepared", 1, False, id="one-prepared"),
    pytest.param("ShardPrepared", 2, False, id="two-prepared"),
    pytest.param("ShardPrepared", SHARDS, False, id="all-prepared-and-undecided"),
    pytest.param("Decided", 1, True, id="decided-and-none-committed"),
    pytest.param("ShardFinished", 1, True, id="one-committed"),
    pytest.param("ShardFinished", SHARDS, True, id="all-committed-and-the-run-open"),
]


def ready(project: Project) -> Project:
    """The project at r1, with r2 to come."""
    project.table("r1", "a")
    project.migrate()
    project.revision("r2", 'op.add_column("a", sa.Column("n", sa.Integer))', 'op.drop_column("a", "n")')
    return project


def require_together(project: Project, revision: str) -> None:
    """Every shard is at `revision`, schema and version row, nothing is prepared, and the ledger has nothing open."""
    assert project.versions() == {name: [revision] for name in project.shards}
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'a' AND column_name = 'n'"
    assert {project.sql(name, columns)[0][0] for name in project.shards} == {int(revision == "r2")}
    assert project.prepared() == []
    assert project.sql("control", "SELECT count(*) FROM shardwright.decision WHERE settled_at IS NULL") == [(0,)]


# --- the tool ---------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("way", ["sent", "online"])
@pytest.mark.parametrize(("event", "count", "decided"), POINTS)
def test_the_tool_is_killed_and_resumed(
    make_project: MakeProject, event: str, count: int, decided: bool, way: str
) -> None:
    """`runs resume` finishes by the decision, in tables, version rows and ledger alike; once is enough."""
    project = ready(make_project(shards=SHARDS))
    migrate_until_killed(project, event, count, atomic=True, jobs=1, online=way == "online")
    run = project.fleet().runs()[0]
    done = project.cli("runs", "resume", str(run.id))
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stdout + done.stderr
    require_together(project, "r2" if decided else "r1")
    again, results = project.fleet().run(run.id)
    assert (again.state, again.exit_code) == ("finished", 0 if decided else 2)
    assert {each.status.value for each in results} <= ({"migrated"} if decided else {"rolled_back", "not_tried"})
    assert project.cli("runs", "resume", str(run.id)).returncode == 2


@pytest.mark.parametrize(
    ("event", "count"),
    [
        pytest.param("ShardPrepared", 2, id="undecided"),
        pytest.param("Decided", 1, id="decided"),
        pytest.param("ShardFinished", 1, id="one-committed", marks=pytest.mark.faults),
    ],
)
def test_the_next_migrate_finishes_what_a_killed_one_left(make_project: MakeProject, event: str, count: int) -> None:
    """Nobody has to know of it: a plain `migrate` settles the old run first, then does its own work."""
    project = ready(make_project(shards=SHARDS))
    migrate_until_killed(project, event, count, atomic=True, jobs=1)
    assert project.prepared()
    assert project.migrate().exit_code == 0
    require_together(project, "r2")


def test_a_rollback_finishes_it_too(make_project: MakeProject) -> None:
    """Every operation that takes the fleet settles first: what was decided is done, then taken back."""
    project = ready(make_project(shards=2))
    migrate_until_killed(project, "Decided", atomic=True, jobs=1)
    assert set(statuses(project.fleet().rollback(to="r1")).values()) == {"rolled_back"}
    require_together(project, "r1")


def test_a_statement_that_a_killed_tool_left_running_is_ended_first(make_project: MakeProject) -> None:
    """It would prepare after everybody has looked: the shard's sessions are ended before it is asked."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.migrate()
    project.revision("r2", f'op.add_column("a", sa.Column("n", sa.Integer)){AT_GATE}')
    with project.gate("shard_1") as gate:
        tool = project.start_cli("migrate", "--atomic", "--jobs", "2")
        gate.reached()
        until(project.prepared)
        tool.send_signal(signal.SIGKILL)
        tool.communicate()
        assert project.cli("runs", "resume", str(project.fleet().runs()[0].id)).returncode == 0
        assert gate.is_free
    require_together(project, "r1")


def test_a_process_that_was_taken_over_cannot_commit_any_more(make_project: MakeProject) -> None:
    """Stopped when all was prepared, woken after another had rolled back: the first decision counts, also for it."""
    project = ready(make_project(shards=2))
    others: list[int] = []

    def while_it_sleeps(event: Event) -> None:
        if isinstance(event, ShardPrepared) and not others:
            with psycopg.connect(project.control, autocommit=True) as control:  # its session is lost, and so the lock
                control.execute("""SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                                   WHERE application_name LIKE 'shardwright migrate (%'""")
            others.append(project.cli("runs", "resume", str(project.fleet().runs()[0].id)).returncode)

    result = project.migrate(atomic=True, jobs=1, on_event=while_it_sleeps)
    assert (others, result.exit_code) == ([0], 2)
    assert "migrated" not in statuses(result).values()
    assert project.versions() == {name: ["r1"] for name in project.shards}
    assert project.prepared() == []


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_the_tool_is_killed_at_random_moments(make_project: MakeProject) -> None:
    """Sixty times, anywhere between its start and its end: all or none, then back for the next round."""
    project = ready(make_project(shards=4))
    rng = random.Random(7)  # noqa: S311 no secret
    ends: dict[str, int] = {"r1": 0, "r2": 0}
    for _ in range(60):
        tool = project.start_cli("migrate", "--atomic", "--jobs", "4")
        time.sleep(rng.uniform(1.0, 5.0))
        tool.kill()
        tool.communicate()
        assert project.fleet().rollback(to="r1", shards="shard_0").exit_code == 0  # settles, then moves one only
        found = {name: project.versions()[name] for name in ("shard_1", "shard_2", "shard_3")}
        assert len({tuple(each) for each in found.values()}) == 1, found
        ends[found["shard_1"][0]] += 1
        project.fleet().rollback(to="r1")
        require_together(project, "r1")
    assert all(ends.values()), f"the kills did not fall on both sides of the decision: {ends}"


# --- servers ----------------------------------------------------------------------------------


def frail(project: Project, make_frail_database: Callable[[], str], name: str) -> Project:
    """The project with `name` (a shard, or "control") on the server that will be killed."""
    if name == "control":
        project.control = make_frail_database()
    else:
        project.shards[name] = make_frail_database()
    project.write()
    return ready(project)


def killing(cluster: Cluster, event: type[Event], count: int, back: str) -> Listener:
    """Kills the server when the event comes for that time, and starts it again where it is to be back at once."""
    left = itertools.count(count - 1, -1)

    def listen(seen: Event) -> None:
        if isinstance(seen, event) and next(left) == 0:
            kill(cluster)
            if back == "at-once":
                cluster.start()

    return listen


SERVER_POINTS = [
    pytest.param(RunStarted, 1, False, id="before-any-is-prepared"),
    pytest.param(ShardPrepared, 1, False, id="one-prepared"),
    pytest.param(ShardPrepared, SHARDS, True, id="all-prepared"),
    pytest.param(Decided, 1, True, id="decided"),
    pytest.param(ShardFinished, 1, True, id="one-committed"),
]


@pytest.mark.faults
@pytest.mark.parametrize("back", ["at-once", "later"])
@pytest.mark.parametrize("shard", ["shard_0", "shard_2"])
@pytest.mark.parametrize(("event", "count", "decided"), SERVER_POINTS)
def test_a_shards_server_is_killed(
    make_project: MakeProject,
    make_frail_database: Callable[[], str],
    other_cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    shard: str,
    event: type[Event],
    count: int,
    decided: bool,
    back: str,
) -> None:
    """What it had prepared outlives it: committed or rolled back as decided, at once or as soon as it is back."""
    monkeypatch.setattr(atomic, "_PERSEVERANCE", timedelta(seconds=20 if back == "at-once" else 0))
    project = frail(make_project(shards=SHARDS), make_frail_database, shard)
    result = project.migrate(atomic=True, jobs=1, on_event=killing(other_cluster, event, count, back))
    other_cluster.start()
    if result.exit_code == 2 and any(each.status == "unknown" for each in result.results):
        assert all(
            "shardwright runs resume" in (each.hint or "") for each in result.results if each.status == "unknown"
        )
        project.fleet().resume(result.run or 0)
    committed = project.versions()["shard_0"] == ["r2"]
    assert committed or not decided
    require_together(project, "r2" if committed else "r1")


@pytest.mark.faults
@pytest.mark.parametrize("back", ["at-once", "later"])
@pytest.mark.parametrize(("event", "count", "decided"), SERVER_POINTS)
def test_the_control_database_is_killed(
    make_project: MakeProject,
    make_frail_database: Callable[[], str],
    other_cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    event: type[Event],
    count: int,
    decided: bool,
    back: str,
) -> None:
    """Before the decision none is committed unless it comes back in time; after it all are."""
    monkeypatch.setattr(atomic, "_PERSEVERANCE", timedelta(seconds=20 if back == "at-once" else 0))
    project = frail(make_project(shards=SHARDS), make_frail_database, "control")
    run = None
    try:
        result = project.migrate(atomic=True, jobs=1, on_event=killing(other_cluster, event, count, back))
    except ControlUnavailable:  # before any shard was touched
        assert event is RunStarted
    else:
        assert result.exit_code == 2  # the ledger lacks the end of the run, or nobody could decide
        run = result.run
    other_cluster.start()
    project.fleet().resume(run or project.sql("control", "SELECT max(id) FROM shardwright.run")[0][0])
    committed = project.versions()["shard_0"] == ["r2"]
    require_together(project, "r2" if committed else "r1")
    if event in (Decided, ShardFinished):
        assert committed


def test_a_decision_whose_acknowledgement_is_lost_counts(
    make_project: MakeProject, make_frail_database: Callable[[], str], other_cluster: Cluster
) -> None:
    """The word to commit is written and the answer never comes: asked again, the ledger says what was decided.

    The server writes the decision and then waits for a standby that does not exist; there its session is ended.
    """
    project = frail(make_project(shards=2), make_frail_database, "control")

    def lose_the_answer(event: Event) -> None:
        if isinstance(event, ShardPrepared) and event.shard == "shard_1":
            setting(other_cluster, "nobody")

    with project.migrating(atomic=True, jobs=1, on_event=lose_the_answer) as rollout:
        until(lambda: waiting_for_standby(other_cluster))
        setting(other_cluster, "")
    assert rollout.result().extra["atomic"]["decision"] == "commit"
    project.fleet().resume(rollout.result().run or 0)
    require_together(project, "r2")


def setting(cluster: Cluster, standby: str) -> None:
    """From now on commits wait for that standby."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("SET synchronous_commit = local")
        admin.execute(psycopg.sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(standby))
        admin.execute("SELECT pg_reload_conf()")
        until(lambda: admin.execute("SHOW synchronous_standby_names").fetchone() == (standby,))


def waiting_for_standby(cluster: Cluster) -> bool:
    """Ends the session that waits for a standby, once there is one."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        ended = admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        return ended.fetchone() is not None
