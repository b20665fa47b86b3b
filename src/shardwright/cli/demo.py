"""`demo`: three PostgreSQL servers; a rollout that fails, a tenant that moves, a new shard set; nothing is left."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg

import shardwright
from shardwright import errors
from shardwright.cli.screen import Screen
from shardwright.cli.traffic import Traffic, live
from shardwright.cli.words import status_lines, summary_line
from shardwright.config import FILE_NAME
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster, temporary_cluster
from shardwright.fleet import Fleet
from shardwright.pg import databases
from shardwright.routing.tenants import Tenants
from shardwright.runs.board import RunEvent
from shardwright.runs.events import Listener
from shardwright.runs.results import RunResult
from shardwright.shard import Shard

_SERVERS = 3
_CONFIG = """\
[fleet]
control     = "{control}"
migrations  = "migrations"
environment = "development"
seed        = "tasks_app.seeds:seed"

[tenants]
root   = "organizations"
key    = "organization_id"
shared = ["plans"]
"""

_CHANGE = """
[bluegreen]
placement = "least_loaded"
[bluegreen.tables.projects]
select = "SELECT id, organization_id, name AS title, created_at FROM projects"
from   = {{ projects = ["id"] }}
[bluegreen.back.projects]
select = "SELECT id, organization_id, title AS name, created_at FROM projects"
from   = {{ projects = ["id"] }}
[bluegreen.shards.green_0]
url = "{urls[0]}"
[bluegreen.shards.green_1]
url = "{urls[1]}"
"""
_REVISION = """\
from alembic import op
revision, down_revision, branch_labels, depends_on = "0013", "{down}", None, None


def upgrade():
    op.alter_column("projects", "name", new_column_name="title")


def downgrade():
    op.alter_column("projects", "title", new_column_name="name")
"""


def play(screen: Screen) -> int:
    """The whole story; exit 0 when it ended as told."""
    started = time.monotonic()
    with ExitStack() as stack:
        screen.line(f"Starting {_SERVERS} PostgreSQL servers …")
        clusters = _start_servers(stack)
        fleet = _make_fleet(stack, clusters)
        ended_well = _tell(screen, fleet) and _change(screen, fleet, clusters)
    screen.line(f"\nDone in {time.monotonic() - started:.0f} s; the servers and their data are gone again.")
    screen.document({"ended_well": ended_well, "seconds": round(time.monotonic() - started, 1)})
    return 0 if ended_well else 1


def _tell(screen: Screen, fleet: Fleet) -> bool:
    _scene(screen, f"A fleet of three shards, {len(fleet.revisions())} revisions", "shardwright migrate")
    _act(screen, lambda listener: fleet.migrate(on_event=listener))
    _scene(screen, "Organizations with users, projects, tasks and comments", "shardwright seed")
    _act(screen, lambda listener: fleet.seed(on_event=listener))
    _scene(screen, "Back to yesterday, before the last revision", "shardwright rollback --steps 1")
    _act(screen, lambda listener: fleet.rollback(steps=1, on_event=listener))
    _by_hand(screen, fleet, "ALTER TABLE tasks ADD COLUMN priority integer", "Somebody has touched shard_2 by hand:")
    _scene(
        screen,
        "The last revision adds tasks.priority, everywhere or nowhere",
        "shardwright migrate --on-failure rollback",
    )
    failed = _act(screen, lambda listener: fleet.migrate(on_failure="rollback", on_event=listener))
    _scene(screen, "No shard is left half way", "shardwright status")
    _show_status(screen, fleet)
    _by_hand(screen, fleet, "ALTER TABLE tasks DROP COLUMN priority", "shard_2 is mended:")
    _scene(screen, "Once more", "shardwright migrate")
    healed = _act(screen, lambda listener: fleet.migrate(on_event=listener))
    _scene(screen, "All green", "shardwright status")
    well = _show_status(screen, fleet)
    counts = _count_priorities(fleet)
    screen.line(f"\n{sum(counts)} tasks on {len(counts)} shards have the priority 'medium' now.")
    moved_well = _move(screen, fleet)
    return failed.summary == {"rolled_back": 2, "failed": 1} and healed.succeeded and well and moved_well


def _move(screen: Screen, fleet: Fleet) -> bool:
    """An organization goes to another server and back while four writers of it are at work; whether all went well."""
    fleet.sync_tenants()
    placement = fleet.tenants(shard="shard_0", limit=1)[0]
    tenant = placement.tenant
    _scene(screen, "An organization moves while it works: four writers", f"shardwright move {tenant} --to shard_1")
    with Tenants(fleet.config) as tenants, live(tenants, tenant) as traffic:
        _go_on(traffic, 100)
        there = fleet.move(tenant, "shard_1", tell=_teller(screen))
        _go_on(traffic, 100)
        _scene(screen, "And back again, with all that was written since", f"shardwright move undo {tenant}")
        back = fleet.undo_move(tenant, tell=_teller(screen))
        _go_on(traffic, 100)
    arrived = there.move.phase == "switched" and back.run.state == "cancelled"
    return _tell_traffic(screen, traffic, fleet.resolved.select("shard_0")) and arrived


def _change(screen: Screen, fleet: Fleet, clusters: list[Cluster]) -> bool:
    """Three shards become two of another schema while all organizations work; whether all went well."""
    urls = [cluster.url(f"green_{number}") for number, cluster in enumerate(clusters[1:])]
    revision = _REVISION.format(down=fleet.revisions()[0])
    (fleet.config.migrations / "versions" / "0013_project_title.py").write_text(revision)
    with fleet.config.file.open("a") as file:
        file.write(_CHANGE.format(urls=urls))
    fleet = Fleet.from_config(fleet.config.file)
    known = [placement.tenant for placement in fleet.tenants()]
    _scene(
        screen,
        "Three shards become two, where projects.name is called title, while everybody works",
        "shardwright bluegreen start --auto",
    )
    with Tenants(fleet.config) as tenants, live(tenants, *known, pause=0.02) as traffic:
        run = fleet.start_bluegreen(fleet.plan_bluegreen(auto=True))
        there = fleet.carry_bluegreen(run, until=lambda found: found.change.phase == "switched", tell=_teller(screen))
        _go_on(traffic, 100)
        _scene(screen, "It could be undone as well, with all that was written since", "shardwright bluegreen finish")
        done = fleet.finish_bluegreen(tell=_teller(screen))
        _go_on(traffic, 100)
    names = ", ".join(shard.name for shard in fleet.resolved.green)
    gap = there.proofs.longest or 0
    screen.line(
        f"  {done.at_green} organizations are on {names}; none was without its writes for more than {gap:.0f} ms"
    )
    return _tell_traffic(screen, traffic, fleet.resolved.green) and done.change.phase == "done"


def _tell_traffic(screen: Screen, traffic: Traffic, shards: Sequence[Shard]) -> bool:
    """What the writers have seen; whether nothing is lost, and no call has failed."""
    lost = traffic.lost(*(shard.url.conninfo for shard in shards))
    well = not lost and not traffic.failed
    screen.line(
        f"\n{len(traffic.acknowledged):,} writes acknowledged meanwhile, {lost} lost, {traffic.failed} calls failed; "
        f"the longest took {traffic.longest * 1000:.0f} ms.",
        style="green" if well else "red",
    )
    return well


def _go_on(traffic: Traffic, writes: int) -> None:
    """Until so many more are acknowledged."""
    enough = len(traffic.acknowledged) + writes
    while len(traffic.acknowledged) < enough and traffic.failed < enough:
        time.sleep(0.01)


def _teller(screen: Screen) -> Callable[[RunEvent], None]:
    def tell(event: RunEvent) -> None:
        if event.kind == "message":
            screen.line(f"  {event.data['text']}")

    return tell


def _act(screen: Screen, action: Callable[[Listener], RunResult]) -> RunResult:
    with screen.progress() as listener:
        result = action(listener)
    screen.line(f"  {summary_line(result)}")
    return result


def _show_status(screen: Screen, fleet: Fleet) -> bool:
    result = fleet.status()
    for text, style in status_lines(result):
        screen.line(text, style=style)
    return result.succeeded


def _scene(screen: Screen, title: str, command: str) -> None:
    screen.line(f"\n{title}", style="cyan")
    screen.line(f"$ {command}")


def _by_hand(screen: Screen, fleet: Fleet, statement: str, words: str) -> None:
    shard = fleet.resolved.shards[-1]
    with psycopg.connect(shard.url.conninfo, autocommit=True) as connection:
        connection.execute(statement)
    screen.line(f"\n{words}", style="cyan")
    screen.line(f"{shard.name}=# {statement};")


def _count_priorities(fleet: Fleet) -> list[int]:
    counts = []
    for shard in fleet.resolved.shards:
        with psycopg.connect(shard.url.conninfo) as connection:
            row = connection.execute("SELECT count(*) FROM tasks WHERE priority = 'medium'").fetchone()
            counts.append(row[0] if row else 0)
    return counts


def _start_servers(stack: ExitStack) -> list[Cluster]:
    with ThreadPoolExecutor(_SERVERS) as pool:
        servers = [temporary_cluster() for _ in range(_SERVERS)]
        return list(pool.map(stack.enter_context, servers))


def _make_fleet(stack: ExitStack, clusters: list[Cluster]) -> Fleet:
    project = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shardwright-demo-"))) / "tasks"
    shutil.copytree(_example(), project, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    urls = [cluster.url(f"shard_{number}") for number, cluster in enumerate(clusters)]
    control = clusters[0].url("control")
    for url in (control, *urls):
        databases.create_if_missing(DatabaseUrl.parse(url), application_name="shardwright demo")
    sections = [f'[shards.shard_{number}]\nurl = "{url}"\n' for number, url in enumerate(urls)]
    (project / FILE_NAME).write_text("\n".join([_CONFIG.format(control=control), *sections]))
    return Fleet.from_config(project / FILE_NAME)


def _example() -> Path:
    """The example application: inside an installed package, or beside a checkout's sources."""
    package = Path(shardwright.__file__).parent
    for place in (package / "examples" / "tasks", package.parents[1] / "examples" / "tasks"):
        if (place / "alembic.ini").is_file():
            return place
    raise errors.UsageError(
        reason="the example application was not installed", help="pip install --force-reinstall shardwright"
    )
