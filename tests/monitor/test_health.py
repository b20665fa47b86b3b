"""/health/shards: who may be sent traffic, as a load balancer and a person read it."""

from __future__ import annotations

import json

import pytest

from pictures import NOW, away, picture, vitals
from shardwright.monitor.alerts.alert import Alert
from shardwright.monitor.health import health
from shardwright.monitor.picture import Picture
from shardwright.pg.faults import Fault

ALERT = Alert("skew", "fleet", "warning", "2 revisions", "shardwright status", NOW)


@pytest.mark.parametrize(
    ("one", "code", "status"),
    [
        (picture(vitals(), vitals("shard_1")), 200, "ok"),
        (picture(vitals(), away("shard_1")), 503, "failing"),
        (picture(vitals(in_recovery=True)), 503, "failing"),
        (picture(control_fault=Fault("away")), 200, "degraded"),
        (picture(alerts=(ALERT,)), 200, "degraded"),
        (None, 503, "starting"),
    ],
)
def test_the_code_says_whether_every_shard_can_be_written_to(one: Picture | None, code: int, status: str) -> None:
    """What is wrong besides is in the document, and does not take the traffic away."""
    found, document = health(one)
    assert (found, document["status"]) == (code, status)


def test_an_old_picture_says_nothing_of_the_fleet_as_it_is() -> None:
    """503, also where all was well in it."""
    assert health(picture(), is_late=True)[0] == 503
    assert health(picture(), is_late=True)[1]["status"] == "late"


def test_the_document_names_who_is_away_and_why() -> None:
    """As JSON, with the reason and what helps."""
    document = json.loads(json.dumps(health(picture(vitals(), away("shard_1"), alerts=(ALERT,)))[1]))
    assert document["failing"] == ["shard_1"]
    assert document["shards"][1] | {"error": "connection refused", "up": False} == document["shards"][1]
    assert document["shards"][0]["revision"] == "4f2a"
    assert document["alerts"] == [
        {"rule": "skew", "subject": "fleet", "severity": "warning", "fact": "2 revisions", "since": NOW.isoformat()}
    ]
