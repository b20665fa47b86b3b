"""Asks many shards at once, within the connection budget of each host."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shardwright.shard import Shard

T = TypeVar("T")
_AT_ONCE = 16


def ask_each(shards: Iterable[Shard], ask: Callable[[Shard], T], *, connections_per_host: int) -> dict[str, T]:
    """What `ask`, which opens one connection, gives for every shard by name; concurrently within each host's budget."""
    shards = list(shards)
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
