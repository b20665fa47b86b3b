"""The document of /health/shards: whether every shard can be written to. Pure."""

from __future__ import annotations

from typing import Any

from shardwright.monitor.picture import Picture
from shardwright.monitor.vitals import Vitals

OK, UNAVAILABLE = 200, 503


def health(picture: Picture | None, *, is_late: bool = False) -> tuple[int, dict[str, Any]]:
    """The status code and the document. 503 where a shard does not answer or is a standby, where there is no picture
    yet, and where the newest one `is_late`; a control database that is away, or an alert, is `degraded`, with 200.
    """
    if picture is None:
        return UNAVAILABLE, {"status": "starting", "shards": []}
    failing = [each.shard for each in picture.vitals if not _takes_writes(each)]
    status = "late" if is_late else _status(picture, failing)
    document = {
        "status": status,
        "at": picture.at.isoformat(),
        "set": picture.shard_set,
        "environment": picture.environment,
        "failing": failing,
        "shards": [_shard(each) for each in picture.vitals],
        "skew": [each.as_dict() for each in picture.skew],
        "control": {
            "up": picture.control_fault is None,
            "error": picture.control_fault.reason if picture.control_fault else None,
        },
        "alerts": [{name: each.as_dict()[name] for name in _OF_AN_ALERT} for each in picture.alerts],
    }
    return (UNAVAILABLE if is_late or failing else OK), document


_OF_AN_ALERT = ("rule", "subject", "severity", "fact", "since")


def _takes_writes(vitals: Vitals) -> bool:
    return vitals.is_up and not vitals.in_recovery


def _status(picture: Picture, failing: list[str]) -> str:
    if failing:
        return "failing"
    return "degraded" if picture.control_fault or picture.alerts else "ok"


def _shard(vitals: Vitals) -> dict[str, Any]:
    told = vitals.as_dict()
    return {name: told[name] for name in ("shard", "host", "up", "error", "hint", "in_recovery", "seconds", "revision")}
