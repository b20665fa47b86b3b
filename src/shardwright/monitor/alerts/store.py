"""The control database's table of alerts: what several processes find is told once. No other module names it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import psycopg

from shardwright.monitor.alerts.alert import Alert, Key
from shardwright.monitor.alerts.memory import LEASE, Line
from shardwright.pg.queries import load

SINCE = 9  # the file of the control schema that made the table
_queries = load(__package__, "store.sql")


class AlertStore:
    """The alerts of one shard set, over a connection to the control database in autocommit."""

    def __init__(self, connection: psycopg.Connection[Any], shard_set: str) -> None:
        self._connection = connection
        self._shard_set = shard_set

    def firing(self) -> dict[Key, Alert]:
        """As `Memory` says."""
        rows = self._connection.execute(_queries["firing"], {"shard_set": self._shard_set})
        return {alert.key: alert for alert in (Alert(*row) for row in rows)}

    def over(self) -> list[Alert]:
        """Those that were over in the last seven days, fifty at most, the last first."""
        return [Alert(*row) for row in self._connection.execute(_queries["over"], {"shard_set": self._shard_set})]

    def begin(self, alerts: Iterable[Alert], told: Mapping[str, str] | None = None) -> None:
        """As `Memory` says."""
        self._each("begin", alerts, told)

    def resolve(self, alerts: Iterable[Alert], told: Mapping[str, str] | None = None) -> None:
        """As `Memory` says."""
        self._each("resolve", alerts, told)

    def claim(self, receivers: Collection[str]) -> list[Line]:
        """As `Memory` says; what has been over for a day is let be."""
        values = {"shard_set": self._shard_set, "receivers": list(receivers), "lease": LEASE}
        rows = self._connection.execute(_queries["claim"], values).fetchall()
        return sorted((Line(row[0], Alert(*row[2:]), row[1]) for row in rows), key=lambda line: line.id)

    def owes(self, receivers: Collection[str]) -> bool:
        """As `Memory` says."""
        values = {"shard_set": self._shard_set, "receivers": list(receivers)}
        row = self._connection.execute(_queries["owed"], values).fetchone()
        return bool(row and row[0])

    def heard(self, lines: Collection[Line], receiver: str) -> None:
        """As `Memory` says."""
        for status in ("firing", "resolved"):
            if ids := [line.id for line in lines if line.alert.status == status]:
                self._connection.execute(_queries["told"], {"ids": ids, "told": json.dumps({receiver: status})})

    def failed(self, lines: Collection[Line]) -> None:
        """As `Memory` says."""
        self._connection.execute(_queries["failed"], {"ids": [line.id for line in lines]})

    def _each(self, query: str, alerts: Iterable[Alert], told: Mapping[str, str] | None) -> None:
        with self._connection.transaction():
            for alert in alerts:
                values = {**asdict(alert), "shard_set": self._shard_set, "told": json.dumps(dict(told or {}))}
                self._connection.execute(_queries[query], values)
