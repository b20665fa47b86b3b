"""`Tenants`: each call works on the shard where its tenant is, also while it is taken to another."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from bank import TENANTS, Bank
from fences import Fences
from kit import STOCK_ENV, until
from shardwright import Fleet, Tenants, errors
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.routing import guide
from shardwright.routing.asking import Asker, impatient
from shardwright.routing.guide import Guide
from shardwright.routing.known import Answer, Place
from shardwright.shard import Shard

ENTER = text("INSERT INTO entries VALUES (:account, :effect)")
ADD = text("UPDATE accounts SET balance = balance + 1 WHERE id = :account")


def enter(session: Session, effect: str, account: str = "acme") -> str:
    """One effect: a line in the ledger, and one more in the balance."""
    session.execute(ENTER, {"account": account, "effect": effect})
    session.execute(ADD, {"account": account})
    return effect


def where(session: Session) -> str:
    return str(session.scalar(text("SELECT current_database()")))


@contextmanager
def traffic(call: Callable[[str], Any], threads: int = 4) -> Iterator[list[str]]:
    """That many threads call and call, each time with another effect; gives, at the end, those acknowledged."""
    done: list[str] = []
    end = threading.Event()

    def work(worker: int) -> None:
        number = 0
        while not end.is_set():
            done.append(call(f"{worker}-{number}"))
            number += 1

    with ThreadPoolExecutor(threads) as pool:
        working = [pool.submit(work, worker) for worker in range(threads)]
        try:
            yield done
        finally:
            end.set()
        for each in working:
            each.result()


def flip_often(fences: Fences, done: list[str], flips: int) -> str:
    """The tenant moves that often, by every kind of switch, and some writes happen in between."""
    for number in range(flips):
        before = len(done)
        shard = fences.switch(detail=number % 3 != 1, aborted=number % 5 == 4)
        until(lambda before=before: len(done) >= before + 3)  # type: ignore[misc]
    return shard


def ledger_is_exact(bank: Bank, done: list[str], shard: str) -> None:
    assert bank.entries(shard) == sorted(done)
    assert bank.balance(shard) == len(done) == len(set(done))


# --- moves under traffic ----------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_no_call_of_run_fails_and_each_effect_is_there_once(driver: str, bank: Bank) -> None:
    """Over many switches under traffic: with a hint, without one, and taken back."""
    bank.with_driver(driver)
    tenants, fences = bank.tenants(), bank.fences("acme")
    with traffic(lambda effect: tenants.run("acme", enter, effect)) as done:
        shard = flip_often(fences, done, 20)
    ledger_is_exact(bank, done, shard)


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_snapshot_older_than_the_switch_is_refused_and_tried_again(isolation: str, bank: Bank) -> None:
    """The transaction has read before the switch and writes after it: on the other shard, in a new snapshot."""
    tenants, fences = bank.tenants(isolation_level=isolation), bank.fences("acme")
    seen = []

    def read_then_write(session: Session) -> None:
        seen.append(where(session))
        if len(seen) == 1:
            fences.switch()
        enter(session, "late")

    tenants.run("acme", read_then_write)
    assert len(set(seen)) == 2
    ledger_is_exact(bank, ["late"], "shard_1")


def test_a_refusal_at_commit_is_followed(bank: Bank, deaf: None) -> None:
    """Where the fence is a deferred trigger, the writes succeed and COMMIT is refused."""
    tenants, fences = bank.tenants(), bank.fences("acme", deferred=True)
    tenants.run("acme", enter, "before")
    fences.switch()
    tenants.run("acme", enter, "after")
    ledger_is_exact(bank, ["after", "before"], "shard_1")


def test_a_refusal_at_flush_is_followed(bank: Bank, deaf: None) -> None:
    """Where it is the unit of work that writes."""
    tenants, fences = bank.tenants(), bank.fences("acme")
    tenants.run("acme", enter, "before")
    fences.switch()

    def change(session: Session) -> None:
        account = session.get_one(bank.account, "acme")
        account.balance += 1

    tenants.run("acme", change)
    assert bank.balance("shard_1") == 2


def swallow(session: Session) -> str:
    """The trap: after this the server answers COMMIT with ROLLBACK, and no driver says a word."""
    try:
        return enter(session, "swallowed")
    except DBAPIError:
        return "never mind"


def swallow_in_savepoint(session: Session) -> str:
    """Another: the savepoint is rolled back, and the transaction can be committed."""
    try:
        with session.begin_nested():
            return enter(session, "swallowed")
    except DBAPIError:
        return "never mind"


def make_it_mine(session: Session) -> str:
    try:
        return enter(session, "swallowed")
    except DBAPIError as error:
        raise LookupError("mine") from error


@pytest.mark.parametrize("function", [swallow, swallow_in_savepoint, make_it_mine])
def test_a_refusal_that_the_function_swallows_is_followed_all_the_same(
    function: Callable[[Session], str], bank: Bank, deaf: None
) -> None:
    """Nothing is acknowledged that is not there."""
    tenants, fences = bank.tenants(), bank.fences("acme")
    tenants.run("acme", where)
    fences.switch()
    assert tenants.run("acme", function) == "swallowed"
    ledger_is_exact(bank, ["swallowed"], "shard_1")


def test_shards_that_point_to_each_other_end_in_an_error(bank: Bank) -> None:
    """The mover died between the fence and the catalog: the call waits as long as it was told, and says so."""
    tenants, fences = bank.tenants(patience="300ms"), bank.fences("acme")
    fences.close_fence("shard_0", "shard_1", 2)
    calls = []

    def count(session: Session) -> None:
        calls.append(where(session))
        enter(session, "never")

    with pytest.raises(errors.TenantIsMoving) as caught:
        tenants.run("acme", count)
    assert isinstance(caught.value.__cause__, DBAPIError)
    assert 4 <= len(calls) <= 30  # neither given up at once nor in a hot loop
    assert len(set(calls)) == 2
    assert bank.entries("shard_0") == bank.entries("shard_1") == []


def test_a_switch_that_is_taken_back_leaves_the_call_where_it_was(bank: Bank) -> None:
    """The source refused and pointed to the target, which never opened: the source it is, without a new epoch."""
    tenants, fences = bank.tenants(), bank.fences("acme")
    fences.close_fence("shard_0", "shard_1", 2)
    with ThreadPoolExecutor(1) as pool:
        calls: list[str] = []

        def count(session: Session) -> None:
            calls.append(where(session))
            enter(session, "patient")

        running = pool.submit(tenants.run, "acme", count)
        until(lambda: len(set(calls)) == 2)  # it has been to both
        fences.open_fence("shard_0")
        running.result()
    ledger_is_exact(bank, ["patient"], "shard_0")


def test_placed_but_not_open_yet(bank: Bank) -> None:
    """After the catalog moved the tenant, and before the target's fence is opened, a call waits there."""
    tenants, fences = bank.tenants(), bank.fences("acme")
    fences.carry("shard_0", "shard_1")
    fences.close_fence("shard_0", "shard_1", 2)
    fences.move_placement("shard_0", "shard_1", 1)
    with ThreadPoolExecutor(1) as pool:
        calls: list[str] = []

        def count(session: Session) -> None:
            calls.append(where(session))
            enter(session, "early")

        running = pool.submit(tenants.run, "acme", count)
        until(lambda: len(calls) >= 3)
        fences.open_fence("shard_1")
        running.result()
    ledger_is_exact(bank, ["early"], "shard_1")


def test_a_refusal_without_a_hint_is_a_question_to_the_catalog(bank: Bank, deaf: None) -> None:
    """The fence of an offline move names no shard; while the catalog has no other either, the call waits."""
    tenants, fences = bank.tenants(patience="200ms"), bank.fences("acme")
    tenants.run("acme", where)
    fences.close_fence("shard_0", None, None)
    with pytest.raises(errors.TenantIsMoving):
        tenants.run("acme", enter, "never")
    fences.open_fence("shard_0")
    fences.switch(detail=False)
    tenants.run("acme", enter, "once")
    ledger_is_exact(bank, ["once"], "shard_1")


# --- what is not tried again ------------------------------------------------------------------


def test_an_error_of_the_function_is_raised_at_once(bank: Bank) -> None:
    """Rolled back, called once; a breach of a constraint is the caller's as well."""
    tenants = bank.tenants()
    calls = []

    def fail(session: Session) -> None:
        calls.append(enter(session, "gone"))
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        tenants.run("acme", fail)
    with pytest.raises(DBAPIError, match="duplicate key"):
        tenants.run("acme", lambda session: session.execute(text("INSERT INTO accounts VALUES ('acme')")))
    assert calls == ["gone"]
    assert bank.entries("shard_0") == []


def test_a_refusal_of_another_tenants_write_is_not_followed(bank: Bank) -> None:
    """The function wrote into somebody else's rows: its own tenant has not moved."""
    bank.add("other")
    tenants, fences = bank.tenants(), bank.fences("other")
    fences.switch()
    with pytest.raises(DBAPIError, match="'other' is not written"):
        tenants.run("acme", enter, "wrong", "other")
    assert tenants.shard("acme").name == "shard_0"


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_commit_whose_outcome_is_unknown_is_not_repeated(is_kept: bool, bank: Bank) -> None:
    """The connection is lost at COMMIT: done or not, the caller is told, and the function is called once."""
    bank.fences("acme")  # nothing of a move in the way
    bank.cut_at_commit("shard_0", is_kept=is_kept)
    tenants, calls = bank.tenants(), []
    with pytest.raises(OperationalError):
        tenants.run("acme", lambda session: calls.append(enter(session, "perhaps")))
    assert calls == ["perhaps"]
    until(lambda: bank.entries("shard_0") == (["perhaps"] if is_kept else []))


# --- what is known of where tenants are -------------------------------------------------------


def test_a_tenant_that_there_is_not(bank: Bank) -> None:
    """Is no error that sticks: it is found as soon as it is placed, and by whatever kind of id."""
    tenants, tenant = bank.tenants(), uuid.uuid4()
    with pytest.raises(errors.NoSuchTenant, match=str(tenant)):
        tenants.run(tenant, where)
    with pytest.raises(errors.BadTenantId):
        tenants.run("a\0b", where)
    bank.add(str(tenant), "shard_1")
    assert tenants.shard(tenant).name == "shard_1"
    bank.add("7", "shard_1")
    assert tenants.shard(7).name == "shard_1"


def test_of_many_who_want_to_know_one_asks(bank: Bank, deaf: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart a thousand requests of one tenant are one question to the control database."""
    tenants, asked, waiting = bank.tenants(), list[str](), list[str]()
    ask, wait = Asker.ask, Guide._ask

    def count(self: Asker, tenant: str) -> Place | None:
        asked.append(tenant)
        until(lambda: len(waiting) == 8)
        return ask(self, tenant)

    def count_waiting(self: Guide, tenant: str) -> Shard:
        waiting.append(tenant)
        return wait(self, tenant)

    monkeypatch.setattr(Asker, "ask", count)
    monkeypatch.setattr(Guide, "_ask", count_waiting)
    with ThreadPoolExecutor(8) as pool:
        assert {shard.name for shard in pool.map(tenants.shard, ["acme"] * 8)} == {"shard_0"}
    assert asked == ["acme"]


def test_a_question_goes_through_after_the_session_was_ended(bank: Bank, deaf: None) -> None:
    """The control database was restarted while nobody asked: the first who asks notices nothing."""
    bank.add("other")
    tenants = bank.tenants()
    assert tenants.shard("acme").name == "shard_0"
    bank.drop_catalog_sessions()
    assert tenants.shard("other").name == "shard_0"


def test_a_silent_control_database_is_given_up_soon() -> None:
    """Within seconds, unless its URL says otherwise; whatever driver it names."""
    url = impatient(DatabaseUrl.parse("postgresql+asyncpg://h/d"))
    assert dict(url.parameters)["tcp_user_timeout"] == "5000"
    url = impatient(DatabaseUrl.parse("postgresql://h/d?tcp_user_timeout=7"))
    assert dict(url.parameters)["tcp_user_timeout"] == "7"


def test_a_change_is_heard(bank: Bank) -> None:
    """Nobody writes, nobody asks: the announcement alone leads to the new shard; forgotten is heard, too."""
    tenants = bank.tenants()
    tenants.run("acme", where)
    listening(tenants)
    fences = bank.fences("acme")
    fences.switch()
    until(lambda: at_hand(tenants) == Answer("shard_1", is_sure=True))
    bank.project.sql("control", "DELETE FROM shardwright.placement")
    until(lambda: at_hand(tenants) is None)
    with pytest.raises(errors.NoSuchTenant):
        tenants.shard("acme")


def test_many_changes_at_once_are_heard(bank: Bank) -> None:
    """A message without names makes everything known doubtful, and it is asked again."""
    tenants = bank.tenants()
    tenants.run("acme", where)
    listening(tenants)
    tenants.run("acme", where)
    assert at_hand(tenants) == Answer("shard_0", is_sure=True)
    bank.project.sql(
        "control",
        "INSERT INTO shardwright.placement SELECT 'main', n, 'shard_1', 1, now(), 'me' FROM generate_series(1, 101) n",
    )
    until(lambda: at_hand(tenants) == Answer("shard_0", is_sure=False))
    tenants.run("acme", where)
    assert at_hand(tenants) == Answer("shard_0", is_sure=True)


def test_what_another_set_says_is_not_heard(bank: Bank) -> None:
    """Two fleets may share a control database, and have tenants of the same id."""
    tenants = bank.tenants()
    tenants.run("acme", where)
    listening(tenants)
    tenants.run("acme", where)
    for shard_set, tenant in (("green", "acme"), ("main", "other")):
        bank.project.sql("control", "SELECT shardwright.tell_placement(%s, %s, 'shard_1', 2)", shard_set, tenant)
    until(lambda: at_hand(tenants, "other") == Answer("shard_1", is_sure=True))
    assert at_hand(tenants) == Answer("shard_0", is_sure=True)


def test_what_was_missed_while_the_listener_was_away_is_asked_again(bank: Bank) -> None:
    """Its session was ended, the tenant moved, it came back: the next call asks."""
    tenants, fences = bank.tenants(), bank.fences("acme")
    tenants.run("acme", where)
    listening(tenants)
    generation = tenants._guide._known._generation
    with tenants._guide._looking:  # the listener can't come back yet
        bank.drop_catalog_sessions()
        fences.switch()
    until(lambda: tenants._guide._known._generation > generation)
    assert tenants.run("acme", where) == bank.database("shard_1")


def test_a_placement_is_asked_for_again_after_a_minute_without_a_listener(
    bank: Bank, deaf: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a pooler nobody can listen; a move is then noticed by asking, if no write has noticed it before."""
    tenants, fences = bank.tenants(), bank.fences("acme")
    tenants.run("acme", where)
    fences.switch()
    assert tenants.shard("acme").name == "shard_0"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + guide.UNHEARD.total_seconds() + 1)
    assert tenants.shard("acme").name == "shard_1"


@pytest.mark.parametrize("listens", [True, False])
def test_a_hint_is_followed_while_the_control_database_is_away(
    listens: bool, frail_bank: Bank, other_cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    """What is known goes on being used, and a refusal's hint leads on; what is not known is an error that says why."""
    if not listens:
        request.getfixturevalue("deaf")
    bank = frail_bank
    bank.add("unknown")
    tenants, fences = bank.tenants(), bank.fences("acme")
    tenants.run("acme", enter, "before")
    fences.switch()
    tenants.run("acme", enter, "between")
    if listens:
        listening(tenants)
    fences.switch()
    fences.close()
    other_cluster.stop()
    for number in range(3):
        tenants.run("acme", enter, f"during {number}")
    with pytest.raises(errors.ControlUnavailable):
        tenants.run("unknown", where)
    other_cluster.start()
    until(lambda: tenants.run("unknown", where))
    ledger_is_exact(bank, ["before", "between", "during 0", "during 1", "during 2"], "shard_0")


def test_a_shard_that_the_configuration_does_not_name(bank: Bank) -> None:
    """The application was not told of the new shard yet: the error says which line to write."""
    bank.project.sql(
        "control",
        "INSERT INTO shardwright.shard (shard_set, name, host, database) VALUES ('main', 'shard_9', 'h', 'd')",
    )
    bank.project.sql("control", "UPDATE shardwright.placement SET shard = 'shard_9', epoch = 2")
    with pytest.raises(errors.ShardNotConfigured, match=r"'acme' is on shard_9, which .*\.toml does not name"):
        bank.tenants().run("acme", where)


def test_a_newer_control_schema_is_no_matter(bank: Bank) -> None:
    """The tool was upgraded before the application: its calls go on."""
    bank.project.sql("control", "INSERT INTO shardwright.schema_version VALUES (9999, 'of the future')")
    assert bank.tenants().shard("acme").name == "shard_0"


def test_a_placement_can_not_live_longer_than_what_was_left_behind(bank: Bank) -> None:
    """After `limits.keep` the old rows are gone, and a stale write would find nothing and succeed."""
    with pytest.raises(errors.UsageError, match="can't live for 1d"):
        bank.tenants(lives="1d")
    with pytest.raises(errors.UsageError, match="patience: not a duration"):
        bank.tenants(patience="soon")


# --- sessions, connections, new tenants -------------------------------------------------------


def test_a_session_is_on_the_tenants_shard(bank: Bank) -> None:
    """And so is a connection; what was not committed is gone, and what was given stays readable."""
    tenants = bank.tenants()
    with tenants.session("acme") as session:
        account = session.get_one(bank.account, "acme")
        enter(session, "kept")
        session.commit()
        enter(session, "gone")
    assert account.balance == 0
    with tenants.connection("acme") as connection:
        assert connection.scalar(text("SELECT balance FROM accounts")) == 1
    with tenants.engine("acme").connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM entries")) == 1
    with psycopg.connect(tenants.shard("acme").url.conninfo) as plain:
        assert plain.execute("SELECT effect FROM entries").fetchall() == [("kept",)]


@pytest.mark.parametrize("way", ["session", "connection"])
def test_a_refusal_in_a_session_leads_the_next_one_right(way: str, bank: Bank, deaf: None) -> None:
    """Also where the error was caught inside, and the catalog can't be heard."""
    tenants, fences = bank.tenants(), bank.fences("acme")
    tenants.run("acme", where)
    fences.switch()
    with getattr(tenants, way)("acme") as session, pytest.raises(DBAPIError, match="'acme' is not written"):
        session.execute(ENTER, {"account": "acme", "effect": "refused"})
    with getattr(tenants, way)("acme") as session:
        session.execute(ENTER, {"account": "acme", "effect": "kept"})
        session.commit()
    assert bank.entries("shard_1") == ["kept"]


def test_a_strict_session_reads_where_the_tenant_is(bank: Bank, deaf: None) -> None:
    """A stale placement would let an ordinary one read what was left behind: no trigger fires on a read."""
    tenants, fences = bank.tenants(), bank.fences("acme")
    with tenants.session("acme", strict=True) as session:
        assert where(session) == bank.database("shard_0")
    fences.switch()
    with tenants.session("acme") as session:
        assert where(session) == bank.database("shard_0")
    with tenants.session("acme", strict=True) as session:
        assert where(session) == bank.database("shard_1")


def test_a_strict_session_waits_out_the_switch(bank: Bank) -> None:
    """As long as the call has patience; a shard that never saw a move has nothing to say against it."""
    tenants = bank.tenants(patience="100ms")
    with tenants.session("acme", strict=True) as session:
        assert where(session) == bank.database("shard_0")
    fences = bank.fences("acme")
    fences.close_fence("shard_0", None, None)
    with pytest.raises(errors.TenantIsMoving), tenants.session("acme", strict=True):
        pass
    fences.open_fence("shard_0")
    with tenants.session("acme", strict=True) as session:
        assert where(session) == bank.database("shard_0")


def test_a_new_tenant_takes_two_lines(bank: Bank) -> None:
    """Placed by the policy and written; placing it again changes nothing, nor do ten at once."""
    tenants, tenant = bank.tenants(), uuid.uuid4()
    with ThreadPoolExecutor(4) as pool:
        placed = list(pool.map(tenants.place, [tenant] * 10))
    assert {(each.shard, each.epoch) for each in placed} == {("shard_1", 1)}  # shard_0 has acme
    tenants.run(tenant, enter, "first", str(tenant))
    assert bank.entries("shard_1") == ["first"]


def test_a_tenant_can_be_placed_on_a_shard_that_the_catalog_has_not_seen(bank: Bank) -> None:
    """The first tenant of a new fleet, or of a new shard."""
    bank.project.sql("control", "DELETE FROM shardwright.placement")
    bank.project.sql("control", "DELETE FROM shardwright.shard")
    assert bank.tenants().place("first").shard == "shard_0"


def test_nothing_is_left_open(bank: Bank) -> None:
    """After close there is neither a thread nor a connection; it can be used again."""
    tenants = bank.tenants()
    threads = threading.active_count()
    tenants.run("acme", where)
    listening(tenants)
    tenants.close()
    assert threading.active_count() == threads
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    until(lambda: [bank.project.sql(each, sessions)[0][0] for each in ("control", "shard_0")] == [0, 0])
    tenants.run("acme", where)


def test_an_embedded_fleet_is_started_when_it_is_needed(tmp_path: Path, state: Path) -> None:
    """On a laptop: `dev down` yesterday, and today the application just works."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "migrations" / "env.py").write_text(STOCK_ENV)
    file = tmp_path / "shardwright.toml"
    file.write_text(f'[fleet]\ncontrol = "embedded"\nenvironment = "test"\n{TENANTS}')
    fleet = Fleet.from_config(file)
    fleet.dev_up(shards=2, clusters=1)
    fleet.dev_down()
    with Tenants.from_config(file) as tenants:
        assert {tenants.place(tenant).shard for tenant in ("acme", "other")} == {"shard_0", "shard_1"}
        assert tenants.run("acme", where) == tenants.shard("acme").url.database


def test_making_one_opens_nothing(bank: Bank) -> None:
    """A module may make it while it is imported, with every server down."""
    bank.project.control = "postgresql://nobody@localhost:1/nothing"
    bank.project.write()
    tenants = bank.tenants()
    with pytest.raises(errors.ControlUnavailable):
        tenants.run("acme", where)


def listening(tenants: Tenants) -> None:
    """Until the listener hears."""
    until(lambda: tenants._guide._known.is_heard)


def at_hand(tenants: Tenants, tenant: str = "acme") -> Answer | None:
    """What is known of it."""
    with tenants._guide._looking:
        return tenants._guide._known.look(tenant, time.monotonic())
