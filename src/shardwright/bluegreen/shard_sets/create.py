"""Green shards: their databases made as blue's are, and brought to their revision; and all of that taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg

from shardwright import errors
from shardwright.bluegreen.shard_sets.drop import require_nobody
from shardwright.catalog.ask import ask_each
from shardwright.migration.history import History
from shardwright.migration.versions import Reading, survey
from shardwright.pg import databases
from shardwright.pg.faults import Fault, explain
from shardwright.runs.fanout import FanOutLimits, Job, run_all
from shardwright.runs.results import revisions_text
from shardwright.runs.stopping import StopRequest
from shardwright.shard import Shard

_NAME = "shardwright bluegreen"
T = TypeVar("T")


def missing(green: Sequence[Shard], *, connections_per_host: int = 4) -> tuple[str, ...]:
    """The green shards whose databases are not there yet. Raises GreenNotMade where a server can't be asked."""
    there = _of_each(green, lambda shard: databases.is_there(shard.url, application_name=_NAME), connections_per_host)
    return tuple(name for name, is_there in there.items() if not is_there)


def require_fit(green: Sequence[Shard], history: History, revision: str, *, connections_per_host: int = 4) -> None:
    """Raises GreenNotMade where a green shard is not on the way to `revision`, or can't be asked; changes nothing.

    Those that are not there yet are fit. Raises NoSuchRevision, SeveralHeads.
    """
    wanted = history.ancestry(history.resolve(revision))
    absent = missing(green, connections_per_host=connections_per_host)
    table = history.location.version_table
    present = [shard for shard in green if shard.name not in absent]
    readings = survey(present, table, connections_per_host=connections_per_host)
    told = [(name, _unfit(history, reading, wanted, revision)) for name, reading in readings.items()]
    _raise_if_any([f"{name}: {why}" for name, why in told if why])


def create(
    green: Sequence[Shard],
    like: Shard,
    history: History,
    revision: str,
    *,
    run: int,
    limits: FanOutLimits,
    stop: StopRequest,
) -> tuple[str, ...]:
    """Every green shard is there and at `revision`; gives those whose databases were made by `run`, also at an earlier
    try.

    They have the encoding, locale and settings of `like`, a blue shard, and its owner where the server has that role.
    A database that is there is only brought to `revision`. Which ones were made is written to them (a comment on the
    database), so that `take_back` knows them whatever was killed, until `keep`. `revision` is best a full id: `head`
    may mean another one tomorrow. Raises GreenNotMade, which names every shard that is not ready, NoSuchRevision,
    SeveralHeads.
    """
    require_fit(green, history, revision, connections_per_host=limits.connections_per_host)
    nature = _of_each([like], lambda shard: databases.nature(shard.url, application_name=_NAME), 1)[like.name]
    if nature is None:
        raise errors.GreenNotMade(faults=f"{like.name}: there is no database {like.url.database} to make others like")
    _of_each(
        green,
        lambda shard: databases.create_like(shard.url, nature, mark=_mark(run), application_name=_NAME),
        limits.connections_per_host,
    )
    bring_to(green, history, revision, limits, stop)
    return made(green, run=run, connections_per_host=limits.connections_per_host)


def made(green: Sequence[Shard], *, run: int, connections_per_host: int = 4) -> tuple[str, ...]:
    """The green shards whose databases were made by `run`. Raises GreenNotMade where one can't be asked."""
    marks = _of_each(green, lambda shard: databases.mark_of(shard.url, application_name=_NAME), connections_per_host)
    return tuple(name for name, mark in marks.items() if mark == _mark(run))


def keep(green: Sequence[Shard], *, run: int, connections_per_host: int = 4) -> None:
    """The databases that `run` has made are like any others; they are not taken back any more. Raises GreenNotMade."""

    def let_go(shard: Shard) -> None:
        if databases.mark_of(shard.url, application_name=_NAME) == _mark(run):
            databases.unmark(shard.url, application_name=_NAME)

    _of_each(green, let_go, connections_per_host)


def take_back(
    green: Sequence[Shard],
    control: psycopg.Connection[Any],
    shard_set: str,
    *,
    run: int,
    connections_per_host: int = 4,
) -> tuple[str, ...]:
    """The databases that `run` has made are gone, with all in them; gives their names. No other is touched.

    What `create` has done to a database that was there, its revisions, stays. Raises NotDropped, before anything is
    dropped, where the directory has a tenant on one of them; GreenNotMade.
    """
    ours = made(green, run=run, connections_per_host=connections_per_host)
    chosen = [shard for shard in green if shard.name in ours]
    for shard in chosen:
        require_nobody(shard, control, shard_set)
    _of_each(green, lambda shard: databases.drop_unfinished(shard.url, application_name=_NAME), connections_per_host)
    _of_each(chosen, lambda shard: databases.drop(shard.url, application_name=_NAME), connections_per_host)
    return ours


def bring_to(green: Sequence[Shard], history: History, revision: str, limits: FanOutLimits, stop: StopRequest) -> None:
    """Each is at `revision`, brought there in a worker process by the user's own env.py; the ledger of rollouts has
    nothing of it. Raises GreenNotMade."""
    payload = {"location": history.location, "target": revision}
    jobs = [Job(shard, "shardwright.migration.apply:upgrade", payload) for shard in green]
    ended = run_all("bluegreen", [jobs], limits=limits, stop=stop, max_failures=None)
    _raise_if_any(
        [f"{each.job.shard.name}: {each.reply.reason or 'not tried'}" for each in ended if not each.succeeded]
    )


def _mark(run: int) -> str:
    return f"made by shardwright bluegreen, run {run}"


def _unfit(history: History, reading: Reading, wanted: frozenset[str], revision: str) -> str | None:
    if reading.state is None:
        return reading.fault.reason if reading.fault else "it did not say its revision"
    at = revisions_text(reading.state)
    if history.unknown(reading.state):
        return f"it is at {at}, which is not in {history.location.directory}: it has another history"
    if not history.ancestry(reading.state) <= wanted:
        return f"it is at {at}, which is not on the way to {revision}"
    return None


def _of_each(shards: Sequence[Shard], ask: Callable[[Shard], T], limit: int) -> dict[str, T]:
    """What `ask` gives for each shard; all that answer are asked before one's fault is told."""

    answers: dict[str, T | Fault] = ask_each(
        shards, ask, connections_per_host=limit, failed=lambda _, error: explain(error)
    )
    faults = {name: answer for name, answer in answers.items() if isinstance(answer, Fault)}
    _raise_if_any(
        [f"{name}: {fault.reason}" + (f"; {fault.hint}" if fault.hint else "") for name, fault in faults.items()]
    )
    return {name: answer for name, answer in answers.items() if not isinstance(answer, Fault)}


def _raise_if_any(faults: Sequence[str]) -> None:
    if faults:
        raise errors.GreenNotMade(faults="\n".join(faults))
