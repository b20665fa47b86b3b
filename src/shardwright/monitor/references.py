"""References that no foreign key can hold, since the row that is referred to may live on another shard.

The rows that refer are walked by key on their own shards; what the shard itself does not have is looked for on all the
others. A value that no shard has is dangling.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import psycopg

from shardwright import errors
from shardwright.catalog.ask import ask_each
from shardwright.config import ColumnName, FleetConfig, format_duration
from shardwright.monitor import walk
from shardwright.monitor.progress import Example, Place, Progress, keeping_progress
from shardwright.monitor.walk import Column, Turn
from shardwright.pg.connect import connect
from shardwright.pg.faults import Fault, explain
from shardwright.pg.spelling import WHOLE_TABLES
from shardwright.runs.stopping import StopRequest
from shardwright.shard import Shard

T = TypeVar("T")
EXAMPLES = 10
_VALUES = 50_000  # that are looked for at once, of all shards together; and that are remembered as being there
_CONNECT_TIMEOUT = 5
_Columns = Mapping[ColumnName, Column]


@dataclass(frozen=True)
class ReferenceCheck:
    """One line of [references]: how many rows refer, how many of them to nothing, and a few of these.

    `undecided`: nothing was found that they refer to, and not every shard was read. `wrong`: the line can't be meant
    so, and nothing was read. `went_on`: a check that was stopped before had read a part. Not `is_finished`: this one
    was stopped.
    """

    source: ColumnName
    target: ColumnName
    rows: int = 0
    dangling: int = 0
    undecided: int = 0
    examples: tuple[Example, ...] = ()
    unread: Mapping[str, Fault] = field(default_factory=dict)
    wrong: errors.ConfigError | None = None
    went_on: bool = False
    is_finished: bool = True
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether every row refers to something that is there."""
        return not (self.dangling or self.undecided or self.unread or self.wrong) and self.is_finished

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "reference": str(self.source),
            "refers_to": str(self.target),
            "rows": self.rows,
            "dangling": self.dangling,
            "undecided": self.undecided,
            "examples": [vars(each) for each in self.examples],
            "unread": [
                {"shard": name, "error": fault.reason, "hint": fault.hint or None}
                for name, fault in self.unread.items()
            ],
            "error": str(self.wrong) if self.wrong else None,
            "finished": self.is_finished,
            "went_on": self.went_on,
            "seconds": round(self.seconds, 3),
        }


def check_references(
    fleet: FleetConfig,
    sources: Sequence[Shard],
    *,
    away: Mapping[str, Fault] | None = None,
    stop: StopRequest | None = None,
) -> tuple[ReferenceCheck, ...]:
    """Each line of [references], of the rows that `sources` have; what they refer to is looked for on every shard.

    `away`: shards that are known not to answer, and why. On large tables it notes in the control database how far it
    is, and goes on from there if it was stopped within the last day. Memory is bounded by values, not by rows.
    """
    if not fleet.config.references:
        return ()
    names = {each for pair in fleet.config.references.items() for each in pair}
    answers = _describe(fleet, names, away or {})
    with keeping_progress(fleet) as progress:
        checks = (
            _Check(fleet, source, target, sources, answers, progress=progress, stop=stop or StopRequest())
            for source, target in fleet.config.references.items()
        )
        return tuple(check.run() for check in checks)


def _describe(
    fleet: FleetConfig, names: Iterable[ColumnName], away: Mapping[str, Fault]
) -> dict[str, _Columns | Fault]:
    names = sorted(names, key=str)

    def describe(shard: Shard) -> _Columns | Fault:
        if shard.name in away:
            return away[shard.name]
        with _connect(fleet, shard) as connection:
            return walk.find_columns(connection, names)

    return _ask(fleet, fleet.shards, describe)


def _ask(fleet: FleetConfig, shards: Sequence[Shard], ask: Callable[[Shard], T | Fault]) -> dict[str, T | Fault]:
    limit = fleet.config.limits.connections_per_host
    return ask_each(shards, ask, connections_per_host=limit, failed=lambda _, error: explain(error))


def _connect(fleet: FleetConfig, shard: Shard) -> psycopg.Connection[Any]:
    limit = format_duration(fleet.config.limits.statement_timeout)
    return connect(
        shard.url,
        application_name="shardwright check",
        settings={**WHOLE_TABLES, "statement_timeout": limit},
        connect_timeout=_CONNECT_TIMEOUT,
    )


class _Check:
    """One reference: rounds of a turn on each shard, and a look at the others for what was not found there."""

    def __init__(
        self,
        fleet: FleetConfig,
        source: ColumnName,
        target: ColumnName,
        shards: Sequence[Shard],
        answers: Mapping[str, _Columns | Fault],
        *,
        progress: Progress,
        stop: StopRequest,
    ) -> None:
        self._fleet, self._source, self._target = fleet, source, target
        self._progress, self._stop = progress, stop
        self._unread = {name: answer for name, answer in answers.items() if isinstance(answer, Fault)}
        found = {name: answer for name, answer in answers.items() if not isinstance(answer, Fault)}
        self._sources = {name: columns[source] for name, columns in found.items() if source in columns}
        self._targets = {name: columns[target] for name, columns in found.items() if target in columns}
        self._wrong = self._why_wrong()
        self._targets = {name: column for name, column in self._targets.items() if column.name}
        self._shards = [
            shard for shard in shards if (column := self._sources.get(shard.name)) is not None and column.name
        ]
        self._known: set[str] = set()
        self._absent: set[str] = set()

    @property
    def _name(self) -> str:
        return f"{self._source} = {self._target}"

    def run(self) -> ReferenceCheck:
        """What became of it."""
        if self._wrong is not None:
            return ReferenceCheck(self._source, self._target, unread=self._unread, wrong=self._wrong)
        began = time.monotonic()
        shapes = {shard.name: self._sources[shard.name].shape for shard in self._shards}
        before = self._progress.read(self._name, shapes)
        places = {name: before.get(name, Place()) for name in shapes}
        self._walk(places, shapes)
        is_finished = all(place.is_done or name in self._unread for name, place in places.items())
        if is_finished:
            self._progress.forget(self._name)
            left = {name: place for name, place in places.items() if place.after and not place.is_done}
            self._progress.write(self._name, left, shapes)
        return ReferenceCheck(
            self._source,
            self._target,
            rows=sum(place.rows for place in places.values()),
            dangling=sum(place.dangling for place in places.values()),
            undecided=sum(place.undecided for place in places.values()),
            examples=tuple(each for place in places.values() for each in place.examples)[:EXAMPLES],
            unread=self._unread,
            went_on=bool(before),
            is_finished=is_finished,
            seconds=time.monotonic() - began,
        )

    def _walk(self, places: dict[str, Place], shapes: Mapping[str, str]) -> None:
        """`places` are at their tables' ends, unless it was stopped or a shard went away."""
        while todo := [
            shard for shard in self._shards if not places[shard.name].is_done and shard.name not in self._unread
        ]:
            if self._stop.is_asked:
                return
            self._take_turns(todo, places)
            if not all(place.is_done for place in places.values()):
                self._progress.write(self._name, places, shapes)

    def _take_turns(self, todo: Sequence[Shard], places: dict[str, Place]) -> None:
        most = max(1000, _VALUES // len(todo))

        def take(shard: Shard) -> Turn | Fault:
            with _connect(self._fleet, shard) as connection:
                return walk.take_turn(
                    connection,
                    self._sources[shard.name],
                    self._targets.get(shard.name),
                    places[shard.name],
                    known=self._known,
                    most=most,
                    is_over=lambda: self._stop.is_asked,
                )

        turns = _ask(self._fleet, todo, take)
        self._unread |= {name: turn for name, turn in turns.items() if isinstance(turn, Fault)}
        done = {name: turn for name, turn in turns.items() if isinstance(turn, Turn)}
        absent = self._look_for({value for turn in done.values() for value in turn.missing})
        for name, turn in done.items():
            places[name] = self._counted(name, turn, absent)

    def _counted(self, shard: str, turn: Turn, absent: set[str]) -> Place:
        """The turn's place, with its rows whose value is nowhere."""
        missing = {value: each for value, each in turn.missing.items() if value in absent}
        rows = sum(each.rows for each in missing.values())
        if self._unread:
            return replace(turn.place, undecided=turn.place.undecided + rows)
        examples = (Example(shard, value, each.example) for value, each in sorted(missing.items()))
        return replace(
            turn.place,
            dangling=turn.place.dangling + rows,
            examples=(*turn.place.examples, *examples)[:EXAMPLES],
        )

    # --- elsewhere ------------------------------------------------------------------------------

    def _look_for(self, values: set[str]) -> set[str]:
        """Those of `values` that no shard has. Asked twice, since a row that moves from shard to shard may be missed by
        both looks of one round."""
        absent = values & self._absent
        left = values - self._absent
        for _ in range(2):
            if left:
                self._strike_out(left)
        self._known |= set(_first(values - absent - left, _VALUES - len(self._known)))
        self._absent |= set(_first(left, _VALUES - len(self._absent)))
        return absent | left

    def _strike_out(self, left: set[str]) -> None:
        """`left` has only those that no shard has that was read."""
        alone = threading.Lock()

        def ask(shard: Shard) -> None:
            with alone:
                values = list(left)
            if not values:
                return
            query = self._targets[shard.name].compare("which_are_there", values)
            with _connect(self._fleet, shard) as connection:
                walk.forget_names(connection)
                found = {row[0] for row in connection.execute(query)}
            with alone:
                left.difference_update(found)

        shards = [each for each in self._fleet.shards if each.name in self._targets and each.name not in self._unread]
        self._unread |= {name: fault for name, fault in _ask(self._fleet, shards, ask).items() if fault is not None}

    # --- what can't be meant ----------------------------------------------------------------------

    def _why_wrong(self) -> errors.ConfigError | None:
        for name, found in ((self._source, self._sources), (self._target, self._targets)):
            if not any(column.name for column in found.values()) and not self._unread:
                return self._problem(
                    f"{name.schema + '.' if name.schema else ''}{name.table} has no column {name.column} on any shard"
                    if found
                    else f"no shard has a table {name.schema + '.' if name.schema else ''}{name.table}"
                )
        kinds = {column.compared: text for column, text in self._types()}
        if len(kinds) > 1:
            return self._problem(f"{' and '.join(kinds.values())}: values of these types are never the same")
        return None

    def _types(self) -> Iterator[tuple[Column, str]]:
        for name, found in ((self._target, self._targets), (self._source, self._sources)):
            for shard, column in found.items():
                if column.name:
                    yield column, f"{name} is {column.shown} on {shard}"

    def _problem(self, reason: str) -> errors.ConfigError:
        key = f"references.{json.dumps(str(self._source), ensure_ascii=False)}"
        return errors.BadValue(file=str(self._fleet.config.file), key=key, reason=reason)


def _first(values: Iterable[str], count: int) -> Iterator[str]:
    return (value for value, _ in zip(values, range(max(0, count)), strict=False))
