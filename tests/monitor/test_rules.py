"""What counts as wrong: each rule finds its trouble, and nothing in a fleet that is well."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from pictures import NOW, REFUSED, away, config, open_run, picture, vitals
from shardwright.catalog.comparison import Comparison, Difference, Kind
from shardwright.config import Config, Rule
from shardwright.monitor.alerts.alert import Key
from shardwright.monitor.alerts.rules import RULES, judge
from shardwright.monitor.check import FleetCheck, NotDone
from shardwright.monitor.picture import Picture
from shardwright.monitor.skew import Skew
from shardwright.pg.faults import Fault
from shardwright.runs.board import WorkerSeen


def found(one: Picture, settings: Config | None = None) -> list[tuple[str, str]]:
    return list(judge(one, settings or config()).found)


def checked(**fields: Any) -> FleetCheck:
    """What a full check found, where it has looked at everything."""
    return FleetCheck(**fields)


def change(run: int, **fields: Any) -> Any:
    return SimpleNamespace(run=SimpleNamespace(id=run), lanes=(), proofs=SimpleNamespace(longest=None), **fields)


def test_every_rule_of_the_configuration_is_there_once() -> None:
    """Else `off` would name what does not exist, or miss what does; each says when it fires."""
    assert sorted(rule.name for rule in RULES) == sorted(get_args(Rule))
    assert all(rule.when for rule in RULES)


def test_nothing_is_wrong_with_a_fleet_that_is_well() -> None:
    """Also with shards that know less of themselves, and runs at work."""
    modest = vitals("shard_1", longest=None, lag=None, cache=None, tenants=None, connections=None)
    assert found(picture(vitals(), modest, open=(open_run(quiet=20),), checked=checked())) == []


def test_a_shard_that_does_not_answer_is_named_with_its_reason_and_cure() -> None:
    """As critical."""
    (alert,) = judge(picture(vitals(), away("shard_1")), config()).found.values()
    assert (alert.key, alert.severity, alert.cure) == (("shard_down", "shard_1"), "critical", REFUSED.hint)
    assert alert.fact == "shard_1 on db1:5432 does not answer: connection refused"


def test_a_standby_is_a_shard_that_is_down() -> None:
    """Nothing can be written there."""
    assert found(picture(vitals(in_recovery=True))) == [("shard_down", "shard_0")]


@pytest.mark.parametrize(("used", "expected"), [(87, []), (88, [("connections", "db1:5432")])])
def test_connections_that_are_nearly_used_up_are_told_of_the_host(used: int, expected: list[Any]) -> None:
    """Once, however many shards it has; from nine tenths on."""
    shards = [vitals(f"shard_{number}", connections=used) for number in range(3)]
    assert found(picture(*shards)) == expected


def test_a_server_without_a_connection_left_is_told_as_that() -> None:
    """Besides the shard that does not answer."""
    full = Fault("FATAL: sorry, too many clients already")
    assert found(picture(away(fault=full))) == [("shard_down", "shard_0"), ("connections", "db1:5432")]


def test_of_a_host_that_does_not_answer_nothing_is_over() -> None:
    """Its connections and its standbys are not known then."""
    judgement = judge(picture(away()), config())
    assert judgement.is_unsure(("connections", "db1:5432"))
    assert judgement.is_unsure(("replication_lag", "shard_0"))


def test_a_standby_that_is_too_far_behind_is_told() -> None:
    """By the bound of the configuration."""
    late = picture(vitals(lag=61.0))
    assert found(late) == [("replication_lag", "shard_0")]
    assert found(late, config('[alerts]\nlag = "2min"\n')) == []


def test_skew_that_nothing_explains_is_told_and_the_other_is_not() -> None:
    """A rollout in waves makes the same picture, with a reason."""
    expected = (Skew("4f2a", ("shard_0",), "rollout 12, wave 1 of 2"), Skew("1b3c", ("shard_1",), "rollout 12"))
    assert found(picture(skew=expected)) == []
    assert found(picture(skew=(*expected, Skew("0000", ("shard_2",))))) == [("skew", "fleet")]


def test_a_shard_with_another_schema_is_named_with_what_differs() -> None:
    """The table before its columns."""
    objects = [
        SimpleNamespace(kind="column", name="public.tasks.title"),
        SimpleNamespace(kind="table", name="public.notes"),
    ]
    odd = SimpleNamespace(shards=("shard_2",), revision="4f2a")
    drift = SimpleNamespace(odd=odd, usual=SimpleNamespace(shards=("shard_0", "shard_1")), objects=objects)
    seen = checked(schemas=SimpleNamespace(drifts=(drift,), unread=()))
    (alert,) = judge(picture(checked=seen), config()).found.values()
    assert alert.key == ("drift", "shard_2")
    assert alert.fact.endswith("shard_0, shard_1: table public.notes, column public.tasks.title")


def test_without_a_full_check_nothing_that_it_found_is_over() -> None:
    """Drift, tenants found twice, ids that run out: the next check will tell."""
    keys: list[Key] = [
        ("drift", "shard_2"),
        ("tenant_twice", "tenant 7"),
        ("exhaustion", "shard_0 public.tasks_id_seq"),
    ]
    failed = tuple(NotDone(part, REFUSED) for part in ("schema", "exhaustion"))
    for seen in (None, checked(parts=("references",)), checked(not_done=failed)):
        judgement = judge(picture(checked=seen), config())
        assert all(judgement.is_unsure(key) for key in keys)


def test_a_tenant_on_two_shards_is_named_with_them() -> None:
    """As critical: two places take its writes."""
    comparison = Comparison(3, twice=Kind(1, (Difference("42", "shard_0", ("shard_0", "shard_1")),)))
    seen = checked(verification=SimpleNamespace(comparison=comparison))
    (alert,) = judge(picture(checked=seen), config()).found.values()
    assert (alert.key, alert.severity) == (("tenant_twice", "tenant 42"), "critical")
    assert "shard_0, shard_1" in alert.fact


def test_what_runs_out_is_told() -> None:
    """In the words of the check."""
    near = SimpleNamespace(shard="shard_0", name="public.s", fact="sequence public.s is at 9 of 10", cure="ALTER …")
    (alert,) = judge(picture(checked=checked(exhaustion=(near,))), config()).found.values()
    assert (alert.key, alert.fact) == (("exhaustion", "shard_0 public.s"), "shard_0: sequence public.s is at 9 of 10")


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (open_run(quiet=599), None),
        (open_run(quiet=601), "has made no progress for 10 min"),
        (open_run(kind="migrate", quiet=601), None),
        (open_run(kind="migrate", quiet=2401), "has made no progress for 40 min"),
        (open_run(silent=61.0), "its worker w-1 was last heard of 61 s ago"),
        (open_run("parked", note="copy: disk full"), "is parked: copy: disk full"),
        (open_run("abandoned", note="its process ended"), "is abandoned: its process ended"),
        (open_run("queued", quiet=601, worker=None), "no worker takes runs"),
        (open_run("queued", quiet=599, worker=None), None),
        (open_run("waiting", quiet=100_000), None),
    ],
)
def test_a_run_is_stuck_when_nothing_comes_of_it(run: Any, why: str | None) -> None:
    """No progress (a rollout may wait for its longest statement), no worker, no process; one that waits is not."""
    alerts = list(judge(picture(open=(run,)), config()).found.values())
    assert [alert.key for alert in alerts] == ([("run_stuck", "run 7")] if why else [])
    assert all(why in alert.fact for alert in alerts if why)


def test_a_queue_that_workers_attend_to_is_not_stuck() -> None:
    """It waits for its place."""
    worker = WorkerSeen("w-1", "here", 1, 2, NOW, silent=1.0)
    assert found(picture(open=(open_run("queued", quiet=5000),), workers=(worker,))) == []


def test_a_change_that_is_kept_in_step_for_days_is_not_stuck() -> None:
    """Its lanes tell every second that it is at work, and its run has nothing else to tell."""
    run = open_run(kind="bluegreen", quiet=90_000)
    at_work = change(7)
    at_work.lanes = (SimpleNamespace(at=NOW - timedelta(seconds=1)),)
    assert found(picture(open=(run,), change=at_work)) == []
    at_work.lanes = (SimpleNamespace(at=NOW - timedelta(hours=1)),)
    assert found(picture(open=(run,), change=at_work)) == [("run_stuck", "run 7")]


def test_a_write_gap_over_its_budget_is_told_of_moves_and_changes() -> None:
    """At once: it has happened."""
    move = SimpleNamespace(move=SimpleNamespace(write_gap={"gap_ms": 501.0}, tenant="42"), run=SimpleNamespace(id=3))
    quick = SimpleNamespace(move=SimpleNamespace(write_gap={"gap_ms": 499.0}, tenant="43"), run=SimpleNamespace(id=4))
    of_change = change(9)
    of_change.proofs.longest = 700.0
    judgement = judge(picture(moves=(move, quick), change=of_change), config())
    assert list(judgement.found) == [("write_gap", "run 3"), ("write_gap", "run 9")]
    assert judgement.certain == set(judgement.found)


def test_a_control_database_that_is_away_is_told_and_no_run_is_over_for_it() -> None:
    """Nobody knows what runs then."""
    judgement = judge(picture(control_fault=Fault("the control database is away", "start it")), config())
    assert list(judgement.found) == [("control_away", "control")]
    assert judgement.is_unsure(("run_stuck", "run 7"))
    assert judgement.is_unsure(("write_gap", "run 7"))


def test_a_rule_that_is_off_finds_nothing() -> None:
    """Nor does it keep what it had found."""
    judgement = judge(picture(away(), checked=None), config('[alerts]\noff = ["shard_down", "drift"]\n'))
    assert judgement.found == {}
    assert not judgement.is_unsure(("drift", "shard_0"))


def test_no_alert_shows_a_password() -> None:
    """Whatever the fault was told with."""
    leaky = away(
        fault=Fault("could not connect to postgresql://ada:s3cret@db1/x", "psql postgresql://ada:s3cret@db1/x")
    )
    (alert,) = judge(picture(leaky), config()).found.values()
    assert "s3cret" not in str(alert.as_dict())
