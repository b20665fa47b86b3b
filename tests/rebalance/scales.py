"""A small fleet whose tenants are weighed, for tests: what each has is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kit import Project
from shardwright.catalog.control import open_control
from shardwright.fleet import Fleet
from shardwright.rebalance.load import Measurement, measure
from shardwright.rebalance.load_store import Loads, Measured, MeasuredShard

SCHEMA = """
CREATE TABLE plans (code text PRIMARY KEY);
CREATE TABLE orgs (id bigint PRIMARY KEY, region text, name text);
CREATE TABLE projects (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs);
CREATE TABLE tasks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project bigint NOT NULL REFERENCES projects ON DELETE CASCADE, title text);
CREATE TABLE notes (id bigint PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs, body text);
CREATE TABLE events (org_id bigint NOT NULL REFERENCES orgs, at integer, note text) PARTITION BY RANGE (at);
CREATE TABLE events_early PARTITION OF events FOR VALUES FROM (0) TO (50);
CREATE TABLE events_late PARTITION OF events FOR VALUES FROM (50) TO (100);
CREATE INDEX ON tasks (project);
"""
TENANTS = '[tenants]\nroot = "orgs"\nkey = "org_id"\nshared = ["plans"]'
LONG_AGO = 1_000_000.0  # seconds: what a test itself takes does not count beside them


class Scales:
    """A project of shards with SCHEMA, and what is measured of it."""

    def __init__(self, project: Project, extra: str = "") -> None:
        self.project = project
        self.write(extra)

    def write(self, extra: str) -> None:
        """shardwright.toml has these lines besides."""
        self.project.extra = f"{TENANTS}\n{extra}"
        self.project.write()

    @property
    def fleet(self) -> Fleet:
        return self.project.fleet()

    def sql(self, shard: str, *statements: str) -> list[tuple[Any, ...]]:
        """What the last of them gives."""
        for statement in statements:
            found = self.project.sql(shard, statement)
        return found

    def tenant(self, shard: str, tenant: int, *, notes: int = 0, tasks: int = 0, events: int = 0) -> None:
        """He is there, with so many rows in each table."""
        self.sql(
            shard,
            f"INSERT INTO orgs VALUES ({tenant}, 'eu', 'org {tenant}')",
            f"INSERT INTO projects (org_id) VALUES ({tenant}), ({tenant})",
            f"INSERT INTO notes SELECT {tenant} * 1000000 + g, {tenant}, repeat('x', 50) "
            f"FROM generate_series(1, {notes}) AS g",
            f"INSERT INTO tasks (project, title) SELECT CASE g % 2 WHEN 0 THEN first ELSE last END, 'task' "
            f"FROM (SELECT min(id), max(id) FROM projects WHERE org_id = {tenant}) AS p (first, last), "
            f"generate_series(1, {tasks}) AS g",
            f"INSERT INTO events SELECT {tenant}, g % 100, 'note' FROM generate_series(1, {events}) AS g",
        )

    def measure(self, **options: Any) -> Measurement:
        """All shards, now."""
        return measure(self.fleet.resolved, **options)

    def read(self) -> dict[str, Measured]:
        """What is written of each tenant."""
        with open_control(self.fleet.resolved.control, application_name="test") as control:
            return Loads(control, "main").tenants()

    def shards(self) -> dict[str, MeasuredShard]:
        """What is written of each shard."""
        with open_control(self.fleet.resolved.control, application_name="test") as control:
            return Loads(control, "main").shards()

    def backdate(self, seconds: float = LONG_AGO) -> None:
        """The last measurement was so much longer ago."""
        before = f"interval '{seconds} s'"
        self.sql(
            "control",
            f"""UPDATE shardwright.load_shard SET measured_at = measured_at - {before},
                counted_at = counted_at - {before}, counted_from = counted_from - {before}""",
        )

    def written(self) -> dict[str, int | None]:
        """Rows that each tenant has written since a measurement that was backdated."""
        return {
            tenant: None if each.writes is None else round(each.writes * LONG_AGO)
            for tenant, each in self.read().items()
        }


def by_hand(scales: Scales, shard: str, tenant: int) -> int:
    """His rows on that shard, counted table by table."""
    counts: Iterable[str] = (
        f"SELECT count(*) FROM orgs WHERE id = {tenant}",
        *(f"SELECT count(*) FROM {table} WHERE org_id = {tenant}" for table in ("projects", "notes", "events")),
        f"SELECT count(*) FROM tasks JOIN projects AS p ON p.id = project WHERE org_id = {tenant}",
    )
    return sum(scales.sql(shard, count)[0][0] for count in counts)
