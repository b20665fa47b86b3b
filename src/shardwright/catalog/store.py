"""The catalog's tables: shard sets, shards, proofs. No other module names them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from shardwright.pg.locks import CLASS
from shardwright.pg.queries import load
from shardwright.shard import Shard

PLACING_LOCK = 4  # shared by whoever places a tenant, held alone by whoever opens or closes a shard
_PLACING = {"class": CLASS, "key": PLACING_LOCK}
_queries = load(__package__)


@dataclass(frozen=True)
class KnownShard:
    """A shard as the catalog remembers it."""

    name: str
    host: str
    database: str
    labels: dict[str, str]
    added_at: datetime
    retired_at: datetime | None


def record_shards(
    connection: psycopg.Connection[Any], shard_set: str, shards: Sequence[Shard], green: Sequence[Shard] = ()
) -> None:
    """The catalog lists exactly `shards` and `green` in the set; those it knew and that are gone are marked retired.

    A green shard that is new to it takes no new tenants. Which of those it knows take new ones stays as it was.
    """
    every = [*shards, *green]
    with connection.transaction():
        connection.execute(_queries["record_set"], {"shard_set": shard_set})
        names = [shard.name for shard in every]
        connection.execute(
            _queries["record_shards"],
            {
                "shard_set": shard_set,
                "names": names,
                "hosts": [shard.host for shard in every],
                "databases": [shard.url.database for shard in every],
                "labels": [json.dumps(dict(shard.labels)) for shard in every],
                "takes_new": [True] * len(shards) + [False] * len(green),
            },
        )
        connection.execute(_queries["retire_shards"], {"shard_set": shard_set, "names": names})


def known_shards(connection: psycopg.Connection[Any], shard_set: str) -> list[KnownShard]:
    """Every shard the set ever had, by name."""
    return [KnownShard(*row) for row in connection.execute(_queries["shards"], {"shard_set": shard_set})]


def takes_new(connection: psycopg.Connection[Any], shard_set: str) -> dict[str, bool]:
    """Of every shard that the catalog knows, whether new tenants may be placed there."""
    return dict(connection.execute(_queries["takes_new"], {"shard_set": shard_set}).fetchall())


def set_takes_new(connection: psycopg.Connection[Any], shard_set: str, names: Collection[str], value: bool) -> None:
    """New tenants may be placed on these shards, or may not any more.

    It waits for those who are placing one: once it is committed, the directory has every tenant that a closed shard
    was given. Within the caller's transaction, if there is one.
    """
    with connection.transaction():
        connection.execute(_queries["lock_closing"], _PLACING)
        values = {"shard_set": shard_set, "names": list(names), "takes_new": value}
        connection.execute(_queries["set_takes_new"], values)


def hold_open(connection: psycopg.Connection[Any], shard_set: str, name: str) -> bool | None:
    """Whether the shard takes new tenants, which stays so until the transaction's end; None where it is not known."""
    connection.execute(_queries["lock_placing"], _PLACING)
    row = connection.execute(_queries["shard_takes_new"], {"shard_set": shard_set, "name": name}).fetchone()
    return bool(row[0]) if row else None


def proof_known(connection: psycopg.Connection[Any], key: str) -> bool:
    """Whether the renderings with that key were proven."""
    return connection.execute(_queries["proof_known"], {"key": key}).fetchone() is not None


def remember_proof(connection: psycopg.Connection[Any], key: str) -> None:
    """The renderings with that key are proven."""
    connection.execute(_queries["remember_proof"], {"key": key})
