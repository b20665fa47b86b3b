"""Reads from an error, of whatever driver, that a shard has refused the write of a tenant that is not there. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shardwright.pg.faults import sqlstate
from shardwright.routing.known import Place

REFUSED = "SW001"


@dataclass(frozen=True)
class Refusal:
    """A write was refused; where the fence said so, of whom, and where that tenant is."""

    tenant: str | None = None
    gone_to: Place | None = None


def read_refusal(error: BaseException) -> Refusal | None:
    """The refusal that `error`, or what it was raised from, tells of; None where it is something else."""
    refusals = [each for each in _causes(error) if sqlstate(each) == REFUSED]
    return _parse(next(filter(None, map(_detail, refusals)), None)) if refusals else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, SQLAlchemy's `orig` beneath it, and what was given with `raise … from`."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += [each.__cause__, getattr(each, "orig", None)]


def _detail(error: BaseException) -> str | None:
    found = (getattr(getattr(error, "diag", None), "message_detail", None), getattr(error, "detail", None))
    return next((each for each in found if isinstance(each, str)), None)


def _parse(detail: str | None) -> Refusal:
    """What the fence has said; a word it does not know how to read is none."""
    try:
        said: Any = json.loads(detail or "{}")
    except ValueError:
        return Refusal()
    if not isinstance(said, dict):
        return Refusal()
    tenant, shard, epoch = said.get("tenant"), said.get("shard"), said.get("epoch")
    gone_to = Place(shard, epoch) if isinstance(shard, str) and isinstance(epoch, int) else None
    return Refusal(tenant if isinstance(tenant, str) else None, gone_to)
