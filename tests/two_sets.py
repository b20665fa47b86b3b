"""Two blue shards, and two green ones that nothing keeps from taking their place, for tests of the preflight."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from kit import Project
from pair import as_role
from shardwright.bluegreen.preflight.ground import Ground, open_ground
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.move.preflight.declare import Check
from shardwright.move.preflight.finding import Finding
from two_shards import SCHEMA

TENANTS = '[tenants]\nroot = "orgs"\nkey = "org_id"\nshared = ["plans"]\nignored = ["audit"]'
NOT_PLANS = re.sub(r"INSERT INTO plans.*?;", "", SCHEMA)


@dataclass
class Sets:
    """Both sets. `urls` are the databases of the shards and `control`; `role` is who carries the change."""

    path: Path
    urls: dict[str, str]
    cluster: Cluster
    role: str | None = None
    green: tuple[str, ...] = ("green_0", "green_1")
    lines: str = ""
    extra: str = ""
    tenants: str = TENANTS
    roles: list[str] = field(default_factory=list)

    @property
    def project(self) -> Project:
        """Its configuration as the fields say, and its history: one revision, at which all shards are."""
        urls = {name: as_role(url, self.role) if self.role else url for name, url in self.urls.items()}
        blue = {name: urls[name] for name in ("blue_0", "blue_1")}
        green = "\n".join(f'[bluegreen.shards.{name}]\nurl = "{urls[name]}"' for name in self.green)
        extra = f"{self.tenants}\n[bluegreen]\n{self.lines}\n{green}\n{self.extra}"
        made = Project(self.path, urls["control"], blue, extra=extra)
        made.write()
        if not list((self.path / "migrations" / "versions").glob("*.py")):
            made.revision("one", f"op.execute({SCHEMA!r})")
        return made

    @contextmanager
    def ground(self, **options: Any) -> Iterator[Ground]:
        """The ground of the change."""
        with open_ground(self.project.fleet().resolved, "one", **options) as ground:
            yield ground

    def find(self, check: Check[Ground], **options: Any) -> list[Finding]:
        """What one check finds; it declares the severity of each, and names itself."""
        with self.ground(**options) as ground:
            found = list(check.find(ground))
        assert {each.severity for each in found} <= set(check.severities)
        assert {each.check for each in found} <= {check.name}
        return found

    def one(self, check: Check[Ground], **options: Any) -> Finding:
        """The only thing that a check finds."""
        (finding,) = self.find(check, **options)
        return finding

    def mended(self, check: Check[Ground], **options: Any) -> list[Finding]:
        """What the check finds; by its own cures it finds nothing any more."""
        found = self.find(check, **options)
        for finding in found:
            self.mend(finding)
        assert self.find(check, **options) == []
        return found

    def mend(self, finding: Finding) -> None:
        """The finding's SQL has been run where it is meant for, as an operator would."""
        for shard in [finding.shard] if finding.shard else ["blue_0", "blue_1", *self.green]:
            self.sql(shard, finding.cure)

    def sql(self, shard: str, script: str) -> list[tuple[Any, ...]]:
        """What a script gives on one shard (or on the server: "postgres"), as a superuser, statement by statement."""
        url = self.urls.get(shard) or self.cluster.url(shard)
        with psycopg.connect(url, autocommit=True) as connection:
            rows: list[tuple[Any, ...]] = []
            for statement in script.split("; "):
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
            return rows

    def blue(self, script: str) -> None:
        """The script on both blue shards."""
        for shard in ("blue_0", "blue_1"):
            self.sql(shard, script)

    def all(self, script: str) -> None:
        """The script on every shard."""
        for shard in ("blue_0", "blue_1", "green_0", "green_1"):
            self.sql(shard, script)

    def database(self, shard: str) -> str:
        """The name of a shard's database."""
        return DatabaseUrl.parse(self.urls[shard]).database

    def drop(self, *shards: str) -> None:
        """The shards have no databases."""
        for shard in shards:
            self.sql("postgres", f"DROP DATABASE {self.database(shard)} WITH (FORCE)")

    def carrier(self) -> str:
        """From now on a role that may nothing carries the change."""
        self.role = f"carrier_{os.getpid()}_{len(self.roles)}"
        self.roles.append(self.role)
        self.sql("postgres", f"CREATE ROLE {self.role} LOGIN")
        self.sql("control", "GRANT USAGE ON SCHEMA shardwright TO PUBLIC")
        self.sql("control", "GRANT SELECT ON ALL TABLES IN SCHEMA shardwright TO PUBLIC")
        return self.role
