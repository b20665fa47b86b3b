"""The control database's tables of blue-green changes. No other module that changes them names them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.placement import epochs, is_any_on, move_placement, place
from shardwright.catalog.store import set_takes_new
from shardwright.pg.queries import load
from shardwright.runs.board import Board
from shardwright.transfer.everyone import Tenant

OVER = ("done", "undone")
_queries = load(__package__, "store.sql")


@dataclass(frozen=True)
class Change:
    """One change as it stands.

    `phase`: building (green is made and filled), in_step (tenants may be switched), switched
    (all of them are), returning, cleaning (the way back is closed), and at the end done or undone."""

    run: int
    phase: str
    throttle: Mapping[str, Any]
    switched_at: datetime | None
    keep_until: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether anything of it is left on a shard."""
        return self.phase not in OVER


@dataclass(frozen=True)
class ChangedTenant:
    """A tenant between its blue and its green shard; `epoch` is its placement's."""

    tenant: str
    blue: str
    green: str
    epoch: int
    at_green: bool
    write_gap: Mapping[str, Any] | None
    certificate: Mapping[str, Any] | None
    switched_at: datetime | None

    @property
    def shard(self) -> str:
        """Where its writes go."""
        return self.green if self.at_green else self.blue

    def as_dict(self) -> dict[str, Any]:
        """The tenant as `--json` prints it."""
        moment = self.switched_at.isoformat() if self.switched_at else None
        return {**vars(self), "shard": self.shard, "switched_at": moment}


@dataclass(frozen=True)
class Lane:
    """Two shards with tenants between them, and how many of these are at green; what is still to be brought, each way,
    as it was told at `at`."""

    blue: str
    green: str
    everybody_at_green: bool = False
    tenants: int = 0
    at_green: int = 0
    keys: int | None = None
    lag_seconds: float | None = None
    back_keys: int | None = None
    back_lag_seconds: float | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Proofs:
    """The last switches of all tenants together: of how many the write gap was measured (milliseconds), and how many
    were proven to have the same rows on both sides, or not to have them."""

    gaps: int
    middle: float | None
    longest: float | None
    equal: int
    different: int


@dataclass(frozen=True)
class Order:
    """What an operator wants of the change: all tenants, those named, or a share of those that are left."""

    id: int
    kind: str
    tenants: tuple[str, ...] | None
    share: float | None
    by: str
    note: str | None = None  # how it ended

    def concerns(self, tenants: Iterable[str] | None) -> bool:
        """Whether it may be for one of these tenants too; None: for any."""
        return self.tenants is None or tenants is None or not set(self.tenants).isdisjoint(tenants)


class Changes:
    """The changes of one shard set, over a connection to the control database in autocommit."""

    def __init__(self, connection: psycopg.Connection[Any], shard_set: str) -> None:
        self._connection = connection
        self._shard_set = shard_set

    # --- reading --------------------------------------------------------------------------------

    def last(self) -> Change | None:
        """The open change, else the last there was."""
        row = self._connection.execute(_queries["last"], {"shard_set": self._shard_set}).fetchone()
        return Change(*row) if row else None

    def change(self, run: int) -> Change:
        """The change of that run. Raises NoSuchChange."""
        row = self._connection.execute(_queries["change"], {"run": run, "shard_set": self._shard_set}).fetchone()
        if row is None:
            raise errors.NoSuchChange(what=f"run {run}")
        return Change(*row)

    def tenants(
        self,
        run: int,
        lanes: Iterable[tuple[str, str]] | None = None,
        *,
        named: Iterable[str] | None = None,
    ) -> list[Tenant]:
        """The tenants of the change and on which side each is, by id; of these lanes, and of those named, only."""
        values = {"run": run, "tenants": None if named is None else list(named), **_pairs(lanes)}
        return [Tenant(*row) for row in self._connection.execute(_queries["tenants"], values)]

    def unproven(self, run: int, lanes: Iterable[tuple[str, str]]) -> list[tuple[Tenant, int]]:
        """The tenants of these lanes whose last switch has no certificate yet, each with his epoch."""
        rows = self._connection.execute(_queries["unproven"], {"run": run, **_pairs(lanes)})
        return [(Tenant(*row[:4]), row[4]) for row in rows]

    def are_all(self, run: int, left: Iterable[str], *, at_green: bool) -> bool:
        """Whether every tenant, and whoever has not been heard of, is on that side, and the directory has nobody on the
        shards `left`: somebody may be there who has no row yet."""
        row = self._connection.execute(_queries["is_on_one_side"], {"run": run, "at_green": at_green}).fetchone()
        return bool(row and row[0]) and not is_any_on(self._connection, self._shard_set, left)

    def proofs(self, run: int) -> Proofs:
        """How the last switches of all tenants went."""
        row = self._connection.execute(_queries["proofs"], {"run": run}).fetchone()
        assert row is not None  # noqa: S101 an aggregate gives a row
        return Proofs(*row)

    def tenant(self, run: int, tenant: str) -> ChangedTenant:
        """One tenant. Raises NoSuchTenant."""
        row = self._connection.execute(_queries["tenant"], {"run": run, "tenant": tenant}).fetchone()
        if row is None:
            raise errors.NoSuchTenant(tenant=tenant)
        return ChangedTenant(*row)

    def lanes(self, run: int) -> list[Lane]:
        """The lanes, by name, with how many tenants each has."""
        return [Lane(*row) for row in self._connection.execute(_queries["lanes"], {"run": run})]

    def placed_only(self, run: int, shard: str) -> list[str]:
        """The tenants that the directory has on the shard, and the change does not know."""
        placed = set(epochs(self._connection, self._shard_set, [shard]))
        known = self.tenants(run, named=placed) if placed else ()
        return sorted(placed.difference(each.tenant for each in known))

    def orders(self, run: int) -> list[Order]:
        """What is still to be done, the oldest first."""
        return [_order(row) for row in self._connection.execute(_queries["orders"], {"run": run})]

    def last_order(self, run: int) -> Order | None:
        """What was done last."""
        row = self._connection.execute(_queries["last_order"], {"run": run}).fetchone()
        return _order(row) if row else None

    # --- writing --------------------------------------------------------------------------------

    def create(self, run: int, lanes: Iterable[tuple[str, str]], tenants: Mapping[str, tuple[str, str, int]]) -> None:
        """The run is a change of the set, with these lanes, and for each tenant its lane and epoch.

        Raises ChangeUnderWay; MovesUnderWay where a tenant is on the move.
        """
        try:
            with self._connection.transaction():
                self._connection.execute(_queries["create"], {"run": run, "shard_set": self._shard_set})
                for blue, green in lanes:
                    self._connection.execute(_queries["add_lane"], {"run": run, "blue": blue, "green": green})
                with (
                    self._connection.cursor() as cursor,
                    cursor.copy(
                        "COPY shardwright.bluegreen_tenant (run, tenant, blue, green, epoch) FROM STDIN"
                    ) as rows,
                ):
                    for tenant, (blue, green, epoch) in tenants.items():
                        rows.write_row((run, tenant, blue, green, epoch))
        except psycopg.errors.UniqueViolation:
            present = self.last()
            raise errors.ChangeUnderWay(action="a new change", run=present.run if present else 0) from None
        except psycopg.errors.CheckViolation:
            raise errors.MovesUnderWay from None

    def adopt(self, run: int, runner: int, tenant: Tenant, *, by: str) -> None:
        """A tenant that came after the start belongs to the change; the directory has it where its rows are.

        Raises Superseded.
        """
        with self._held(run, runner):
            placed, _ = place(self._connection, self._shard_set, tenant.tenant, tenant.shard, changed_by=by)
            self._connection.execute(_queries["adopt"], {"run": run, "epoch": placed.epoch, **vars(tenant)})

    def switch(self, run: int, runner: int, tenant: str, *, to_green: bool, changed_by: str) -> int:
        """The tenant's placement is its green shard, or its blue one again; gives the epoch.

        One transaction, guarded by the runner's number; done again it changes nothing. Raises Superseded,
        PlacementChanged, NoSuchTenant; Undecided where it may have been done or not.
        """
        with Board(self._connection, self._shard_set).deciding(run, runner):
            found = self.tenant(run, tenant)
            if found.at_green == to_green:
                return found.epoch
            there = found.green if to_green else found.blue
            epoch = move_placement(
                self._connection, self._shard_set, tenant, found.shard, there,
                expected_epoch=found.epoch, changed_by=changed_by, run=run,
            )  # fmt: skip
            values = {"run": run, "tenant": tenant, "at_green": to_green, "epoch": epoch}
            self._connection.execute(_queries["switch"], values)
        return epoch

    def switch_everybody(self, run: int, runner: int, lanes: Iterable[tuple[str, str]], *, to_green: bool) -> None:
        """Shared rows and new tenants of these lanes are written on green, or on blue again. As `switch`."""
        with Board(self._connection, self._shard_set).deciding(run, runner):
            for blue, green in lanes:
                values = {"run": run, "blue": blue, "green": green, "at_green": to_green}
                self._connection.execute(_queries["switch_everybody"], values)
                set_takes_new(self._connection, self._shard_set, [green], to_green)
                set_takes_new(self._connection, self._shard_set, [blue], not to_green)

    def held(self, run: int, runner: int) -> Change:
        """The change, once no decision can be on its way any more. Raises Superseded."""
        with self._held(run, runner):
            return self.change(run)

    def write_phase(self, run: int, runner: int, phase: str, *, keep: float | None = None) -> None:
        """The change is in that phase; with `keep`, the way back is open for so many seconds. Raises Superseded."""
        with self._held(run, runner):
            self._connection.execute(_queries["phase"], {"run": run, "phase": phase, "keep": keep})

    def note_switch(
        self, run: int, tenant: str, *, write_gap: Mapping[str, Any], certificate: Mapping[str, Any] | None
    ) -> None:
        """How long the tenant could not write, and the proof that both sides held the same rows."""
        values = {
            "run": run, "tenant": tenant, "write_gap": json.dumps(write_gap),
            "certificate": None if certificate is None else json.dumps(certificate),
        }  # fmt: skip
        self._connection.execute(_queries["note_switch"], values)

    def note_lane(self, run: int, lane: Lane) -> None:
        """How far the lane is, now."""
        self._connection.execute(_queries["note_lane"], {"run": run, **vars(lane)})

    def lock(self, run: int) -> None:
        """Until the caller's transaction ends the change stays in its phase, and nobody else who locks it orders."""
        self._connection.execute(_queries["lock"], {"run": run})

    def order(
        self,
        run: int,
        kind: str,
        *,
        tenants: Sequence[str] | None = None,
        share: float | None = None,
        leave_writable: bool = False,
        by: str,
    ) -> int:
        """What an operator wants is written down; gives its number."""
        values = {
            "run": run, "kind": kind, "tenants": None if tenants is None else list(tenants), "share": share,
            "leave_writable": leave_writable, "by": by,
        }  # fmt: skip
        row = self._connection.execute(_queries["order"], values).fetchone()
        assert row is not None  # noqa: S101 an INSERT … RETURNING gives a row
        return int(row[0])

    def name_tenants(self, order: int, tenants: Sequence[str]) -> None:
        """These are the share that was ordered."""
        self._connection.execute(_queries["name_tenants"], {"id": order, "tenants": list(tenants)})

    def end_order(self, order: int, note: str | None = None) -> None:
        """It is done, or can't be done for the reason of `note`."""
        self._connection.execute(_queries["end_order"], {"id": order, "note": note})

    def leaves_writable(self, run: int) -> bool:
        """Whether an operator wants blue to stay as it is when the change is finished."""
        row = self._connection.execute(_queries["leaves_writable"], {"run": run}).fetchone()
        return bool(row and row[0])

    def is_ended(self, order: int) -> bool:
        """Whether the order is done, or was given up."""
        row = self._connection.execute(_queries["is_ended"], {"id": order}).fetchone()
        return bool(row and row[0])

    def is_past(self, run: int) -> bool:
        """Whether the way back was open for as long as it was to be."""
        row = self._connection.execute(_queries["is_past"], {"run": run}).fetchone()
        return bool(row and row[0])

    def set_throttle(self, run: int, throttle: Mapping[str, Any]) -> None:
        """The copy goes as fast as these values say, from its next part on."""
        self._connection.execute(_queries["throttle"], {"run": run, "throttle": json.dumps(throttle)})

    @contextmanager
    def _held(self, run: int, runner: int) -> Iterator[None]:
        with self._connection.transaction():
            Board(self._connection, self._shard_set).hold(run, runner)
            yield


def _order(row: Sequence[Any]) -> Order:
    return Order(row[0], row[1], None if row[2] is None else tuple(row[2]), *row[3:])


def _pairs(lanes: Iterable[tuple[str, str]] | None) -> dict[str, list[str] | None]:
    pairs = None if lanes is None else list(lanes)
    return {
        "blues": None if pairs is None else [blue for blue, _ in pairs],
        "greens": None if pairs is None else [green for _, green in pairs],
    }
