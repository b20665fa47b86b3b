"""Tables that can't be placed."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding


@check("error", cure="the line of `[tenants]` that the finding ends with", is_decisive=True)
def tables(ground: Ground) -> Iterator[Finding]:
    """Of each blue table it has to be known how its rows belong to tenants, as `shardwright tables` shows; of green
    ones **shapes** asks."""
    graph = ground.blue[0].graph
    for problem in graph.problems:
        yield tables.error(problem.fact, problem.cure)
    if not graph.problems and not any(each.kind == "root" for each in graph.tables):
        yield tables.error(f"{ground.blue[0].name} has no root table", "shardwright migrate")
