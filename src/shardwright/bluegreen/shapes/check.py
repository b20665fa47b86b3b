"""Every check of shapes: from what the configuration says to rows that are tried."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from shardwright.bluegreen.shapes.describe import describe
from shardwright.bluegreen.shapes.images import Images
from shardwright.bluegreen.shapes.sample import ROWS, round_trip
from shardwright.bluegreen.shapes.shape import BACK, FORWARD, images
from shardwright.bluegreen.shapes.shape_checks import ONE_WAY, defaults, dependence, plans, problems, way_back
from shardwright.bluegreen.shapes.whole import unfit_rows
from shardwright.config import ShapeSection
from shardwright.move.preflight.finding import SEVERITIES, Finding
from shardwright.transfer.graph import TableGraph


@dataclass(frozen=True)
class Shown:
    """Both directions as the configuration has them, and what is wrong with the SELECTs themselves."""

    there: Images
    back: Images
    findings: tuple[Finding, ...]


def show(
    blue: psycopg.Connection[Any],
    green: psycopg.Connection[Any],
    graphs: tuple[TableGraph, TableGraph],
    tables: Mapping[str, ShapeSection],
    back: Mapping[str, ShapeSection],
) -> Shown:
    """Each side's tables as the other shows them; `graphs` are those of blue and of green. Raises psycopg.Error."""
    of_blue, of_green = graphs
    described, wrong = describe(blue, of_blue.catalog, tables, FORWARD)
    described_back, wrong_back = describe(green, of_green.catalog, back, BACK)
    return Shown(
        images(of_blue.catalog, of_green.catalog, tables, of_green, described=described),
        images(of_green.catalog, of_blue.catalog, back, of_blue, described=described_back, section=BACK),
        (*wrong, *_one_way(wrong_back)),
    )


def check_shapes(
    blue: psycopg.Connection[Any],
    green: psycopg.Connection[Any],
    shown: Shown,
    tenants: Sequence[str],
    *,
    rows: int = ROWS,
    allow: Collection[str] = (),
) -> list[Finding]:
    """Everything that speaks against the shapes, errors first; `green` is without rows, and nothing of this stays.

    `allow` names findings that are to be warnings instead of errors, by their `allow`. Sessions in autocommit, whose
    statement_timeout counts for the queries that read whole tables. Raises psycopg.Error where a session breaks.
    """
    found = [*shown.findings, *problems(shown.there)]
    if all(each.allow == ONE_WAY for each in found):
        there, back = shown.there, shown.back
        found += [*dependence(blue, there), *defaults(there), *plans(blue, there), *unfit_rows(blue, there)]
        found += [*way_back(there, back), *_one_way([*dependence(green, back), *plans(green, back)])]
        found += round_trip(blue, green, there, back, tenants, rows=rows).findings
    allowed = (replace(each, severity="warning") if each.allow in allow else each for each in found)
    return sorted(allowed, key=lambda each: SEVERITIES.index(each.severity))


def _one_way(found: list[Finding]) -> list[Finding]:
    """What speaks against the way back speaks against nothing else."""
    return [replace(each, allow=each.allow or ONE_WAY) if each.severity == "error" else each for each in found]
