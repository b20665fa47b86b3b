"""Asks many shards at once, within the connection budget of each host."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg

from shardwright.shard import Shard

T = TypeVar("T")
_AT_ONCE = 16


def ask_each(
    shards: Iterable[Shard],
    ask: Callable[[Shard], T],
    *,
    connections_per_host: int,
    failed: Callable[[Shard, psycopg.Error], T] | None = None,
) -> dict[str, T]:
    """What `ask`, which opens one connection, gives for every shard by name; concurrently within each host's budget.

    `failed`: what an error of PostgreSQL is as an answer. Once a host has not answered at all, its other shards, which
    would be waited for one after the other, are not asked: the error is theirs too. Without it errors are raised.
    """
    shards = list(shards)
    ask = _forgiving(ask, failed) if failed else ask
    places: Mapping[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(connections_per_host))
    for shard in shards:
        places[shard.host]  # made here, in one thread

    def ask_in_turn(shard: Shard) -> T:
        with places[shard.host]:
            return ask(shard)

    if not shards:
        return {}
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(shards)), thread_name_prefix="survey") as pool:
        return {shard.name: answer for shard, answer in zip(shards, pool.map(ask_in_turn, shards), strict=True)}


def _forgiving(ask: Callable[[Shard], T], failed: Callable[[Shard, psycopg.Error], T]) -> Callable[[Shard], T]:
    silent: dict[str, psycopg.Error] = {}

    def asked(shard: Shard) -> T:
        if shard.host in silent:
            return failed(shard, silent[shard.host])
        try:
            return ask(shard)
        except psycopg.Error as error:
            if isinstance(error, psycopg.errors.ConnectionTimeout):
                silent[shard.host] = error
            return failed(shard, error)

    return asked
