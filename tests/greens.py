"""A blue-green change that nobody carries: its rows in the control database, written by hand."""

from __future__ import annotations

from typing import Any

import psycopg

from kit import Project
from shardwright.catalog.control import open_control
from shardwright.catalog.store import record_shards

_RUN = """
INSERT INTO shardwright.run (kind, shard_set, plan, started_by, started_on, process)
VALUES ('bluegreen', 'main', '{}', 'test', 'here', 1) RETURNING id
"""
_LANE = """
INSERT INTO shardwright.bluegreen_lane (run, blue, green, lag_seconds, at)
VALUES (%(run)s, 'shard_0', %(green)s, %(lag)s, clock_timestamp() - make_interval(secs => %(ago)s))
ON CONFLICT (run, blue, green) DO UPDATE SET lag_seconds = excluded.lag_seconds, at = excluded.at
"""


def with_green(project: Project, **urls: str) -> None:
    """The project's file has these green shards, and its catalog too."""
    project.extra += "".join(f'\n[bluegreen.shards.{name}]\nurl = "{url}"' for name, url in urls.items())
    project.write()
    fleet = project.fleet().resolved
    with open_control(fleet.control, application_name="test") as control:
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)


class Change:
    """An open change of the set `main`; what is said of it stands there for everybody."""

    def __init__(self, project: Project, *, phase: str = "in_step") -> None:
        self._project = project
        self.run: int = self._sql(_RUN)[0][0]
        self._sql("INSERT INTO shardwright.bluegreen (run, shard_set, phase) VALUES (%s, 'main', %s)", self.run, phase)

    def take_along(self, tenant: str, *, green: str = "green_0", at_green: bool = False) -> None:
        """The tenant goes from shard_0 to that green shard, or has gone."""
        self._sql(
            "INSERT INTO shardwright.bluegreen_tenant (run, tenant, blue, green, epoch, at_green)"
            " VALUES (%s, %s, 'shard_0', %s, 1, %s)"
            " ON CONFLICT (run, tenant) DO UPDATE SET at_green = excluded.at_green",
            *(self.run, tenant, green, at_green),
        )

    def tell_lag(self, lag: float | None, *, ago: float = 0, green: str = "green_0") -> None:
        """The lane from shard_0 was so far behind, so many seconds ago."""
        with psycopg.connect(self._project.control, autocommit=True) as control:
            control.execute(_LANE, {"run": self.run, "green": green, "lag": lag, "ago": ago})

    def enter(self, phase: str) -> None:
        """The change is in that phase."""
        self._sql("UPDATE shardwright.bluegreen SET phase = %s WHERE run = %s", phase, self.run)

    def _sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._project.sql("control", statement, *values)
