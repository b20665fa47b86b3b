"""A refusal is recognized, whichever driver brings it and whatever it is wrapped in."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from shardwright.dsn import DatabaseUrl
from shardwright.routing.known import Place
from shardwright.routing.refusal import Refusal, read_refusal

MEANT = Refusal("acme", Place("shard_2", 7))
DETAIL = '{"tenant": "acme", "shard": "shard_2", "epoch": 7}'


def refuse(detail: str, state: str = "SW001") -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'no', ERRCODE = '{state}', DETAIL = '{detail}'; END $$"


def by_psycopg(url: DatabaseUrl, statement: str) -> None:
    with psycopg.connect(url.conninfo) as connection:
        connection.execute(statement.encode())


def by_psycopg2(url: DatabaseUrl, statement: str) -> None:
    connection = psycopg2.connect(url.conninfo)
    try:
        connection.cursor().execute(statement)
    finally:
        connection.close()


def by_asyncpg(url: DatabaseUrl, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(host=url.host, user=url.user, database=url.database)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute())


def by_sqlalchemy(driver: str) -> Any:
    def execute(url: DatabaseUrl, statement: str) -> None:
        engine = create_engine(url.sqlalchemy(driver))
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    return execute


def by_async_sqlalchemy(driver: str) -> Any:
    async def execute(url: DatabaseUrl, statement: str) -> None:
        engine = create_async_engine(url.sqlalchemy(driver))
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql(statement)
        finally:
            await engine.dispose()

    return lambda url, statement: asyncio.run(execute(url, statement))


WAYS = {
    "psycopg": by_psycopg,
    "psycopg2": by_psycopg2,
    "asyncpg": by_asyncpg,
    "sqlalchemy and psycopg": by_sqlalchemy("psycopg"),
    "sqlalchemy and psycopg2": by_sqlalchemy("psycopg2"),
    "sqlalchemy and asyncpg": by_async_sqlalchemy("asyncpg"),
    "sqlalchemy and psycopg, awaited": by_async_sqlalchemy("psycopg"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_driver_brings_the_refusal_with_its_detail(way: Any, database_url: str) -> None:
    """And what is no refusal is none: another code, or an error that no server sent."""
    url = DatabaseUrl.parse(database_url)
    with pytest.raises(Exception, match="no") as refused:
        way(url, refuse(DETAIL))
    assert read_refusal(refused.value) == MEANT
    with pytest.raises(Exception, match="no") as other:
        way(url, refuse(DETAIL, state="SW003"))
    assert read_refusal(other.value) is None
    assert read_refusal(ValueError("SW001")) is None


def test_a_refusal_beneath_another_error_is_found(database_url: str) -> None:
    """What an application raises from it tells of it too; a circle of causes is no trap."""
    try:
        by_psycopg(DatabaseUrl.parse(database_url), refuse(DETAIL))
    except psycopg.Error as error:
        outer = RuntimeError("mine")
        outer.__cause__ = error
        assert read_refusal(outer) == MEANT
    circle = ValueError()
    circle.__cause__ = circle
    assert read_refusal(circle) is None


UNCLEAR = ["", "gone", "[1]", "null", '{"tenant": 3, "shard": null, "epoch": 1}', '{"shard": "b"}', '{"epoch": "x"}']


@pytest.mark.parametrize("detail", UNCLEAR)
def test_a_detail_that_says_nothing_is_still_a_refusal(detail: str, database_url: str) -> None:
    """The catalog is asked then."""
    with pytest.raises(psycopg.Error) as refused:
        by_psycopg(DatabaseUrl.parse(database_url), refuse(detail))
    assert read_refusal(refused.value) == Refusal()
