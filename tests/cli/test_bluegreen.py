"""`bluegreen` on the command line: lines, documents, exit codes, and what is refused meanwhile."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable

import psycopg
import pytest

from cli.conftest import Cli, Outcome
from kit import MakeProject, Project, until
from shardwright.runs.kinds import StepContext

TABLES = (
    "CREATE TABLE organizations (id text PRIMARY KEY)",
    "CREATE TABLE tasks (organization_id text REFERENCES organizations, id int, PRIMARY KEY (organization_id, id))",
)
SECRET = "Xk7-of-green"  # of the green shards: never to be seen
GREEN = """
[tenants]
root = "organizations"
key  = "organization_id"
[bluegreen]
placement = "least_loaded"
[bluegreen.shards.green_0]
url = "${GREEN_0_URL}"
labels = { region = "eu" }
[bluegreen.shards.green_1]
url = "${GREEN_1_URL}"
"""


@pytest.fixture
def cli(cli: Cli) -> Cli:
    """As everywhere, and no secret is ever shown."""

    def run_command(*arguments: str) -> Outcome:
        done = cli(*arguments)
        assert SECRET not in done.out + done.err
        return done

    return run_command


@pytest.fixture
def project(
    make_project: MakeProject, make_database: Callable[[], str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Two blue shards with three tenants of two rows each, and two green databases that are still empty."""
    project = make_project(2, extra=GREEN, limits={"write_gap": '"2s"'})
    for number in range(2):
        url = make_database()
        secret = f"{url}{'&' if '?' in url else '?'}password={SECRET}"
        monkeypatch.setenv(f"GREEN_{number}_URL", secret)
    project.revision("r1", "\n".join(f"op.execute({table!r})" for table in TABLES))
    project.stamp("r1", *TABLES)
    for tenant, shard in {"acme": "shard_0", "globex": "shard_0", "initech": "shard_1"}.items():
        project.sql(shard, "INSERT INTO organizations VALUES (%s)", tenant)
        project.sql(shard, "INSERT INTO tasks VALUES (%s, 1), (%s, 2)", tenant, tenant)
    assert cli("tenants", "sync").code == 0
    return project


def tasks(variable: str) -> int:
    """How many there are in the database of that URL; -1 where nothing is left of them."""
    with psycopg.connect(os.environ[variable]) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM tasks").fetchone()
        except psycopg.errors.UndefinedTable:
            return -1
        return int(found[0]) if found else 0


def test_step_by_step_and_for_good(project: Project, cli: Cli) -> None:
    """Each command says how far it is, who keeps both sides in step, what may be done next; the file as it is then to
    be written gives a fleet with all tenants."""
    planned = cli("bluegreen", "plan")
    assert (planned.code, planned.err) == (0, "")
    assert planned.out.startswith("shard_0, shard_1 → green_0, green_1, at revision r1\n")
    assert "3 tenants, about 9 rows, " in planned.out
    assert re.search(r"until green is in step; write gap of a tenant about \d+ ms\n$", planned.out)
    assert cli("bluegreen", "start", "--dry-run").out == planned.out
    assert cli("bluegreen", "status").code == 2
    started = cli("bluegreen", "start")
    assert (started.code, started.err) == (0, "")
    assert "run 1  shard_0, shard_1 → green_0, green_1  in step\n" in started.out
    assert "  0 of 3 tenants at green\n" in started.out
    assert "NOBODY keeps it in step: writes are noted, and not brought; try: shardwright worker" in started.out
    tried = cli("bluegreen", "switch", "--canary", "acme", "--all", "--dry-run")
    assert tried.out.splitlines()[0] == "order 1: would switch 1 tenant: acme → green_1"
    assert tried.out.splitlines()[1].startswith("order 2: would switch 2 tenants: globex → ")
    canary = cli("bluegreen", "switch", "acme", "--wave", "30%")
    assert canary.code == 0
    assert re.search(r"acme is on green_1; write gap \d+\.\d ms\n", canary.out)
    assert "  2 of 3 tenants at green\n" in canary.out
    assert "  2 certificates equal\n" in canary.out
    one = cli("bluegreen", "status", "acme").out.splitlines()
    assert one[0].startswith("acme: shard_0 → green_1, written on green_1 (epoch 2) since ")
    assert one[2] == "  certificate: 3 rows equal on both sides"
    refused = cli("bluegreen", "cancel")
    assert (refused.code, "green takes the writes of 2 tenants" in refused.err) == (2, True)
    home = cli("bluegreen", "switch", "--home", "acme")
    assert (home.code, "  1 of 3 tenants at green\n" in home.out) == (0, True)
    assert cli("tenants", "locate", "acme").out == "acme  shard_0  epoch 3\n"
    switched = cli("bluegreen", "switch", "--all")
    assert (switched.code, "  3 of 3 tenants at green\n" in switched.out) == (0, True)
    assert re.search(r"  rollback still possible: yes, until \d{4}-", switched.out)
    assert switched.out.endswith("  try: shardwright bluegreen finish, or: shardwright bluegreen undo\n")
    folder = project.path / "archive"
    unconfirmed = cli("bluegreen", "finish", "--archive", str(folder), "--drop")
    assert (unconfirmed.code, folder.exists()) == (64, False)
    finished = cli("bluegreen", "finish", "--archive", str(folder))
    assert (finished.code, finished.err) == (0, "")
    assert "  rollback still possible: no: the change is done\n" in finished.out
    assert "  shard_0, shard_1 only read from now on; nothing goes there any more\n" in finished.out
    assert sorted(file.name for file in folder.iterdir()) == ["shard_0.dump", "shard_1.dump"]
    assert cli("bluegreen", "undo", "--yes").code == 2
    dropped = cli("bluegreen", "finish", "--archive", str(folder), "--drop", "--yes", "--json").document
    assert dropped["dropped"] == ["shard_0", "shard_1"]
    _write(project, dropped["configuration"]["goes"], dropped["configuration"]["comes"])
    assert cli("tenants", "verify").code == 0
    assert cli("tenants").out == "acme  green_1  epoch 4\nglobex  green_1  epoch 2\ninitech  green_0  epoch 2\n"
    assert cli("migrate").code == 0
    assert tasks("GREEN_0_URL") + tasks("GREEN_1_URL") == 6


def _write(project: Project, goes: list[str], comes: str) -> None:
    """The file as an operator would write it by what `finish` has said."""
    file = project.path / "shardwright.toml"
    parts = re.split(r"(?m)^(?=\[)", file.read_text())
    kept = [part for part in parts if not any(part.startswith((f"[{name}]", f"[{name}.")) for name in goes)]
    file.write_text("".join(kept) + "\n" + comes)


def test_documents_and_what_is_refused_meanwhile(project: Project, cli: Cli) -> None:
    """One document each, with the same keys whether it is asked for or acted on. Nothing else changes the shards of an
    open change; what only looks is not disturbed. After the undo all is as it was."""
    started = cli("bluegreen", "start", "--auto", "--keep", "1h", "--json").document
    assert (started["phase"], started["at_green"], started["tenants"]) == ("switched", 3, 3)
    assert started["certificates"] == {"equal": 3, "different": 0}
    assert 0 < started["write_gaps_ms"]["p50"] <= started["write_gaps_ms"]["max"]
    assert (started["carried_by"], started["workers"], started["orders"]) == (None, 0, [])
    assert cli("bluegreen", "status", "--json").document.keys() == started.keys()
    one = cli("bluegreen", "status", "globex", "--json").document
    assert (one["shard"], one["certificate"]["equal"]) == ("green_1", True)
    throttled = cli("bluegreen", "throttle", "--rate", "1000", "--json").document
    assert throttled == {"throttle": {"bytes_per_second": 1000}, "dry_run": False}
    assert cli("bluegreen", "status", "--json").document["throttle"] == {"bytes_per_second": 1000}

    _leaves_alone(project, cli)

    again = cli("bluegreen", "start")
    assert (again.code, "blue-green change 1 is open" in again.err) == (2, True)
    late = cli("bluegreen", "switch", "--home", "acme")
    assert (late.code, "blue-green change 1 is switched: a switch home can't be done now" in late.err) == (2, True)
    assert cli("bluegreen", "undo").code == 64
    undone = cli("bluegreen", "undo", "--yes", "--json").document
    assert (undone["phase"], undone["at_green"]) == ("undone", 0)
    assert cli("bluegreen", "finish").code == 2
    assert cli("migrate").code == 0
    for shard in project.shards:
        assert project.sql(shard, "SELECT to_regnamespace('shardwright')") == [(None,)]
    assert cli("tenants", "locate", "acme").out == "acme  shard_0  epoch 3\n"


def _leaves_alone(project: Project, cli: Cli) -> None:
    seeds = project.path / "seeds"
    seeds.mkdir()
    (seeds / "one.sql").write_text("INSERT INTO organizations VALUES ('seeded')")
    project.table("r2", "more")
    for command in (
        ("migrate", "--on-failure", "continue"),
        ("rollback", "--steps", "1"),
        ("reset", "--yes"),
        ("seed",),
    ):
        refused = cli(*command, "--json")
        assert refused.code in (1, 2)
        for shard in refused.document["shards"]:
            assert (shard["status"], shard["error"]) == ("failed", "a blue-green change is under way there (run 1)")
            assert shard["hint"] == "shardwright bluegreen status"
    assert cli("status").code == 1  # r2 is still to come
    assert cli("check").code == 0
    assert cli("shards", "check").code == 0


def test_a_change_that_nobody_carries_is_begun_and_given_up(project: Project, cli: Cli) -> None:
    """Left to a worker it waits in the queue; given up before anybody was switched, nothing of it is left."""
    queued = cli("bluegreen", "start", "--detach", "--json").document
    assert queued == {"run": 1, "state": "queued", "workers": 0}
    shown = cli("bluegreen", "status").out
    assert "run 1  shard_0, shard_1 → green_0, green_1  being built\n" in shown
    assert "NOBODY carries it: it waits where it is; try: shardwright worker" in shown
    ordered = cli("bluegreen", "switch", "--all", "--detach", "--json").document
    assert [order["kind"] for order in ordered["orders"]] == ["switch"]
    assert cli("bluegreen", "cancel").code == 0
    assert cli("bluegreen", "status", "--json").document["phase"] == "undone"
    assert tasks("GREEN_0_URL") == -1


def test_what_can_not_be_done_is_refused(make_project: MakeProject, project: Project, cli: Cli) -> None:
    """Exit 2, 64 or 78 with the fact and the command that helps; nothing was touched."""
    for command in (("switch", "--all"), ("undo", "--yes"), ("cancel",), ("finish",), ("follow",), ("throttle",)):
        refused = cli("bluegreen", *command)
        assert (refused.code, "  try: shardwright bluegreen " in refused.err) == (2, True), command
    for wrong in ((), ("--wave", "x"), ("--wave", "0%"), ("--wave", "101%"), ("acme", "--all", "--detach")):
        assert cli("bluegreen", "switch", *wrong).code == 64, wrong
    assert cli("bluegreen", "start", "--detach").code == 0
    for command in (("switch", "nobody"), ("status", "nobody"), ("switch", "nobody", "--dry-run")):
        refused = cli("bluegreen", *command)
        assert (refused.code, "'nobody'" in refused.err) == (2, True), command
    assert cli("bluegreen", "cancel").code == 0
    project.extra = project.extra[: project.extra.index("[bluegreen]")]
    project.write()
    for command in ("plan", "start"):
        refused = cli("bluegreen", command)
        assert (refused.code, "[bluegreen.shards.NAME]" in refused.err) == (78, True)


def test_a_signal_lets_the_run_go(project: Project, cli: Cli) -> None:
    """Ctrl-C ends the process that carries a change, never the change: it goes on in other hands."""
    assert cli("bluegreen", "start").code == 0
    carried = "SELECT worker FROM shardwright.run WHERE id = 1 AND state = 'running'"

    def interrupt() -> None:
        until(lambda: project.sql("control", carried))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    followed = cli("bluegreen", "follow")
    thread.join()
    assert (followed.code, "in step\n" in followed.out) == (0, True)
    assert project.sql("control", "SELECT state, direction, wish FROM shardwright.run") == [("queued", "forward", None)]
    assert cli("bluegreen", "switch", "--all").code == 0
    assert cli("bluegreen", "finish", "--leave-writable").out.count("take writes as before") == 1


def test_a_parked_change_says_what_helps(project: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, the reason, and both ways to go on; undo takes it back from there."""

    def fail(_: StepContext) -> None:
        raise ValueError("out of luck")

    monkeypatch.setattr("shardwright.bluegreen.steps._raise_sequences", fail)
    parked = cli("bluegreen", "start")
    assert parked.code == 2
    assert "✗ compare: ValueError: out of luck\n" in parked.out
    assert parked.out.endswith("  try: shardwright runs resume 1, or: shardwright bluegreen undo\n")
    assert cli("bluegreen", "undo", "--yes").code == 0
    assert tasks("GREEN_0_URL") <= 0
