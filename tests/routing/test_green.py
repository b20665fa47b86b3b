"""`reads="green"`: who only reads may look at a tenant's green shard, as long as that is not too far behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from bank import Bank
from greens import Change, with_green
from kit import until
from shardwright import Tenants, errors
from shardwright.catalog import placement
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.pg.faults import sqlstate
from shardwright.routing import green

NAME = text("SELECT current_database()")
WRITE = text("CREATE TABLE written (id int)")
READ_ONLY = "25006"


@pytest.fixture
def green_url(make_database: Callable[[], str]) -> str:
    return make_database()


@pytest.fixture
def green_name(green_url: str) -> str:
    return DatabaseUrl.parse(green_url).database


@pytest.fixture
def change(bank: Bank, green_url: str) -> Change:
    """`acme` goes from shard_0 to green_0, which was just told to be in step."""
    with_green(bank.project, green_0=green_url)
    change = Change(bank.project)
    change.take_along("acme")
    change.tell_lag(0.1)
    return change


@pytest.fixture
def asked_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken from what was asked before."""
    monkeypatch.setattr(green, "LIVES", 0.0)


def where(tenants: Tenants, tenant: str = "acme", **options: Any) -> str:
    with tenants.session(tenant, reads="green", **options) as session:
        return str(session.scalar(NAME))


def switch(bank: Bank, tenant: str = "acme") -> None:
    with psycopg.connect(bank.project.control, autocommit=True) as control:
        placement.move_placement(
            control, "main", tenant, "shard_0", "green_0", expected_epoch=1, changed_by="test", run=None
        )


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("isolation", [None, "AUTOCOMMIT"])
def test_before_the_switch_it_reads_on_green_and_writes_nowhere(
    driver: str, isolation: str | None, bank: Bank, change: Change, green_name: str, green_url: str
) -> None:
    """PostgreSQL refuses the write, in a later transaction of the session too; later sessions write as ever."""
    bank.project.extra = bank.project.extra.replace(green_url, DatabaseUrl.parse(green_url).sqlalchemy(driver))
    bank.with_driver(driver)
    tenants = bank.tenants(pool_size=1, max_overflow=0, **({"isolation_level": isolation} if isolation else {}))
    with tenants.session("acme", reads="green") as session:
        assert session.scalar(NAME) == green_name
        session.commit()
        with pytest.raises(DBAPIError) as refused:
            session.execute(WRITE)
        session.rollback()
    assert sqlstate(refused.value.orig or refused.value) == READ_ONLY
    with tenants.session("acme") as session:
        assert session.scalar(NAME) == bank.database("shard_0")
        session.execute(WRITE)
    switch(bank)
    until(lambda: tenants.shard("acme").name == "green_0")
    tenants.run("acme", lambda session: session.execute(WRITE))  # over the very connection that has only read


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_the_same_is_awaited(driver: str, bank: Bank, change: Change, green_name: str, green_url: str) -> None:
    """`AsyncTenants` leads there too, refuses the same, and is where the tenant is after the switch."""
    bank.project.extra = bank.project.extra.replace(green_url, DatabaseUrl.parse(green_url).sqlalchemy(driver))
    bank.with_driver(driver)

    async def write(session: AsyncSession) -> None:
        assert await session.scalar(NAME) == green_name
        with pytest.raises(DBAPIError) as refused:
            await session.execute(WRITE)
        assert sqlstate(refused.value.orig or refused.value) == READ_ONLY

    async def story() -> None:
        async with bank.awaited() as tenants:
            async with tenants.session("acme", reads="green") as session:
                await write(session)
            with pytest.raises(errors.GreenLags):
                async with tenants.session("acme", reads="green", max_lag="1ms"):
                    pass
            await asyncio.to_thread(switch, bank)
            while (await tenants.shard("acme")).name != "green_0":
                await asyncio.sleep(0.01)
            async with tenants.session("acme", reads="green", max_lag="1ms") as session:
                await write(session)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("lag", "ago", "max_lag", "words"),
    [
        (6.0, 0, None, r"up to 6\.\d s behind, and 5s is allowed; last told 0\.\d s ago"),
        (0.0, 7, None, r"up to 7\.\d s behind, and 5s is allowed; last told 7\.\d s ago"),
        (1.5, 1, "2s", r"up to 2\.[5-9] s behind, and 2s is allowed"),
        (None, 0, "1d", "not known how far"),
    ],
)
def test_it_is_refused_where_green_is_further_behind(
    lag: float | None, ago: float, max_lag: str | None, words: str, bank: Bank, change: Change, asked_always: None
) -> None:
    """What counts is the lag that was told, and the time since: one who tells nothing any more is behind."""
    tenants = bank.tenants()
    change.tell_lag(lag, ago=ago)
    with pytest.raises(errors.GreenLags, match=words):
        where(tenants, max_lag=max_lag)
    change.tell_lag(0)
    assert where(tenants, max_lag=max_lag)
    change.tell_lag(8)
    assert where(tenants, max_lag="10s")


def test_there_is_no_green(bank: Bank, green_url: str, green_name: str, asked_always: None) -> None:
    """Before a change, before it takes the tenant along, while it is built, and after it was taken back."""
    tenants = bank.tenants()
    with pytest.raises(errors.NoGreen, match="no blue-green change is under way"):
        where(tenants)
    with pytest.raises(errors.NoSuchTenant):
        where(tenants, "nobody")
    with_green(bank.project, green_0=green_url)
    tenants, change = bank.tenants(), Change(bank.project, phase="building")
    with pytest.raises(errors.NoGreen, match="not taken it along yet"):
        where(tenants)
    change.take_along("acme")
    change.tell_lag(0)
    with pytest.raises(errors.NoGreen, match=r"change \d+ is building"):
        where(tenants)
    for phase in ("in_step", "switched"):
        change.enter(phase)
        assert where(tenants) == green_name
    change.enter("returning")
    with pytest.raises(errors.NoGreen, match="is returning"):
        where(tenants)
    change.enter("undone")
    with pytest.raises(errors.NoGreen, match="no blue-green change is under way"):
        where(tenants)


def test_after_the_switch_it_is_the_tenants_shard(
    bank: Bank, change: Change, green_name: str, deaf: None, asked_always: None
) -> None:
    """However far behind the lane may be by then, whoever has heard of it, and also when the change is over."""
    tenants = bank.tenants()
    assert where(tenants) == green_name
    change.tell_lag(None)
    switch(bank)
    change.take_along("acme", at_green=True)
    assert where(tenants) == green_name  # nobody has told this process
    heard = bank.tenants()
    assert heard.shard("acme").name == "green_0"
    assert where(heard, strict=True) == green_name
    change.enter("done")
    assert where(heard) == green_name
    bank.add("other")
    assert where(heard, "other") == bank.database("shard_0")


def test_not_every_session_asks(bank: Bank, change: Change, green_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many sessions in one second only the first asks the control database; a later change has its own answers."""
    monkeypatch.setattr(green, "LIVES", 1000.0)
    tenants = bank.tenants()
    assert where(tenants) == green_name
    change.tell_lag(100)
    change.enter("undone")
    bank.drop_catalog_sessions()
    assert {where(tenants) for _ in range(20)} == {green_name}
    monkeypatch.setattr(green, "LIVES", 0.0)
    another = Change(bank.project)
    another.tell_lag(0)
    with pytest.raises(errors.NoGreen, match=f"change {another.run} has not taken it along"):
        where(tenants)


def test_a_control_database_that_is_away_is_named(
    frail_bank: Bank, green_url: str, other_cluster: Cluster, asked_always: None
) -> None:
    """Nobody knows then how far green is behind; ordinary sessions go on."""
    with_green(frail_bank.project, green_0=green_url)
    change = Change(frail_bank.project)
    change.take_along("acme")
    change.tell_lag(0)
    tenants = frail_bank.tenants()
    assert where(tenants, max_lag="1d")
    other_cluster.stop()
    try:
        with tenants.session("acme") as session:
            assert session.scalar(NAME) == frail_bank.database("shard_0")
        with pytest.raises(errors.ControlUnavailable):
            where(tenants, max_lag="1d")
    finally:
        other_cluster.start()


def test_what_is_asked_for_must_make_sense(bank: Bank) -> None:
    """A lag without green, another colour, and what is no duration are mistakes of the caller."""
    tenants = bank.tenants()
    for options, words in (
        ({"max_lag": "1s"}, 'max_lag is for reads="green"'),
        ({"reads": "blue"}, "reads='blue' is not known"),
        ({"reads": "green", "max_lag": "soon"}, "max_lag: not a duration"),
    ):
        with pytest.raises(errors.UsageError, match=words), tenants.session("acme", **options):  # type: ignore[arg-type]
            pass


def test_the_rights_that_the_documentation_names_are_enough(bank: Bank, change: Change, green_name: str) -> None:
    """An application that may only read what it must, and place tenants, does both."""
    control = DatabaseUrl.parse(bank.project.control)
    role = f"app_{control.database}"
    for statement in (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA shardwright TO {role}",
        "GRANT SELECT ON shardwright.schema_version, shardwright.placement, shardwright.placement_history,"
        " shardwright.shard, shardwright.bluegreen, shardwright.bluegreen_tenant, shardwright.bluegreen_lane"
        f" TO {role}",
        f"GRANT INSERT ON shardwright.placement TO {role}",
    ):
        bank.project.sql("control", statement)
    try:
        owner = bank.project.control
        bank.project.control = DatabaseUrl(**{**vars(control), "user": role}).conninfo
        bank.project.write()
        bank.project.control = owner
        with bank.tenants() as tenants:
            assert where(tenants) == green_name
            assert tenants.place("new").shard in ("shard_0", "shard_1")
    finally:
        bank.project.sql("control", f"DROP OWNED BY {role}")
        bank.project.sql("control", f"DROP ROLE {role}")
