"""What runs do, as log records with facts (`run`, `shard`, `tenant`, `step`), for whoever configures logging."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from shardwright.dsn import redact
from shardwright.runs.events import Event, RunFinished, RunStarted, ShardFinished, ShardWaiting, Stopping, Warned
from shardwright.runs.results import ShardResult

_logger = logging.getLogger("shardwright.runs")
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")


def log(event: str, *, level: int = logging.INFO, **facts: Any) -> None:
    """One record; facts that are None are left out, and no text shows a secret."""
    if _logger.isEnabledFor(level):
        _logger.log(level, redact(event), extra={name: _told(fact) for name, fact in facts.items() if fact is not None})


def logging_listener(kind: str) -> Callable[[Event], None]:
    """A listener that logs everything that happens in one rollout, rollback, seeding or reset."""
    run: int | None = None

    def listen(event: Event) -> None:
        nonlocal run
        if isinstance(event, RunStarted):
            run = event.run
        if _logger.isEnabledFor(level := _level(event)):
            name = _WORDS.sub(" ", type(event).__name__).lower()
            log(name, level=level, **{"kind": kind, "run": run, **_facts(event)})

    return listen


def _facts(event: Event) -> Mapping[str, Any]:
    match event:
        case ShardFinished(result):
            return _of_shard(result)
        case RunFinished(result):
            counts = {str(status): count for status, count in result.summary.items()}
            return {"run": result.run, "target": result.target, "summary": counts, "stopped": result.stopped}
    return {_RENAMED.get(each.name, each.name): getattr(event, each.name) for each in fields(event)}


_RENAMED = {"message": "text"}  # a record has a message of its own


def _of_shard(result: ShardResult) -> Mapping[str, Any]:
    return {name: value for name, value in result.as_dict().items() if value not in (None, "")}


def _level(event: Event) -> int:
    if isinstance(event, ShardFinished) and event.result.has_failed:
        return logging.ERROR
    return logging.WARNING if isinstance(event, Warned | ShardWaiting | Stopping) else logging.INFO


def _told(fact: Any) -> Any:
    return redact(fact) if isinstance(fact, str) else fact
