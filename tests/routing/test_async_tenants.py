"""`AsyncTenants`: the same promises, awaited, with both drivers; and the loop is never held up."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from bank import Bank
from kit import until
from shardwright import AsyncTenants, errors
from shardwright.embedded import Cluster

ENTER = text("INSERT INTO entries VALUES (:account, :effect)")
ADD = text("UPDATE accounts SET balance = balance + 1 WHERE id = :account")
DRIVERS = ("psycopg", "asyncpg")


async def enter(session: AsyncSession, effect: str, account: str = "acme") -> str:
    await session.execute(ENTER, {"account": account, "effect": effect})
    await session.execute(ADD, {"account": account})
    return effect


async def where(session: AsyncSession) -> str:
    return str(await session.scalar(text("SELECT current_database()")))


def using(bank: Bank, story: Callable[[AsyncTenants], Awaitable[None]], **options: Any) -> None:
    """`story` told with AsyncTenants in a loop of its own."""

    async def tell() -> None:
        async with bank.awaited(**options) as tenants:
            await story(tenants)

    asyncio.run(tell())


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_call_of_run_fails_and_each_effect_is_there_once(driver: str, bank: Bank) -> None:
    """Over many switches under traffic of many tasks: with a hint, without one, and taken back."""
    bank.with_driver(driver)
    fences, done = bank.fences("acme"), list[str]()

    def flip() -> str:
        for number in range(20):
            before = len(done)
            shard = fences.switch(detail=number % 3 != 1, aborted=number % 5 == 4)
            until(lambda before=before: len(done) >= before + 3)  # type: ignore[misc]
        return shard

    async def story(tenants: AsyncTenants) -> None:
        flipping = asyncio.create_task(asyncio.to_thread(flip))

        async def work(worker: int) -> None:
            number = 0
            while not flipping.done():
                done.append(await tenants.run("acme", enter, f"{worker}-{number}"))
                number += 1

        await asyncio.gather(*(work(worker) for worker in range(8)))
        shards.append(await flipping)

    shards: list[str] = []
    using(bank, story)
    assert bank.entries(shards[0]) == sorted(done)
    assert bank.balance(shards[0]) == len(done) == len(set(done))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_refusal_wherever_it_surfaces_is_followed(driver: str, bank: Bank, deaf: None) -> None:
    """At COMMIT, and where the function swallows it."""
    bank.with_driver(driver)
    fences = bank.fences("acme", deferred=True)

    async def swallow(session: AsyncSession) -> str:
        await enter(session, "swallowed")
        try:
            await session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        except DBAPIError:
            return "never mind"
        return "done"

    async def story(tenants: AsyncTenants) -> None:
        await tenants.run("acme", enter, "before")
        await asyncio.to_thread(fences.switch)
        await tenants.run("acme", enter, "after")
        await asyncio.to_thread(fences.switch)
        assert await tenants.run("acme", swallow) == "done"

    using(bank, story)
    assert bank.entries("shard_0") == ["after", "before", "swallowed"]


def test_the_loop_goes_on_while_a_call_waits(bank: Bank) -> None:
    """For a tenant that moves, as long as the call has patience; its own errors come at once."""
    fences = bank.fences("acme")
    fences.close_fence("shard_0", "shard_1", 2)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async def fail(_: AsyncSession) -> None:
        raise LookupError("mine")

    async def story(tenants: AsyncTenants) -> None:
        ticking = asyncio.create_task(tick())
        with pytest.raises(errors.TenantIsMoving):
            await tenants.run("acme", enter, "never")
        ticking.cancel()
        with pytest.raises(LookupError, match="mine"):
            await tenants.run("acme", fail)

    using(bank, story, patience="300ms")
    assert ticks > 100


@pytest.mark.parametrize("driver", DRIVERS)
def test_sessions_connections_and_new_tenants(driver: str, bank: Bank, deaf: None) -> None:
    """Each method is there and does what that of Tenants does; a strict session is where the tenant is."""
    bank.with_driver(driver)
    fences, new = bank.fences("acme"), uuid.uuid4()

    async def story(tenants: AsyncTenants) -> None:
        async with tenants.session("acme") as session:
            account = await session.get_one(bank.account, "acme")
            await enter(session, "kept")
            await session.commit()
            assert account.balance == 0
        await asyncio.to_thread(fences.switch)
        async with tenants.session("acme") as session:
            assert await where(session) == bank.database("shard_0")
        async with tenants.session("acme", strict=True) as session:
            assert await where(session) == bank.database("shard_1")
        async with tenants.connection("acme") as connection:
            assert await connection.scalar(text("SELECT effect FROM entries")) == "kept"
        assert (await tenants.shard("acme")).name == "shard_1"
        async with (await tenants.engine("acme")).connect() as connection:
            assert await connection.scalar(text("SELECT effect FROM entries")) == "kept"
        assert (await tenants.place(new)).shard == "shard_0"
        await tenants.run(new, enter, "first", str(new))
        with pytest.raises(errors.NoSuchTenant):
            await tenants.shard("nobody")

    using(bank, story)


def test_a_refusal_in_a_session_leads_the_next_one_right(bank: Bank, deaf: None) -> None:
    """Also where the catalog can't be heard."""
    fences = bank.fences("acme")

    async def story(tenants: AsyncTenants) -> None:
        await tenants.run("acme", where)
        await asyncio.to_thread(fences.switch)
        with pytest.raises(DBAPIError, match="'acme' is not written"):
            async with tenants.session("acme") as session:
                await enter(session, "refused")
        async with tenants.connection("acme") as connection:
            assert await connection.scalar(text("SELECT current_database()")) == bank.database("shard_1")

    using(bank, story)


def test_a_hint_is_followed_while_the_control_database_is_away(frail_bank: Bank, other_cluster: Cluster) -> None:
    """What is known goes on being used, and nobody waits for it."""
    fences = frail_bank.fences("acme")

    async def story(tenants: AsyncTenants) -> None:
        await tenants.run("acme", enter, "before")
        await asyncio.to_thread(fences.switch)
        fences.close()
        await asyncio.to_thread(other_cluster.stop)
        for number in range(3):
            await tenants.run("acme", enter, f"during {number}")
        with pytest.raises(errors.ControlUnavailable):
            await tenants.shard("unknown")

    using(frail_bank, story)
    assert frail_bank.entries("shard_1") == ["before", "during 0", "during 1", "during 2"]
