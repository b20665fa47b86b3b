"""Sequences that can't be kept from drawing the same numbers on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shardwright import errors
from shardwright.bluegreen.preflight.ground import Ground
from shardwright.bluegreen.shard_sets.sequences import check_sequences, numbers_from
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.shard import Shard


@check("error", "warning", cure="ALTER SEQUENCE …, as the finding says")
def sequences(ground: Ground) -> Iterator[Finding]:
    """Blue and green draw numbers at the same time and never the same: green's sequences begin above blue's, with room
    for what these go on to draw; before tenants go home blue's are set above green's.

    That needs sequences that go up, with room left. One that no column draws from is left alone: a warning.
    """
    try:
        found = _found(ground)
    except errors.SequencesRefused as error:
        yield sequences.error(error.findings, "shardwright check")
        return
    absent = {shard.name for shard in ground.absent}
    for each in {(each.fact, each.shard): each for each in found}.values():
        say = sequences.error if each.severity == "error" else sequences.warning
        yield say(each.fact, each.cure, shard=None if each.shard in absent else each.shard)


def _found(ground: Ground) -> list[Finding]:
    there, back = ground.shown.there, ground.shown.back
    blue, green = [side.shard for side in ground.blue], _green(ground)
    tables = [ground.model.graph[image.name] for image in there.tables]
    found = check_sequences(blue, green, tables, elsewhere=numbers_from(there), connections_per_host=ground.limit)
    if not (ground.one_way or back.problems):
        home = [ground.blue[0].graph[image.name] for image in back.tables]
        found += check_sequences(
            green, blue, home, elsewhere=numbers_from(back), home=True, connections_per_host=ground.limit
        )
    return found


def _green(ground: Ground) -> list[Shard]:
    """Every green shard; those that are not at their revision yet are asked as the model will have it."""
    wanted = ground.history.resolve(ground.revision)
    ready = {side.name for side in ground.green if ground.states[side.name] == wanted}
    model = ground.model.shard
    return [each if each.name in ready else replace(model, name=each.name) for each in ground.fleet.green]
