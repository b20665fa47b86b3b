"""Sequences that can't be kept from drawing the same numbers on both sides."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.bluegreen.sequences import check_sequences, numbers_from
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding


@check("error", "warning", cure="ALTER SEQUENCE …, as the finding says")
def sequences(ground: Ground) -> Iterator[Finding]:
    """Blue and green draw numbers at the same time and never the same: green's sequences begin above blue's, with room
    for what these go on to draw; before tenants go home blue's are set above green's.

    That needs sequences that go up, with room left. One that no column draws from is left alone: a warning.
    """
    there, back = ground.shown.there, ground.shown.back
    blue, model = [side.shard for side in ground.blue], ground.model
    green = [side.shard for side in ground.green] if not ground.is_scratch else [model.shard]
    tables = [model.graph[image.name] for image in there.tables]
    found = check_sequences(blue, green, tables, elsewhere=numbers_from(there), connections_per_host=ground.limit)
    if not (ground.one_way or back.problems):
        home = [ground.blue[0].graph[image.name] for image in back.tables]
        found += check_sequences(
            green, blue, home, elsewhere=numbers_from(back), home=True, connections_per_host=ground.limit
        )
    told = {(each.fact, each.shard): each for each in found if each.shard != model.name or not ground.is_scratch}
    for each in told.values():
        say = sequences.error if each.severity == "error" else sequences.warning
        yield say(each.fact, each.cure, shard=each.shard)
