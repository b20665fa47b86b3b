"""`check --alert`: for cron, which looks once in a while and has nobody before it."""

from __future__ import annotations

import json

import pytest

from kit import MakeProject, Project


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    made = make_project(shards=2)
    made.table("r1", "notes")
    made.migrate()
    made.sql("shard_1", "ALTER TABLE notes ADD COLUMN title text")
    return made


def test_what_is_wrong_is_said_once_and_that_it_is_over(project: Project) -> None:
    """On stderr, where no receiver is named; the check's own words and code are as ever."""
    first, second = (project.cli("check", "--quick", "--alert") for _ in range(2))
    (told,) = first.stderr.splitlines()
    assert told.startswith("! drift shard_")
    assert "column public.notes.title" in told
    assert told.endswith("; try: shardwright check")
    assert (second.stderr, first.returncode, second.returncode) == ("", 1, 1)
    project.sql("shard_1", "ALTER TABLE notes DROP COLUMN title")
    third = project.cli("check", "--quick", "--alert", "--json")
    assert third.stderr.startswith("✓ over: drift shard_")
    assert json.loads(third.stdout)["well"]


def test_as_records_alerts_have_their_facts(project: Project) -> None:
    """And each is one record."""
    done = project.cli("check", "--quick", "--alert", "--log-format", "json")
    (record,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert (record["event"], record["rule"], record["status"]) == ("alert", "drift", "firing")


def test_a_part_of_the_fleet_can_not_say_what_is_over(project: Project) -> None:
    """So it is refused."""
    done = project.cli("check", "--alert", "--shards", "shard_0")
    assert (done.returncode, done.stdout) == (64, "")
    assert "--alert looks at the whole fleet" in done.stderr
