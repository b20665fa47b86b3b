"""The fleet at one moment: what is there is told, and what is away does not hide the rest."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kit import MakeProject, Project
from run_kinds import KINDS
from shardwright.catalog.changes import Change
from shardwright.catalog.control import open_control
from shardwright.monitor import picture as picture_of
from shardwright.monitor.picture import Picture, without_details
from shardwright.monitor.skew import Work
from shardwright.runs.board import Board


def test_a_picture_shows_shards_revisions_and_runs(make_project: MakeProject) -> None:
    """As people count, with the newest run first; two pictures have two numbers."""
    project = make_project(shards=11)
    project.table("r1", "notes")
    project.migrate(shards="shard_0,shard_10,shard_2")
    fleet = project.fleet()
    picture = fleet.picture()
    assert [each.shard for each in picture.vitals][:3] == ["shard_0", "shard_1", "shard_2"]
    assert picture.vitals[-1].shard == "shard_10"
    assert picture.heads == ("r1",)
    assert {each.revision: len(each.shards) for each in picture.skew} == {"base": 8, "r1": 3}
    assert [(run.kind, run.state) for run in picture.runs] == [("migrate", "finished")]
    assert (picture.open, picture.moves, picture.change, picture.control_fault) == ((), (), None, None)
    assert (picture.number, fleet.picture(picture).number) == (1, 2)
    assert picture.as_dict()["shards"][0]["revision"] == "r1"


def test_without_a_control_database_the_shards_are_shown(make_project: MakeProject) -> None:
    """And why nothing is known of runs."""
    project = make_project(shards=1)
    project.control = "postgresql://postgres@127.0.0.1:1/nobody"
    project.write()
    picture = project.fleet().picture()
    assert picture.vitals[0].is_up
    assert picture.control_fault is not None
    assert "refused" in picture.control_fault.reason
    assert picture.runs == ()


def test_a_history_that_can_not_be_read_hides_nothing_else(make_project: MakeProject) -> None:
    """Heads are not known then."""
    project = make_project(shards=1)
    (project.path / "migrations" / "versions" / "broken.py").write_text("this is no Python")
    picture = project.fleet().picture()
    assert picture.heads is None
    assert picture.vitals[0].is_up


def _with_queued_run(project: Project) -> int:
    fleet = project.fleet().resolved
    with open_control(fleet.control, application_name="test") as control:
        return Board(control, fleet.shard_set).create(KINDS[0], {})


def test_an_open_run_says_how_long_nothing_was_heard_of_it(make_project: MakeProject) -> None:
    """By the control database's clock, since its last event."""
    project = make_project(shards=1)
    run = _with_queued_run(project)
    project.sql("control", "UPDATE shardwright.run_event SET at = at - interval '10 minutes'")
    project.sql("control", "UPDATE shardwright.run SET started_at = started_at - interval '10 minutes'")
    (found,) = project.fleet().picture().open
    assert (found.run.id, found.run.state) == (run, "queued")
    assert 600 <= found.quiet < 700
    assert found.durable is not None


def test_a_picture_leaves_an_older_control_database_as_it_is(make_project: MakeProject) -> None:
    """An upgrade would stop the workers of the older version; runs are shown all the same."""
    project = make_project(shards=1)
    _with_queued_run(project)
    project.sql("control", "DROP TABLE shardwright.alert")
    project.sql("control", "DELETE FROM shardwright.schema_version WHERE version > 8")
    told = project.fleet().alert()
    assert (len(told.picture.open), told.picture.control_fault) == (1, None)
    assert project.sql("control", "SELECT max(version) FROM shardwright.schema_version") == [(8,)]


def test_what_is_kept_for_an_hour_is_without_what_is_long(make_project: MakeProject) -> None:
    """A thousand pictures of a change with a million tenants would fill the memory."""
    picture: Picture = make_project(shards=1).fleet().picture()
    kept = without_details(picture)
    assert (kept.vitals, kept.checked) == (picture.vitals, None)
    assert kept.at - picture.at == timedelta(0)


def test_a_role_that_may_not_read_alerts_sees_the_runs(make_project: MakeProject) -> None:
    """It was granted the older tables: the control database is not away for that."""
    project = make_project(shards=1)
    _with_queued_run(project)
    role = f"reader_{project.sql('control', 'SELECT current_database()')[0][0]}"
    project.sql("control", f"CREATE ROLE {role} LOGIN")
    project.sql("control", f"GRANT USAGE ON SCHEMA shardwright TO {role}")
    project.sql("control", f"GRANT SELECT ON ALL TABLES IN SCHEMA shardwright TO {role}")
    project.sql("control", f"REVOKE ALL ON shardwright.alert FROM {role}")
    owner, project.control = project.control, project.control.replace("postgres@", f"{role}@")
    project.write()
    try:
        told = project.fleet().alert()
        assert (len(told.picture.open), told.picture.control_fault, told.picture.alerts) == (1, None, ())
    finally:
        project.control = owner
        project.sql("control", f"DROP OWNED BY {role}")
        project.sql("control", f"DROP ROLE {role}")


def test_a_change_that_is_over_is_not_read_again_with_every_picture(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tenants are counted for whoever asks for it, and not for years by a watch; one that is open is shown."""
    project = make_project(shards=1)
    _with_queued_run(project)
    asked: list[str] = []
    monkeypatch.setattr(picture_of, "last_change_in", lambda *_: asked.append("asked"))
    for phase in ("done", "undone", "in_step"):
        monkeypatch.setattr(picture_of, "read_work", lambda *_, phase=phase: Work(None, Change(1, phase)))
        asked.append(phase)
        assert project.fleet().picture().change is None
    assert asked == ["done", "undone", "in_step", "asked"]
