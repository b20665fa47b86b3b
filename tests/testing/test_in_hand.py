"""What a test has in hand: tenants, moves, shards that are down, snapshots; and what the kit refuses."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from kit import MakeProject, Project
from shardwright import Tenants, errors
from shardwright.config import load
from shardwright.embedded import Cluster
from shardwright.testing import TestFleet, snapshot
from small_project import write_project

SETTLED = {"control": "untouched", "shard_0": "untouched", "shard_1": "untouched"}


def seed(session: Session, org: uuid.UUID) -> None:
    session.execute(text("INSERT INTO org VALUES (:id, 'free', 'theirs')"), {"id": org})
    session.execute(text("INSERT INTO task (org_id, title) VALUES (:id, 'first')"), {"id": org})


def titles(kit: TestFleet, shard: str) -> list[Any]:
    with kit.engine(shard).connect() as connection:
        return list(connection.execute(text("SELECT title FROM task ORDER BY 1")).scalars())


def test_a_tenant_is_made_with_its_rows_on_the_shard_that_was_asked_for(kit: TestFleet) -> None:
    """Its id is of the type of the root table's key, and one that no test has had."""
    one, two = (kit.add_tenant(shard="shard_1", seed=seed) for _ in range(2))
    assert isinstance(one, uuid.UUID)
    assert one != two
    assert kit.fleet.locate(str(one)).shard == "shard_1"
    assert titles(kit, "shard_1") == ["first", "first"]


def test_a_tenant_is_truly_moved_and_nothing_of_that_is_left(kit: TestFleet) -> None:
    """The application's rows are on the other shard; afterwards both shards and the ledger are as before."""
    org = kit.add_tenant(shard="shard_0", seed=seed)
    assert kit.move(org, "shard_1").move.phase == "switched"
    with kit.tenants.session(org) as session:
        assert session.scalar(text("SELECT title FROM task")) == "first"
    assert kit.tenants.shard(org).name == "shard_1"
    kit.clean_all()
    assert titles(kit, "shard_0") == titles(kit, "shard_1") == []
    assert kit.fleet.moves() == []
    assert [run.kind for run in kit.fleet.runs()] == ["migrate"]
    assert kit.clean_all().ways == SETTLED


def test_a_frozen_shard_refuses_and_is_back_after_the_block(kit: TestFleet) -> None:
    """Sessions that are connected are ended, new ones refused; the other shard is as always."""
    titles(kit, "shard_0")
    with kit.freeze_shard("shard_0"):
        with pytest.raises(OperationalError, match="not currently accepting"):
            titles(kit, "shard_0")
        with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
            kit.connect("shard_0")
        assert titles(kit, "shard_1") == []
    assert titles(kit, "shard_0") == []


def test_a_shard_that_a_failing_test_has_frozen_is_back(kit: TestFleet) -> None:
    """Whatever ends the block."""
    with pytest.raises(ZeroDivisionError), kit.freeze_shard("shard_0"):
        raise ZeroDivisionError
    assert kit.clean_all().ways["shard_0"] == "untouched"


def test_snapshots_are_restored_in_any_order(kit: TestFleet) -> None:
    """A state that several tests begin with is made once; the state before it is not lost."""
    org = kit.add_tenant(shard="shard_0", seed=seed)
    with kit.snapshot() as taken:
        for _ in range(2):
            with kit.connect("shard_0") as connection:
                connection.execute("UPDATE task SET title = 'other'")
                connection.execute("DELETE FROM plan WHERE code = 'paid'")
            kit.restore(taken)
            assert titles(kit, "shard_0") == ["first"]
            assert kit.tenants.shard(org).name == "shard_0"
            kit.clean_all()
            assert titles(kit, "shard_0") == []
        kit.restore(taken)
        assert titles(kit, "shard_0") == ["first"]


def test_rows_of_another_snapshot_are_not_taken_for_those_that_were_there(kit: TestFleet) -> None:
    """Though they are as many, and older than what the first one was last compared by."""
    prices = text("SELECT price FROM plan ORDER BY code")

    def run(statement: str) -> None:
        with kit.connect("shard_0") as connection:
            connection.execute(statement.encode())

    run("UPDATE plan SET price = 50")
    with kit.snapshot() as taken:
        kit.clean_all()
        run("UPDATE plan SET price = 60")
        kit.clean_all()
        run("CREATE TABLE more ()")
        kit.restore(taken)
        with kit.engine("shard_0").connect() as connection:
            assert list(connection.scalars(prices)) == [50, 50]
        kit.clean_all()
        with kit.engine("shard_0").connect() as connection:
            assert list(connection.scalars(prices)) == [0, 10]


def test_the_next_value_of_each_sequence_is_written_to_the_log(kit: TestFleet) -> None:
    """Else a test that only draws from one could not be told from a test that does nothing."""
    with kit.connect("shard_0") as connection:
        connection.execute("SELECT nextval('ticket')")
    with kit.snapshot(), kit.engine("shard_0").connect() as connection:
        assert connection.scalar(text("SELECT log_cnt FROM ticket")) == 0


def test_the_file_of_production_needs_no_variable_and_none_of_its_servers(kit: TestFleet) -> None:
    """What is left of it is what tests are about; an application that looks for its own file finds the test's."""
    assert kit.config.fleet.environment == "test"
    assert dict(kit.fleet.resolved.shards[0].labels) == {"region": "eu"}
    assert kit.config.alerts.webhook is None
    org = kit.add_tenant(shard="shard_1")
    with Tenants.from_config(kit.config_file) as tenants:
        assert tenants.shard(org).name == "shard_1"


def test_an_application_of_its_own_forgets_too(kit: TestFleet) -> None:
    """Tenants that the application has made, not the kit, know no tenant of the test before."""
    org = uuid.uuid4()
    with Tenants(load(kit.config_file)) as tenants:
        for shard in ("shard_1", "shard_0"):
            kit.add_tenant(org, shard=shard)
            assert tenants.shard(org).name == shard
            kit.clean_all()
        with pytest.raises(errors.NoSuchTenant):
            tenants.shard(org)


def test_no_snapshot_is_taken_of_a_fleet_that_is_not_marked(make_project: MakeProject) -> None:
    """Restoring it would delete rows; the refusal comes before the first connection."""
    project: Project = make_project(1, environment="production")
    with pytest.raises(errors.NotDisposable):
        snapshot(project.fleet())


def test_no_fleet_of_tests_is_made_on_a_server_of_production(tmp_path: Path) -> None:
    """A URL that was copied from the wrong place is refused before the first connection."""
    (tmp_path / "shardwright.toml").write_text(
        '[fleet]\ncontrol = "postgresql://c/control"\n[shards.a]\nurl = "postgresql://app@db.example:5433/a"\n'
    )
    with pytest.raises(errors.NotDisposable, match=r"db\.example:5433"):
        TestFleet(tmp_path / "shardwright.toml", servers=["postgresql://postgres@db.example:5433/postgres"])


def test_a_fleet_that_cant_be_migrated_says_which_shard_and_why(
    made: TestFleet, make_database: Any, tmp_path: Path
) -> None:
    """And leaves no database behind."""
    (tmp_path / "m" / "versions").mkdir(parents=True)
    (tmp_path / "m" / "env.py").write_text((made.config.migrations / "env.py").read_text())
    broken = 'from alembic import op\nrevision, down_revision = "a", None\ndef upgrade():\n    op.execute("SELEC")\n'
    (tmp_path / "m" / "versions" / "a.py").write_text(broken)
    (tmp_path / "shardwright.toml").write_text('[fleet]\ncontrol = "embedded"\nmigrations = "m"\n')
    server = make_database()
    count = "SELECT count(*) FROM pg_database"
    with psycopg.connect(server) as connection:
        before = connection.execute(count).fetchone()
        with pytest.raises(errors.TestFleetNotMade, match=r"shard_0.*SELEC"):
            TestFleet(tmp_path / "shardwright.toml", servers=[server])
        assert connection.execute(count).fetchone() == before


SEEDS = """
from sqlalchemy import text

def seed(session, shard):
    session.execute(text("INSERT INTO org VALUES (gen_random_uuid(), 'free', :name)"), {"name": shard.name})
"""


def test_a_seeded_fleet_has_its_rows_again_after_each_test(cluster: Cluster, tmp_path: Path) -> None:
    """Each shard its own, and the tenants are in the directory; also where a test has emptied the table."""
    file = write_project(tmp_path, 'seed = "app_seeds:seed"')
    (tmp_path / "app_seeds.py").write_text(SEEDS)
    with TestFleet(file, seed=True, servers=[cluster.url("postgres")]) as fleet:
        known = {each.tenant: each.shard for each in fleet.fleet.tenants()}
        assert sorted(known.values()) == ["shard_0", "shard_1"]
        for statement in ("DELETE FROM org", "UPDATE org SET name = 'other'", "TRUNCATE org CASCADE"):
            for shard in fleet.shards:
                with fleet.connect(shard) as connection:
                    connection.execute(statement.encode())
            fleet.add_tenant(shard="shard_0", seed=seed)
            fleet.clean_all()
            for shard in fleet.shards:
                with fleet.engine(shard).connect() as connection:
                    assert list(connection.scalars(text("SELECT name FROM org"))) == [shard]
            assert {each.tenant: each.shard for each in fleet.fleet.tenants()} == known


def test_with_several_servers_a_move_crosses_and_all_of_them_are_cleaned(tmp_path: Path) -> None:
    """Shards go to the servers in turn; databases that are made anew come from their own server's template."""
    with TestFleet(write_project(tmp_path), shards=3, clusters=2) as fleet:
        addresses = [shard.url.address for shard in fleet.fleet.resolved.shards]
        assert addresses[0] == addresses[2] != addresses[1]
        org = fleet.add_tenant(shard="shard_0", seed=seed)
        assert fleet.move(org, "shard_1").move.phase == "switched"
        assert titles(fleet, "shard_1") == ["first"]
        with fleet.connect("shard_2") as connection:
            connection.execute("INSERT INTO plan (code) VALUES ('new')")
        ways = fleet.clean_all().ways
        assert (ways["shard_0"], ways["shard_1"], ways["shard_2"]) == ("copied", "copied", "emptied")
        assert [titles(fleet, shard) for shard in fleet.shards] == [[], [], []]
        assert set(fleet.clean_all().ways.values()) == {"untouched"}
