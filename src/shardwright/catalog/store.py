"""The catalog's tables: shard sets, shards, proofs. No other module names them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from shardwright.pg.queries import load
from shardwright.shard import Shard

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


def record_shards(connection: psycopg.Connection[Any], shard_set: str, shards: Sequence[Shard]) -> None:
    """The catalog lists exactly `shards` in the set; those it knew and that are gone are marked retired."""
    with connection.transaction():
        connection.execute(_queries["record_set"], {"shard_set": shard_set})
        names = [shard.name for shard in shards]
        connection.execute(
            _queries["record_shards"],
            {
                "shard_set": shard_set,
                "names": names,
                "hosts": [shard.host for shard in shards],
                "databases": [shard.url.database for shard in shards],
                "labels": [json.dumps(dict(shard.labels)) for shard in shards],
            },
        )
        connection.execute(_queries["retire_shards"], {"shard_set": shard_set, "names": names})


def known_shards(connection: psycopg.Connection[Any], shard_set: str) -> list[KnownShard]:
    """Every shard the set ever had, by name."""
    return [KnownShard(*row) for row in connection.execute(_queries["shards"], {"shard_set": shard_set})]


def proof_known(connection: psycopg.Connection[Any], key: str) -> bool:
    """Whether the renderings with that key were proven."""
    return connection.execute(_queries["proof_known"], {"key": key}).fetchone() is not None


def remember_proof(connection: psycopg.Connection[Any], key: str) -> None:
    """The renderings with that key are proven."""
    connection.execute(_queries["remember_proof"], {"key": key})
