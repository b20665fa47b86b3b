"""How the directory and the shards differ, found by the control database in temporary tables of one session."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from shardwright.catalog import placement
from shardwright.pg.faults import Fault
from shardwright.pg.queries import load

NAMED = 1000  # of each kind; all are counted
_queries = load(__package__, "comparison.sql")


@dataclass(frozen=True)
class Difference:
    """A tenant for whom directory and shards disagree: where it is placed (None: nowhere), and where it was found."""

    tenant: str
    placed: str | None
    found: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The difference as `--json` prints it."""
        return {"tenant": self.tenant, "placed": self.placed, "found": list(self.found)}


@dataclass(frozen=True)
class Kind:
    """All tenants that differ in one way: how many, and the first thousand by name."""

    count: int = 0
    first: tuple[Difference, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The kind as `--json` prints it."""
        return {"count": self.count, "tenants": [each.as_dict() for each in self.first]}


@dataclass(frozen=True)
class Comparison:
    """The directory beside the shards, as both were when the comparison began.

    `agreeing` tenants are where the directory says. `unplaced`: on one shard, and not in the directory. `twice`: on
    two shards or more. `elsewhere`: on another shard than the directory says. `missing`: on no shard. `undecided`: a
    shard that was not read could change the answer. `too_long`: the directory can't hold the id. `unread`: why which
    shard was not read; of the `not_read` tenants placed there nothing is known. `moving` tenants are on their way,
    and rightly on two shards.
    """

    agreeing: int
    not_read: int = 0
    moving: int = 0
    unread: Mapping[str, Fault] = field(default_factory=dict)
    unplaced: Kind = Kind()
    twice: Kind = Kind()
    elsewhere: Kind = Kind()
    missing: Kind = Kind()
    undecided: Kind = Kind()
    too_long: Kind = Kind()

    @property
    def kinds(self) -> dict[str, Kind]:
        """The ways to differ by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Kind)}

    @property
    def is_equal(self) -> bool:
        """Whether every tenant is on exactly one shard, and the directory says which."""
        return not self.unread and not any(kind.count for kind in self.kinds.values())

    def as_dict(self) -> dict[str, Any]:
        """The comparison as `--json` prints it."""
        unread = [{"shard": name, "error": why.reason, "hint": why.hint or None} for name, why in self.unread.items()]
        kinds = {name: kind.as_dict() for name, kind in self.kinds.items()}
        return {
            "agreeing": self.agreeing,
            **kinds,
            "unread": unread,
            "not_read": self.not_read,
            "moving": self.moving,
        }


class Workbench:
    """The temporary tables of one session with the control database; several threads may lay down what they found."""

    def __init__(self, connection: psycopg.Connection[Any], *, statement_timeout: str) -> None:
        self._connection = connection
        self._alone = threading.Lock()
        connection.execute(_queries["set_up"], {"limit": statement_timeout})
        connection.execute(_queries["make_tables"])

    def load(self, page: bytes) -> None:
        """Lays down lines of shard and id as COPY writes them. Raises psycopg.Error."""
        with self._alone, self._connection.cursor().copy(_queries["load_found"]) as copy:
            copy.write(page)

    def compare(self, unread: Mapping[str, Fault], moving: Collection[str] = ()) -> Comparison:
        """How what was laid down differs from the directory as it was copied; the table `difference` has it all.

        Of the `moving` tenants nothing is said.
        """
        self._connection.execute(_queries["leave_out_found"], {"tenants": list(moving)})
        self._connection.execute(_queries["leave_out_placed"], {"tenants": list(moving)})
        execute, names = self._connection.execute, {"unread": list(unread)}
        execute(_queries["drop_unread"], names)
        execute(_queries["analyze"])
        execute(_queries["compare"], {**names, "longest": placement.LONGEST})
        counts: dict[str, int] = dict(execute(_queries["counts"]).fetchall())
        agreeing = execute(_queries["agreeing"]).fetchone()
        first = _by_kind(execute(_queries["examples"], {"limit": NAMED}))
        not_read = counts.pop("unread", 0)
        kinds = {kind: Kind(count, tuple(first[kind])) for kind, count in counts.items()}
        return Comparison(agreeing[0] if agreeing else 0, not_read, len(moving), unread, **kinds)


def _by_kind(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[Difference]]:
    kinds: dict[str, list[Difference]] = {}
    for kind, tenant, placed, found in rows:
        kinds.setdefault(kind, []).append(Difference(tenant, placed, tuple(found)))
    return kinds
