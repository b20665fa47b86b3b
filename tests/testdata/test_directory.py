"""Whoever makes or empties the databases of a fleet here leaves its directory as the shards are."""

from __future__ import annotations

from kit import MakeProject, Project

SEED = """
from sqlalchemy import text

def seed(session, shard):
    session.execute(text("INSERT INTO org VALUES (:id) ON CONFLICT DO NOTHING"), {"id": WHO[shard.name]})

WHO = {"shard_0": "acme", "shard_1": "birch"}
"""


def make(make_project: MakeProject) -> Project:
    """Two shards with a tenant each, once they are seeded."""
    project = make_project(shards=2, extra='seed = "app_seeds:seed"\n[tenants]\nroot = "org"\nkey = "org_id"')
    project.revision("r1", 'op.execute("CREATE TABLE org (id text PRIMARY KEY)")')
    (project.path / "app_seeds.py").write_text(SEED)
    return project


def placements(project: Project) -> dict[str, str]:
    return {each.tenant: each.shard for each in project.fleet().tenants()}


def test_after_dev_up_every_tenant_is_known_and_the_fleet_is_well(make_project: MakeProject) -> None:
    """No `tenants sync` stands between `dev up` and a `check` that has nothing to say; repeated, it adds nobody."""
    project = make(make_project)
    made = project.fleet().dev_up()
    assert made.directory is not None
    assert (made.exit_code, made.directory.added) == (0, 2)
    assert placements(project) == {"acme": "shard_0", "birch": "shard_1"}
    assert project.fleet().check().exit_code == 0
    again = project.cli("dev", "up", "--quiet")
    assert "directory: 0 added, 2 tenants as before" in again.stdout


def test_after_reset_the_directory_knows_nobody_who_is_gone(make_project: MakeProject) -> None:
    """Who was on the shard is forgotten, or found where the seed has put it; the tenants of other shards stay,
    those without a row too: theirs may be still to come."""
    project = make(make_project)
    project.fleet().dev_up()
    project.fleet().add_tenant("cedar", shard="shard_1")
    project.fleet().add_tenant("dogwood", shard="shard_0")
    (project.path / "app_seeds.py").write_text(SEED.replace('"acme"', '"elm"'))
    project.sql("shard_1", "INSERT INTO org VALUES ('acme')")
    done = project.fleet().reset(shards="shard_0", seed=True)
    assert (done.exit_code, done.directory and done.directory.forgotten) == (0, 1)
    assert placements(project) == {"acme": "shard_1", "birch": "shard_1", "cedar": "shard_1", "elm": "shard_0"}
    assert project.fleet().reset().exit_code == 0
    assert placements(project) == {}


def test_a_tenant_on_two_shards_is_told_and_the_command_has_done_its_work(make_project: MakeProject) -> None:
    """A seed that fills every shard alike is for `check` to judge: the databases are there."""
    project = make(make_project)
    (project.path / "app_seeds.py").write_text(SEED.replace('"birch"', '"acme"'))
    done = project.cli("dev", "up")
    assert done.returncode == 0
    assert "✗ acme: on shard_0 and shard_1, not in the directory; try: take it from all shards but one" in done.stdout
    assert project.fleet().check().exit_code == 1


def test_a_fleet_without_tenants_has_no_directory_to_keep(make_project: MakeProject) -> None:
    """Nothing is said of it."""
    project = make_project(shards=1)
    project.table("r1", "a")
    assert project.fleet().dev_up().directory is None
    assert "directory" not in project.cli("reset", "--yes").stdout
