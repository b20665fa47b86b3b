"""What the last full check has found: revisions and schemas in groups, and what sets the odd shards apart."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from shardwright.migration.drift import Drift
from shardwright.web.site import Site

_AROUND = 2  # unchanged lines that are shown beside changed ones


@dataclass(frozen=True)
class Line:
    """A line of a difference: `here`, `elsewhere`, both (`same`), or `skip` where some are left out."""

    side: str
    text: str


@dataclass(frozen=True)
class Object:
    """An object that differs: only on the odd shards (`extra`), only on the others (`missing`), or otherwise there."""

    kind: str
    name: str
    how: str
    lines: tuple[Line, ...]


def check(site: Site, request: Request) -> Response:
    """The page of the last check."""
    picture = site.picture()
    if picture is None:
        return site.render(request, "waiting.html", section="/check")
    drifts = [(drift, objects_of(drift)) for drift in picture.checked.schemas.drifts] if picture.checked else []
    return site.render(request, "check.html", section="/check", picture=picture, found=picture.checked, drifts=drifts)


def objects_of(drift: Drift) -> list[Object]:
    """What differs, object by object, with its lines."""
    found = []
    for each in drift.objects:
        how = "missing" if each.left is None else "extra" if each.right is None else "different"
        found.append(Object(each.kind, each.name, how, tuple(lines(each.left or "", each.right or ""))))
    return found


def lines(here: str, elsewhere: str) -> Iterator[Line]:
    """Line by line what there is elsewhere, and what there is here instead."""
    left, right = _split(here), _split(elsewhere)
    for group in difflib.SequenceMatcher(None, right, left, autojunk=False).get_grouped_opcodes(_AROUND):
        if group[0][1] > 0 or group[0][3] > 0:
            yield Line("skip", "…")
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (Line("same", text) for text in right[i1:i2])
            else:
                yield from (Line("elsewhere", text) for text in right[i1:i2])
                yield from (Line("here", text) for text in left[j1:j2])


def _split(text: str) -> Sequence[str]:
    """One line is shown part by part where it is long and in parts."""
    found = text.splitlines()
    if len(found) == 1 and len(text) > 100:
        found = [part + ("," if place < text.count(", ") else "") for place, part in enumerate(text.split(", "))]
    return found
