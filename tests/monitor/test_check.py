"""`check`: everything that is not as it should be is named, nothing that could not be read is hidden."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from kit import AT_GATE, MakeProject, Project, until
from pg.test_fingerprint import DRIFTS
from shardwright import errors
from shardwright.catalog.changes import Change
from shardwright.cli.commands.check import check_lines
from shardwright.embedded import Cluster
from shardwright.monitor import exhaustion
from shardwright.monitor.check import FleetCheck
from shardwright.monitor.leftovers import Owners, Traces, leftovers
from shardwright.monitor.skew import Work, skew
from shardwright.runs.store import OpenRollout, Run

TENANTS = "\n[tenants]\nroot = 'org'\nkey = 'org_id'\n"
ORGS = "CREATE TABLE org (id int PRIMARY KEY); CREATE TABLE task (id int PRIMARY KEY, org_id int REFERENCES org)"


def lines(found: FleetCheck) -> list[str]:
    """What is told for people."""
    return [text for text, _ in check_lines(found)]


# --- drift --------------------------------------------------------------------------------------


def test_every_kind_of_change_by_hand_is_found_and_named(make_project: MakeProject) -> None:
    """Of some seventy kinds, each made on one shard in a schema of its own: every object is named, and no other."""
    project, expected = make_project(3), set()
    cases = [case for case in DRIFTS if _is_in_a_schema(case)]
    assert len(cases) > 60
    setups, changes = [], []
    for number, case in enumerate(cases):
        setup, change, names = case.values
        setups.append(f"CREATE SCHEMA k{number}; SET search_path = k{number}; {setup}")
        changes.append(f"SET search_path = k{number}; {change}")
        expected |= {name.replace("public.", f"k{number}.") for name in names}
    for shard, url in project.shards.items():
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in setups + (changes if shard == "shard_1" else []):
                connection.execute(statement.encode())
    found = project.fleet().check(parts=["schema"])
    (drift,) = found.schemas.drifts
    assert drift.odd.shards == ("shard_1",)
    assert {f"{each.kind} {each.name}" for each in drift.objects} == expected
    told = "\n".join(lines(found))
    assert all(f"shard_1: {name}: " in told for name in expected if not _is_part_of_one(name, expected))


def _is_in_a_schema(case: Any) -> bool:
    """Wrappers of foreign data are the database's, and there is one of a name."""
    setup, change, names = case.values
    return all("public." in name for name in names) and "FOREIGN DATA" not in setup + change


def _is_part_of_one(name: str, names: set[str]) -> bool:
    """The columns and constraints of a table that is new are told by the table."""
    return any(name.split(" ", 1)[1].startswith(f"{each.split(' ', 1)[1]}.") for each in names)


# --- skew ---------------------------------------------------------------------------------------


def rollout(*waves: tuple[str, ...], state: str = "running") -> Work:
    """A rollout from r1 over r2 to r3, in these waves."""
    plan = {"waves": [[{"shard": s, "from": "r1", "to": "r3", "steps": ["r2", "r3"]} for s in each] for each in waves]}
    return Work(OpenRollout(_run(state), plan))


def _run(state: str) -> Run:
    values: dict[str, Any] = dict.fromkeys(Run.__dataclass_fields__)
    return Run(**values | {"id": 12, "kind": "migrate", "state": state})


@pytest.mark.parametrize(
    ("revisions", "work", "green", "expected"),
    [
        ("r1 r1", Work(), "", {}),
        ("r1 r3", Work(), "", {"s0": None, "s1": None}),
        ("r3 r1 r1", rollout(("s0",), ("s1", "s2")), "", dict.fromkeys(("s0", "s1", "s2"), "rollout 12, wave 2 of 2")),
        ("r2 r1", rollout(("s0", "s1")), "", dict.fromkeys(("s0", "s1"), "rollout 12")),
        ("r3 r1", rollout(("s0", "s1"), state="paused"), "", dict.fromkeys(("s0", "s1"), "rollout 12, paused")),
        ("r3 r0 r1", rollout(("s0", "s1")), "", {"s0": "rollout 12", "s1": None, "s2": "rollout 12"}),
        (
            "r1 r1 r9",
            Work(None, Change(7, "in_step")),
            "s2",
            {"s0": "change 7: blue", "s1": "change 7: blue", "s2": "change 7: green"},
        ),
        ("r1 r2 r9", Work(None, Change(7, "in_step")), "s2", {"s0": None, "s1": None, "s2": "change 7: green"}),
        ("r1 r1 r9", Work(None, Change(7, "undone")), "s2", {"s0": None, "s1": None, "s2": None}),
    ],
)
def test_skew_is_expected_where_something_under_way_explains_it(
    revisions: str, work: Work, green: str, expected: dict[str, str | None]
) -> None:
    """A rollout explains where its shards come from, pass by and go to; a change, that green is elsewhere than blue."""
    states = {f"s{number}": each for number, each in enumerate(revisions.split())}
    found = skew(states, work, green.split())
    assert {shard: each.expected for each in found for shard in each.shards} == expected


def test_a_rollout_in_waves_is_well_while_it_runs_and_not_when_it_has_stopped(make_project: MakeProject) -> None:
    """The shards that have not had their turn are told with the wave; left half way, they are skew."""
    project = make_project(3)
    project.table("r1", "a")
    assert project.migrate().exit_code == 0
    project.revision("r2", AT_GATE)
    with project.gate("shard_2") as gate, project.migrating(canary=1, waves="60%", online=True) as running:
        gate.reached()
        found = project.fleet().check()
        assert found.unexpected == ()
        assert {each.expected for each in found.skew} == {"rollout 2, wave 3 of 3"}
        assert found.exit_code == 0
        assert any("as expected: rollout 2, wave 3 of 3" in each for each in lines(found))
        gate.open()
        assert running.result().exit_code == 0
    assert project.fleet().check().skew == ()
    project.sql("shard_1", "UPDATE alembic_version SET version_num = 'r1'")
    assert {each.expected for each in project.fleet().check().skew} == {None}


# --- what runs out ------------------------------------------------------------------------------

NEAR = {
    "CREATE TABLE a (id serial PRIMARY KEY)": ("a_id_seq", 2_000_000_000, ["sequence public.a_id_seq"]),
    "CREATE TABLE b (id int GENERATED ALWAYS AS IDENTITY)": ("b_id_seq", 1_000_000_000, []),
    "CREATE SEQUENCE c_seq; CREATE TABLE c (id int DEFAULT nextval('c_seq'))": (
        "c_seq",
        2_000_000_000,
        ["column public.c.id"],
    ),
    "CREATE TABLE d (id bigserial PRIMARY KEY); CREATE TABLE d_of (d_id smallint REFERENCES d)": (
        "d_id_seq",
        32_000,
        ["column public.d_of.d_id"],
    ),
    "CREATE SEQUENCE e_seq MAXVALUE 1000 MINVALUE 901": ("e_seq", 950, []),
    "CREATE SEQUENCE f_seq MAXVALUE 1000 MINVALUE 1": ("f_seq", 950, ["sequence public.f_seq"]),
    "CREATE SEQUENCE g_seq INCREMENT -1 MINVALUE -100 MAXVALUE 100 START 100": (
        "g_seq",
        -90,
        ["sequence public.g_seq"],
    ),
    "CREATE SEQUENCE h_seq MAXVALUE 100 CYCLE": ("h_seq", 99, []),
    "CREATE DOMAIN tiny AS smallint; CREATE SEQUENCE i_seq; CREATE TABLE i (id tiny DEFAULT nextval('i_seq'))": (
        "i_seq",
        32_000,
        ["column public.i.id"],
    ),
    "CREATE SEQUENCE j_seq": ("j_seq", 2**62, []),
}
KEYS = """
    CREATE TABLE k (id int PRIMARY KEY); INSERT INTO k VALUES (2000000000);
    CREATE TABLE l (id int, at int, PRIMARY KEY (id, at)); INSERT INTO l VALUES (2000000000, 1);
    CREATE TABLE m (id smallint PRIMARY KEY); INSERT INTO m VALUES (5);
    CREATE TABLE n (id smallint PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE n_1 PARTITION OF n DEFAULT;
    INSERT INTO n VALUES (32000);
    CREATE TABLE "o""%s" ("i d" smallint PRIMARY KEY); INSERT INTO "o""%s" VALUES (32000);
    CREATE TABLE p (id int PRIMARY KEY REFERENCES k); INSERT INTO p VALUES (2000000000);
"""


def test_what_is_about_to_run_out_is_named_and_nothing_else(make_project: MakeProject) -> None:
    """A sequence by its own bounds, a column too narrow for its sequence, a key that somebody else gives out."""
    project = make_project(1)
    for statement, (sequence, value, _) in NEAR.items():
        project.sql("shard_0", statement)
        project.sql("shard_0", f"SELECT setval('{sequence}', {value})")
    project.sql("shard_0", KEYS)
    found = project.fleet().check(parts=["exhaustion"])
    expected = [name for *_, names in NEAR.values() for name in names]
    keys = ["key public.k.id", "key public.n.id", 'key public.o"%s.i d']
    assert sorted(f"{each.kind} {each.name}" for each in found.exhaustion) == sorted([*expected, *keys])
    (near,) = (each for each in found.exhaustion if each.name == "public.a_id_seq")
    assert (near.left, near.limit, round(near.used, 2)) == (2**31 - 1 - 2_000_000_000, 2**31 - 1, 0.93)
    assert (found.exit_code, found.unread) == (1, ())
    assert (
        "✗ shard_0: sequence public.a_id_seq is at 2000000000 of 2147483647 (93% used, 147,483,647 left)"
        in "\n".join(lines(found))
    )


def test_old_transactions_are_named(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the database's own age, of transactions and of multixacts."""
    monkeypatch.setattr(exhaustion, "AGED", 0.0)
    found = make_project(1).fleet().check(parts=["exhaustion"])
    assert {each.kind for each in found.exhaustion} == {"transactions", "multixacts"}


# --- leftovers ----------------------------------------------------------------------------------

TRACES = """
    CREATE SCHEMA shardwright; CREATE SEQUENCE shardwright.fence_77; CREATE TABLE shardwright.move (move int);
    CREATE FUNCTION shardwright.capture_77_1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER shardwright_77_insert AFTER INSERT ON "t%s" FOR EACH ROW EXECUTE FUNCTION shardwright.capture_77_1()
"""


def test_what_nobody_owns_any_more_is_named_with_its_run(make_project: MakeProject) -> None:
    """Objects and triggers of a move that is over; a schema without any; what takes them away."""
    project = make_project(3)
    project.revision("r1")
    project.migrate()
    project.sql("shard_0", 'CREATE TABLE "t%s" (id int)')
    project.sql("shard_0", TRACES)
    project.sql("shard_1", "CREATE SCHEMA shardwright")
    found = project.fleet().check(parts=["leftovers"])
    assert [(each.shard, each.kind, each.run) for each in found.leftovers] == [
        ("shard_0", "transfer", 77),
        ("shard_1", "schema", None),
    ]
    told = project.cli("check", "--only", "leftovers")
    assert 'run 77 has left 2 objects in schema shardwright and 1 trigger (on "t%s")' in told.stdout
    assert (told.returncode, "DROP SCHEMA shardwright CASCADE" in told.stdout) == (1, True)
    for shard in ("shard_0", "shard_1"):
        project.sql(shard, "DROP SCHEMA shardwright CASCADE")
    assert project.fleet().check(parts=["leftovers"]).is_well


def test_what_an_open_move_has_made_is_no_leftover(make_project: MakeProject) -> None:
    """Nor is anything left once it is finished."""
    project = make_project(2, extra=TENANTS)
    for shard in project.shards:
        project.sql(shard, ORGS)
    project.sql("shard_0", "INSERT INTO org VALUES (1)")
    project.fleet().sync_tenants()
    project.fleet().move("1", "shard_1")
    assert project.sql("shard_0", "SELECT to_regnamespace('shardwright') IS NOT NULL") == [(True,)]
    assert project.fleet().check().is_well
    project.sql("shard_0", "CREATE FUNCTION shardwright.capture_99_1() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    (left,) = project.fleet().check().leftovers
    assert (left.run, left.cure) == (99, "shardwright runs show 99")  # never the whole schema: a move is open there
    project.sql("shard_0", "DROP FUNCTION shardwright.capture_99_1()")
    project.fleet().finish_move("1")
    assert project.fleet().check().is_well


def test_only_the_control_database_knows_owners(make_project: MakeProject, dead_url: str) -> None:
    """Where it is away and there is something to be owned, that part is not done: exit 2; the others are."""
    project = make_project(1)
    project.sql("shard_0", "CREATE SCHEMA shardwright")
    project.control = dead_url
    project.write()
    found = project.fleet().check()
    assert ([each.part for each in found.not_done], found.exit_code, found.leftovers) == (["leftovers"], 2, ())
    assert len(found.schemas.groups) == 1
    assert project.cli("check").returncode == 2


def test_a_prepared_transaction_and_an_invalid_index_are_named(make_project: MakeProject) -> None:
    """Of ours; and what a broken CREATE INDEX CONCURRENTLY leaves, but none that is being built at this moment."""
    project = make_project(1)
    project.revision("r1")
    project.migrate()
    project.sql("shard_0", "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        project.sql("shard_0", "CREATE UNIQUE INDEX CONCURRENTLY once ON t (id)")
    with psycopg.connect(project.shards["shard_0"], autocommit=True) as connection:
        connection.execute("BEGIN; CREATE TABLE u (); PREPARE TRANSACTION 'shardwright_x_7_shard_0'")
    try:
        found = project.fleet().check(parts=["leftovers"])
    finally:
        project.sql("shard_0", "ROLLBACK PREPARED 'shardwright_x_7_shard_0'")
    assert [(each.kind, each.name) for each in found.leftovers] == [
        ("prepared transaction", "shardwright_x_7_shard_0"),
        ("index", "public.once"),
    ]
    assert "DROP INDEX CONCURRENTLY" in found.leftovers[1].cure
    with project.holding("shard_0", "LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE"):
        assert project.fleet().check(parts=["leftovers"]).is_well


@pytest.mark.parametrize(
    ("owners", "cure"),
    [
        (Owners(unsettled=frozenset({7}), token="x", at_work=True), None),
        (Owners(unsettled=frozenset({7}), token="x"), "shardwright runs resume 7"),
        (Owners(unsettled=frozenset({7}), token="y", at_work=True), "ROLLBACK PREPARED"),
        (Owners(token="x", at_work=True), "ROLLBACK PREPARED"),
    ],
)
def test_a_prepared_transaction_belongs_to_whoever_is_at_work_on_its_run(owners: Owners, cure: str | None) -> None:
    """A rollout of all shards or none under way owns its own; a dead one's are finished by resuming it."""
    found = [each.cure for each in leftovers("s", Traces(prepared=("shardwright_x_7_s",)), owners)]
    assert [each[: len(cure or "")] for each in found] == ([cure] if cure else [])


# --- tenants ------------------------------------------------------------------------------------


def test_placements_and_orphans_are_part_of_it(make_project: MakeProject) -> None:
    """What `tenants verify` finds, `check` finds; asked of some shards only, it leaves that out."""
    project = make_project(2, extra=TENANTS)
    for shard in project.shards:
        project.sql(shard, f"{ORGS}; CREATE TABLE note (id int PRIMARY KEY, org_id int NOT NULL)")
    project.sql("shard_0", "INSERT INTO org VALUES (1)")
    project.fleet().sync_tenants()
    assert project.fleet().check().is_well
    project.sql("shard_1", "INSERT INTO org VALUES (1); INSERT INTO note VALUES (1, 7)")
    found = project.fleet().check()
    assert found.verification is not None
    assert (found.verification.comparison.twice.count, len(found.verification.orphans), found.exit_code) == (1, 1, 1)
    told = project.cli("check")
    assert "✗ 1: on shard_0 and shard_1" in told.stdout
    assert "shard_1: note has 1 rows of tenants that are not on the shard: 7" in told.stdout
    assert "2 misplaced" in told.stdout.splitlines()[-1]
    assert project.fleet().check(shards="shard_0").verification is None
    assert project.cli("check", "--quick").returncode == 0


# --- who may not see everything, who is away, how many connections ----------------------------------


@pytest.fixture
def stranger(cluster: Cluster) -> Iterator[str]:
    """A role that is no superuser, owns nothing and is in no role of PostgreSQL's own."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE check_stranger LOGIN")
        yield "check_stranger"
        admin.execute("DROP ROLE check_stranger")


def test_a_role_that_may_only_read_is_enough(make_project: MakeProject, stranger: str) -> None:
    """CONNECT, and SELECT on what is read; what it may not read is named, never passed over."""
    line = '[references]\n"t.v" = "u.v"\n'
    project = make_project(2, extra=line)
    tables = (
        "CREATE TABLE t (id serial PRIMARY KEY, v int); CREATE TABLE u (v int PRIMARY KEY);"
        "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('r1');"
        f"GRANT SELECT ON t, u, alembic_version, t_id_seq TO {stranger}"
    )
    for shard in project.shards:
        project.sql(shard, tables)
    project.sql("shard_0", "INSERT INTO t VALUES (1, 5)")
    owners = dict(project.shards)
    project.shards = {name: url.replace("postgres@", f"{stranger}@") for name, url in owners.items()}
    project.write()
    found = project.fleet().check()
    assert (found.unread, found.references[0].dangling, found.exit_code) == ((), 1, 1)
    with psycopg.connect(owners["shard_0"], autocommit=True) as owner:
        owner.execute(f"REVOKE SELECT ON u, t_id_seq FROM {stranger}".encode())
        found = project.fleet().check()
        owner.execute(f"DROP OWNED BY {stranger}".encode())
    with psycopg.connect(owners["shard_1"], autocommit=True) as owner:
        owner.execute(f"DROP OWNED BY {stranger}".encode())
    (blind,) = found.unread
    assert blind.shard == "shard_0"
    assert "may not read sequence public.t_id_seq, public.u.v" in blind.fault.reason
    assert "permission denied for table u" in found.references[0].unread["shard_0"].reason
    assert (found.references[0].dangling, found.references[0].is_well) == (0, False)


def test_a_shard_that_is_down_is_named_once_and_hides_no_other(make_project: MakeProject, dead_url: str) -> None:
    """Every part is made of the shards that answer."""
    project = make_project(2, extra=TENANTS)
    for shard in project.shards:
        project.sql(shard, ORGS)
    project.sql("shard_1", "CREATE SEQUENCE s MAXVALUE 10; SELECT setval('s', 10)")
    project.shards["shard_9"] = dead_url
    project.write()
    found = project.fleet().check()
    assert ([each.shard for each in found.unread], len(found.exhaustion), found.exit_code) == (["shard_9"], 1, 1)
    assert sum("shard_9" in each for each in lines(found)) == 1
    assert json.loads(project.cli("check", "--json").stdout)["unread"][0]["shard"] == "shard_9"


def test_no_host_is_asked_over_more_connections_than_its_budget(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever part it is, over eight shards of one host: at most three, not counting the control database."""
    line = f'{TENANTS}\n[references]\n"task.org_id" = "org.id"\n'
    project = make_project(8, extra=line, limits={"connections_per_host": "3"})
    for shard in project.shards:
        project.sql(shard, ORGS)
    project.sql("shard_0", "INSERT INTO org VALUES (1); INSERT INTO task VALUES (1, 1)")
    project.fleet().sync_tenants()
    of_shards = {conninfo_to_dict(url)["dbname"] for url in project.shards.values()}
    opened: list[psycopg.Connection[Any]] = []
    most, connect = [], psycopg.connect

    def counting(*arguments: Any, **options: Any) -> psycopg.Connection[Any]:
        opened.append(connect(*arguments, **options))
        most.append(sum(not each.closed and each.info.dbname in of_shards for each in opened))
        return opened[-1]

    monkeypatch.setattr(psycopg, "connect", counting)
    assert project.fleet().check().is_well
    assert 2 <= max(most) <= 3


# --- the command --------------------------------------------------------------------------------


def test_json_keeps_its_keys_and_has_a_place_for_every_part(make_project: MakeProject) -> None:
    """Those of today, and one more for each part."""
    project = make_project(1)
    found = json.loads(project.cli("check", "--json").stdout)
    assert {"alike", "revisions", "groups", "differences", "unread"} < found.keys()
    assert {"well", "parts", "skew", "tenants", "references", "exhaustion", "leftovers", "not_done"} < found.keys()
    assert project.cli("check", "--only", "exhaustion").stdout == "all well\n"


@pytest.mark.parametrize("words", [("--only", "everything"), ("--only", ""), ("--only", "schema", "--quick")])
def test_parts_that_are_none_are_wrong_usage(make_project: MakeProject, words: tuple[str, ...]) -> None:
    """Exit 64, and the parts there are."""
    assert make_project(1).cli("check", *words).returncode == 64


def test_watching_goes_on_until_it_is_stopped(make_project: MakeProject) -> None:
    """A document a line, each a whole check; what changed meanwhile is in the next; the exit code is the last one's."""
    project = make_project(2)
    process = project.start_cli("check", "--watch", "--every", "100ms", "--json")
    output = process.stdout
    assert output is not None
    assert json.loads(output.readline())["well"] is True
    project.sql("shard_1", "CREATE TABLE extra ()")
    assert until(lambda: json.loads(output.readline())["well"] is False)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 1


# --- the deploy gate ----------------------------------------------------------------------------


@pytest.fixture
def gated(make_project: MakeProject) -> Project:
    """Three shards with a history of three revisions: at r1, r2, r3."""
    project = make_project(3)
    for number in (1, 2, 3):
        project.revision(f"r{number}")
        project.stamp(f"r{number}", shards=[f"shard_{number - 1}"])
    return project


@pytest.mark.parametrize(
    ("required", "code", "lacking"),
    [("r1", 0, []), ("r2", 1, ["shard_0"]), ("head", 1, ["shard_0", "shard_1"]), ("nope", 2, []), ("+1", 64, [])],
)
def test_the_gate_lets_pass_who_has_at_least_the_revision(
    gated: Project, required: str, code: int, lacking: list[str]
) -> None:
    """Whatever came after it; one line for each shard that lacks it; what is no revision is no answer."""
    done = gated.cli("status", "--require", required)
    assert done.returncode == code
    assert [line.split()[1].rstrip(":") for line in done.stdout.splitlines()[:-1]] == lacking
    if lacking:
        assert f"it is at r1, and lacks {'r3' if required == 'head' else required}" in done.stdout
        assert [
            each["shard"] for each in json.loads(gated.cli("status", "--require", required, "--json").stdout)["shards"]
            if each["status"] == "behind"
        ] == lacking  # fmt: skip


def test_the_gate_names_shards_that_do_not_answer_or_are_unknown(gated: Project, dead_url: str) -> None:
    """Neither is let pass."""
    gated.sql("shard_2", "UPDATE alembic_version SET version_num = 'from_elsewhere'")
    gated.shards["shard_9"] = dead_url
    gated.write()
    result = gated.fleet().require_revision("r1")
    assert {each.shard: each.status.value for each in result.results} == {
        "shard_0": "up_to_date",
        "shard_1": "up_to_date",
        "shard_2": "unknown",
        "shard_9": "failed",
    }
    assert result.exit_code == 1


def test_older_code_starts_while_newer_code_has_been_on_the_shards(make_project: MakeProject) -> None:
    """In a rolling deploy a process of the old release may start again: what it needs is there, as the ledger tells."""
    project = make_project(2)
    for revision in ("r1", "r2", "r3"):
        project.revision(revision)
        project.migrate()
    for revision in ("r2", "r3"):
        (project.path / "migrations" / "versions" / f"{revision}.py").unlink()
    assert project.fleet().require_revision("r1").exit_code == 0
    project.sql("control", "UPDATE shardwright.run SET kind = 'seed' WHERE id = 2")  # how r2 came is not known then
    result = project.fleet().require_revision("r1")
    assert {each.status.value for each in result.results} == {"ahead"}
    with pytest.raises(errors.NoSuchRevision):
        project.fleet().require_revision("r2")
