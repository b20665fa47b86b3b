"""Green's revisions can't be applied."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from shardwright import errors
from shardwright.bluegreen.preflight.ground import Ground
from shardwright.migration.scratch import NoScratch
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.pg.faults import explain
from shardwright.pg.queries import load

_queries = load(__package__)
_NAME = "shardwright bluegreen plan"


@check("error", cure="mend the revision that the finding names, or give the right", is_decisive=True)
def green_revision(ground: Ground) -> Iterator[Finding]:
    """The revisions up to green's can be applied to an empty database: where no green shard is at its revision yet, to
    a scratch database on the first green server, which is dropped afterwards.

    All that follows is asked of it. Takes as long as the revisions take, and needs the right to create databases.
    """
    try:
        _ = ground.model
    except (NoScratch, errors.GreenNotMade, errors.ShardsSilent, errors.UsageError) as error:
        hint = error.hint if isinstance(error, errors.ShardwrightError) else ""
        yield green_revision.error(f"green can't be brought to {ground.revision}: {_told(error)}", hint)
    except psycopg.Error as error:
        fault = explain(error)
        yield green_revision.error(f"green can't be brought to {ground.revision}: {fault.reason}", fault.hint)


def _told(error: Exception) -> str:
    return error.faults if isinstance(error, errors.GreenNotMade) else str(error)
