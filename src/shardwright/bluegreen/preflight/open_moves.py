"""Tenants are on the move."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.catalog.control import read_control
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import listed, quoted
from shardwright.move.store import Moves
from shardwright.pg.queries import load

_queries = load("shardwright.move.preflight")
_own = load(__package__)


@check("error", cure="`shardwright move finish TENANT`, or `shardwright move undo TENANT`")
def open_moves(ground: Ground) -> Iterator[Finding]:
    """A change takes all tenants along, so none may be on the move, nor have a way back open; and no shard may have
    anything of an earlier change or move."""
    with read_control(ground.fleet.control, application_name="shardwright bluegreen plan") as control:
        moves = Moves(control, ground.fleet.shard_set).open() if control is not None else []
    for move in moves:
        fact = f"tenant {move.tenant} is on the move from {move.source} to {move.target} (run {move.run})"
        cure = f"shardwright move finish {move.tenant}, or shardwright move undo {move.tenant}"
        yield open_moves.error(fact, cure)
    known = {move.run for move in moves}
    for side in ground.sides:
        if not side.one(_queries["has_moves"])[0]:
            continue
        if not side.one(_own["may_read_moves"])[0]:
            continue  # told by database-rights
        left = [number for (number,) in side.ask(_own["all_moves"]) if number not in known]
        if left:
            fact = f"{side.name} has something of an earlier move or change: run {listed(left)}"
            yield open_moves.error(fact, f"DROP SCHEMA {quoted('shardwright')} CASCADE", shard=side.name)
