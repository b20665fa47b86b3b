"""Two shards with a tenant that nothing stops from moving, and the questions of a preflight, for tests."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from shardwright.config import FleetConfig, parse
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.move.preflight.declare import Check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground, open_ground

SCHEMA = """
CREATE TABLE plans (code text PRIMARY KEY, price int NOT NULL);
CREATE TABLE orgs (id bigint PRIMARY KEY, slug text NOT NULL UNIQUE, plan text REFERENCES plans);
CREATE TABLE users (id uuid PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs, email text NOT NULL,
                    UNIQUE (org_id, email));
CREATE TABLE tasks (id bigserial PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs, title text,
                    owner uuid REFERENCES users);
CREATE TABLE comments (task_id bigint REFERENCES tasks, number int, body text, PRIMARY KEY (task_id, number));
CREATE TABLE audit (id int PRIMARY KEY, user_id uuid REFERENCES users);
INSERT INTO plans VALUES ('free', 0), ('team', 10);
ALTER SEQUENCE tasks_id_seq INCREMENT BY 2;
"""
ROWS = """
INSERT INTO orgs VALUES ({n}, 'org-{n}', 'free');
INSERT INTO users SELECT ('0000000{n}-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, {n}, i || '@x'
FROM generate_series(1, 3) AS i;
INSERT INTO tasks (org_id, title, owner) SELECT {n}, 'task ' || i, ('0000000{n}-0000-0000-0000-000000000001')::uuid
FROM generate_series(1, 10) AS i;
INSERT INTO comments SELECT id, 1, 'well' FROM tasks WHERE org_id = {n};
"""
_numbers = itertools.count()


@dataclass
class Shards:
    """The two shards, and the fleet they are; `role` is who the mover is."""

    urls: dict[str, str]
    cluster: Cluster
    roles: list[str] = field(default_factory=list)
    role: str | None = None
    tenants: str = 'root = "orgs"\nkey = "org_id"\nshared = ["plans"]\nignored = ["audit"]'

    def sql(self, shard: str, script: str) -> list[tuple[Any, ...]]:
        """What a script gives on one shard, as a superuser; each statement commits by itself."""
        with psycopg.connect(self.urls[shard], autocommit=True) as connection:
            rows = []
            for statement in re.split(r"(?<!\\); ", script):
                cursor = connection.execute(statement.replace("\\;", ";").encode())
                rows = cursor.fetchall() if cursor.description else []
            return rows

    def both(self, script: str) -> None:
        """The script on both shards."""
        for shard in self.urls:
            self.sql(shard, script)

    def database(self, shard: str) -> str:
        """The name of a shard's database."""
        return DatabaseUrl.parse(self.urls[shard]).database

    def replace(self, shard: str, options: str) -> None:
        """The shard is an empty database made with these options."""
        name = self.database(shard)
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name}".encode())
            admin.execute(f"CREATE DATABASE {name} {options}".encode())

    def fleet(self) -> FleetConfig:
        """The fleet, as the mover's role."""
        urls = {name: DatabaseUrl.parse(url) for name, url in self.urls.items()}
        if self.role is not None:
            urls = {name: DatabaseUrl(**{**vars(url), "user": self.role}) for name, url in urls.items()}
        lines = ["[fleet]", 'control = "postgresql://nowhere/control"', "[tenants]", self.tenants]
        for name, url in urls.items():
            lines += [f"[shards.{name}]", f'url = "{url.conninfo}"']
        config = parse("\n".join(lines), Path("shardwright.toml"))
        return FleetConfig(config, DatabaseUrl.parse("postgresql://nowhere/control"), config.shards)

    def mover(self, *grants: str) -> str:
        """From now on the mover is a fresh role that owns nothing, with these grants on both shards."""
        self.role = f"mover_{os.getpid()}_{next(_numbers)}"
        self.roles.append(self.role)
        self.sql("source", f"CREATE ROLE {self.role} LOGIN")
        for grant in grants:
            self.both(grant.format(role=self.role))
        return self.role

    @property
    def enough(self) -> list[str]:
        """The grants that a mover needs."""
        tables = "; ".join(f"ALTER TABLE {name} OWNER TO {{role}}" for name in ("orgs", "users", "tasks", "comments"))
        return [
            "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database())\\; END $$",
            f"GRANT SELECT ON plans, audit TO {{role}}; {tables}",
            "GRANT SET ON PARAMETER session_replication_role TO {role}",
        ]

    @contextmanager
    def ground(
        self, tenant: str = "1", source: str = "source", target: str = "target", *, offline: bool = False
    ) -> Iterator[Ground]:
        """The ground of a move of tenant 1."""
        fleet = self.fleet()
        shards = {shard.name: shard for shard in fleet.shards}
        with open_ground(fleet, tenant, shards[source], shards[target], offline=offline) as ground:
            yield ground

    def find(self, check: Check[Ground], tenant: str = "1", **options: Any) -> list[Finding]:
        """What one check finds; it declares the severity of each, and names itself."""
        with self.ground(tenant, **options) as ground:
            found = list(check.find(ground))
        assert {each.severity for each in found} <= set(check.severities)
        assert {each.check for each in found} <= {check.name}
        return found

    def find_one(self, check: Check[Ground], tenant: str = "1", **options: Any) -> Finding:
        """The only thing that a check finds."""
        (finding,) = self.find(check, tenant, **options)
        return finding

    def mend(self, finding: Finding) -> None:
        """The finding's SQL has been run where it is meant for, as an operator would."""
        for shard in [finding.shard] if finding.shard else self.urls:
            self.sql(shard, finding.cure)
