"""A role with the grants of docs/howto/operations.md, no superuser and owner of nothing, measures."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

from kit import MakeProject
from pair import as_role
from rebalance.scales import SCHEMA, Scales, by_hand
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "operations.md"
# Whatever PostgreSQL gives everybody unasked is taken away: what the page names has to be all that is needed.
NOTHING_FOR_ALL = ("REVOKE ALL ON DATABASE {database} FROM PUBLIC", "REVOKE ALL ON SCHEMA public FROM PUBLIC")


def documented() -> list[str]:
    """The grants of the page's section."""
    section = re.search(r"\n### To measure tenants\n(.*?)\n###", PAGE.read_text(), re.DOTALL)
    assert section is not None
    return re.findall(r"^(GRANT .*? TO )shardwright;", section[1], re.MULTILINE)


def test_the_documented_grants_are_enough_and_each_is_needed(cluster: Cluster, make_project: MakeProject) -> None:
    """With them figures as counted by hand; without one of them the shard is named, and what is missing."""
    scales = Scales(make_project(1))
    shard, control = scales.project.shards["shard_0"], scales.project.control
    database = DatabaseUrl.parse(shard).database
    role = f"reader_{database}"
    scales.sql(
        "shard_0", SCHEMA, f"CREATE ROLE {role} LOGIN", *(each.format(database=database) for each in NOTHING_FOR_ALL)
    )
    scales.tenant("shard_0", 1, notes=100, tasks=10, events=10)
    owner = scales.project.fleet()
    owner.sync_tenants()
    try:
        scales.sql(
            "shard_0", f"GRANT CONNECT ON DATABASE {database} TO {role}", *(each + role for each in documented())
        )
        scales.sql("control", f"ALTER SCHEMA shardwright OWNER TO {role}")
        for (table,) in scales.sql("control", "SELECT tablename FROM pg_tables WHERE schemaname = 'shardwright'"):
            scales.sql("control", f"ALTER TABLE shardwright.{table} OWNER TO {role}")
        exact = by_hand(scales, "shard_0", 1)
        scales.project.shards["shard_0"], scales.project.control = as_role(shard, role), as_role(control, role)
        scales.write('[rebalance]\nload_query = "SELECT id, 2 FROM orgs"\n[rebalance.labels]\nregion = "region"')
        assert scales.measure().exit_code == 0
        line = scales.read()["1"]
        assert (line.rows, line.custom, line.labels) == (exact, 2.0, {"region": "eu"})
        scales.write("")
        for grant in documented():
            with psycopg.connect(shard, autocommit=True) as admin:
                admin.execute((grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM ") + role).encode())
                fault = scales.measure().faults["shard_0"]
                assert "permission denied" in fault.reason or "no table" in fault.reason, grant
                admin.execute((grant + role).encode())
    finally:
        for url in (shard, control):
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}".encode())
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
            admin.execute(f"DROP ROLE {role}".encode())


def test_a_shard_that_takes_no_writes_is_measured(make_project: MakeProject) -> None:
    """It only reads."""
    scales = Scales(make_project(1))
    scales.sql("shard_0", SCHEMA)
    scales.tenant("shard_0", 1)
    scales.fleet.sync_tenants()
    database = DatabaseUrl.parse(scales.project.shards["shard_0"]).database
    scales.sql("shard_0", f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    assert scales.measure().exit_code == 0
