"""Tables that can't be placed."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground


@check("error", cure="the line of `[tenants]` that the finding ends with")
def tables(ground: Ground) -> Iterator[Finding]:
    """Of each table it has to be known how its rows belong to tenants, as `shardwright tables` shows."""
    for problem in ground.graph.problems:
        yield tables.error(problem.fact, problem.cure)
