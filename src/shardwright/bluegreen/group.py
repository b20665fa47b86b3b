"""Shards that have tenants between one another, kept in step by one thread: copy, rounds of draining, comparison.

What a shard has noted is brought to all whom it gives to, out of one snapshot, and only then forgotten. Which side each
tenant is on is written on both shards before the shard he goes to is opened: what is drained later goes by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from shardwright.bluegreen.lanes import Lane, by_shard
from shardwright.runs.kinds import StepContext
from shardwright.transfer import everyone, fence
from shardwright.transfer.compare import Comparison, compare
from shardwright.transfer.copy import Copy
from shardwright.transfer.drain import Captured, captured, drain, forget_drained, make_room, snapshot
from shardwright.transfer.everyone import Tenant
from shardwright.transfer.scope import Scope
from shardwright.transfer.sessions import Sessions, write_silently
from shardwright.transfer.stream import Streamed
from shardwright.transfer.whose import EVERYBODY, tenants_of

Pace = Callable[[int], None]


class NewTenants(Exception):
    """Rows were noted of tenants whom the change does not know yet: they have to be written down first."""

    def __init__(self, shard: str, tenants: list[str]) -> None:
        super().__init__(f"{shard} has new tenants: {', '.join(tenants)}")
        self.shard = shard
        self.tenants = tenants


class Group:
    """Lanes that share shards, with a session for reading and one for writing on each."""

    def __init__(self, lanes: tuple[Lane, ...], sessions: Mapping[str, Sessions], context: StepContext) -> None:
        self.lanes = lanes
        self.context = context
        self._sessions = sessions
        self._open = ExitStack()
        self._readers: dict[str, psycopg.Connection[Any]] = {}
        self._writers: dict[str, psycopg.Connection[Any]] = {}

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """No session is left open."""
        self._readers.clear()
        self._writers.clear()
        self._open.close()
        for sessions in self._sessions.values():
            sessions.close()

    def sessions(self, shard: str) -> Sessions:
        """Of that shard."""
        return self._sessions[shard]

    @property
    def shards(self) -> tuple[str, ...]:
        """The names of all of them, blue ones first."""
        return (*by_shard(self.lanes, blue=True), *by_shard(self.lanes, blue=False))

    def take_over(self) -> None:
        """Nobody else works for the change on these shards. Raises Superseded."""
        for name in self.shards:
            self._sessions[name].take_over()

    # --- copy -----------------------------------------------------------------------------------

    def copy(self, *, streams: int, pace: Pace) -> Streamed:
        """Every row of the blue shards' tenants is at the green ones, as of one snapshot each; goes on where it was.

        Raises Stopped at a safe point, psycopg.Error.
        """
        brought, whole = Streamed(), list[Lane]()
        for lane in self.lanes:
            ready = [each for each in whole if each.blue == lane.blue]
            brought += Copy(
                lane.there, self._sessions[lane.blue], self._sessions[lane.green], self.context,
                streams=streams, pace=pace, also=partial(self._drain_all, lane, ready),
            ).copy()  # fmt: skip
            whole.append(lane)
        return brought

    def _drain_all(self, lane: Lane, lanes: Iterable[Lane], reader: psycopg.Connection[Any]) -> int:
        """To the lanes that are whole already, out of the snapshot in which another is about to forget."""
        if new := self._unknown(reader, lane.there, among_changed=True):
            raise NewTenants(lane.blue, new)
        return sum(drain(reader, self.writer(lane.green), lane.there, lane.there.tables).keys for lane in lanes)

    # --- rounds ---------------------------------------------------------------------------------

    def round(self) -> int:
        """What was noted on each shard is brought to the others once; gives how many keys. Raises NewTenants."""
        return sum(self.bring(name) for name in self.shards)

    def bring(self, shard: str) -> int:
        """What was noted on one shard is brought to all it gives to, and forgotten; gives how many keys."""
        ways = self.ways_from(shard)
        if not ways:
            return 0
        reader, brought = self._reader(shard), 0
        with snapshot(reader) as taken:
            if not captured(reader, _all_of(ways)).total:
                return 0
            if new := self._unknown(reader, ways[0][1], among_changed=True):
                raise NewTenants(shard, new)
            for there, scope in ways:
                brought = max(brought, drain(reader, self.writer(there), scope, scope.tables).keys)
        self._forget(reader, shard, taken)
        return brought

    def ways_from(self, shard: str) -> list[tuple[str, Scope]]:
        """To which other shards rows of this one go, and which."""
        ways = [(lane.green, lane.there) for lane in self.lanes if lane.blue == shard]
        ways += [(lane.blue, lane.back) for lane in self.lanes if lane.green == shard and lane.back is not None]
        return ways

    def _forget(self, reader: psycopg.Connection[Any], shard: str, taken: str) -> None:
        """Together with the keys of its own rows that were noted for a proof: none is being made now."""
        if ways := self.ways_from(shard):
            forget_drained(reader, _all_of(ways).tables, taken)
        foreign = [table for lane in self.lanes for table in self._own_tables(lane, shard) if not table.notes_itself]
        seen = sql.SQL("pg_catalog.pg_visible_in_snapshot(xid, {}::pg_catalog.pg_snapshot)").format(sql.Literal(taken))
        for queue in {table.changed.as_string(None): table.changed for table in foreign}.values():
            reader.execute(sql.SQL("DELETE FROM {} WHERE {}").format(queue, seen))

    def forget_unwanted(self) -> None:
        """What was noted on shards that give nothing, for proofs alone, is gone."""
        for shard in self.shards:
            if not self.ways_from(shard):
                reader = self._reader(shard)
                with snapshot(reader) as taken:
                    pass
                self._forget(reader, shard, taken)

    def _own_tables(self, lane: Lane, shard: str) -> Iterator[Any]:
        if lane.green == shard:
            yield from lane.there.tables
        elif lane.blue == shard and lane.back is not None:
            yield from lane.back.tables

    def behind(self) -> Mapping[str, Captured]:
        """What each shard has noted and not brought, as of now."""
        ways_of = {name: ways for name in self.shards if (ways := self.ways_from(name))}
        return {name: captured(self._reader(name), _all_of(ways)) for name, ways in ways_of.items()}

    # --- tenants --------------------------------------------------------------------------------

    def unknown(self, shard: str) -> list[str]:
        """The tenants with a row of their own on the shard whom it has not written down."""
        return self.unknown_to(self._reader(shard), shard)

    def unknown_to(self, session: psycopg.Connection[Any], shard: str) -> list[str]:
        """The same, as a session of that shard sees it."""
        ways = self.ways_from(shard)
        return self._unknown(session, ways[0][1], among_changed=False) if ways else []

    def _unknown(self, reader: psycopg.Connection[Any], scope: Scope, *, among_changed: bool) -> list[str]:
        root = next(table for table in scope.tables if table.placed.kind == "root").here
        among: sql.Composable = sql.SQL("")
        if among_changed:
            among = sql.SQL("EXISTS (SELECT FROM {} AS q WHERE {}) AND ").format(root.queue, root.is_row("r", "q"))
        key = sql.Identifier("r", str(root.placed.way.key))
        rows = reader.execute(
            sql.SQL(
                "SELECT {key}::pg_catalog.text FROM {source} AS r WHERE {among}NOT EXISTS (SELECT FROM {tenants} AS t "
                "WHERE t.tenant OPERATOR(pg_catalog.=) {key}::pg_catalog.text)"
            ).format(key=key, source=root.table.source, among=among, tenants=tenants_of(scope.move))
        )
        return [row[0] for row in rows]

    def add_tenants(self, tenants: Iterable[Tenant], *, come_late: bool) -> None:
        """Both shards of each have him written down. Where he `come_late`, all his rows are noted as changed: what was
        noted of them before was nobody's."""
        known = list(tenants)
        for name in self.shards:
            is_blue = any(lane.blue == name for lane in self.lanes)
            theirs = [each for each in known if name in (each.blue, each.green)]
            everyone.add_tenants(
                self.writer(name), self.context.run, theirs, is_blue=is_blue,
                note=self._noting(is_blue=is_blue) if come_late else None,
            )  # fmt: skip

    def _noting(self, *, is_blue: bool) -> Callable[[Tenant], list[sql.Composed]]:
        def note(tenant: Tenant) -> list[sql.Composed]:
            lane = next(each for each in self.lanes if each.pair == (tenant.blue, tenant.green))
            if tenant.tenant == EVERYBODY or tenant.at_green == is_blue or (not is_blue and lane.back is None):
                return []
            scope = lane.of_tenant(tenant.tenant, to_green=is_blue)
            return [everyone.note_all(table) for table in scope.tables]

        return note

    def place(self, tenants: Iterable[Tenant]) -> None:
        """Both shards of each know on which side he is, durably."""
        known = list(tenants)
        for name in self.shards:
            theirs = [each for each in known if name in (each.blue, each.green)]
            if theirs:
                everyone.place(self.writer(name), self.context.run, theirs)

    def settle(self, tenants: Iterable[Tenant]) -> None:
        """Each shard's list and flags are as the control database has it: whoever died in a switch had not come so far.

        To be called before anything is drained. Raises AssertionError where a shard takes writes that are not its own.
        """
        known = list(tenants)
        self.add_tenants(known, come_late=True)
        self.place(known)
        for name in self.shards:
            is_blue = any(lane.blue == name for lane in self.lanes)
            present = everyone.flags(self.writer(name), self.context.run)
            for each in known:
                if name not in (each.blue, each.green):
                    continue
                is_here, flag = each.at_green != is_blue, fence.of_tenant(self.context.run, each.tenant)
                if each.tenant == EVERYBODY:
                    flag = fence.of_everybody(self.context.run)
                    present = {**present, EVERYBODY: fence.is_open(self.writer(name), flag)}
                if present[each.tenant] and not is_here:
                    raise AssertionError(f"{name} takes writes of {each.tenant!r}, which belong on the other side")
                if is_here and not present[each.tenant]:
                    fence.open_for_writes(self.writer(name), flag)

    # --- comparison -----------------------------------------------------------------------------

    def compare(self, lane: Lane, done: Callable[[int], None]) -> Comparison:
        """The lane's tenants that are at blue: both sides as one snapshot of it has them, while writers run."""
        reader = self._reader(lane.blue)
        with snapshot(reader) as taken:
            if new := self._unknown(reader, lane.there, among_changed=True):
                raise NewTenants(lane.blue, new)
            for there, scope in self.ways_from(lane.blue):
                drain(reader, self.writer(there), scope, scope.tables)
            found = compare(reader, self.writer(lane.green), lane.there, done=done)
        self._forget(reader, lane.blue, taken)
        return found

    # --- sessions -------------------------------------------------------------------------------

    def _reader(self, shard: str) -> psycopg.Connection[Any]:
        if shard not in self._readers:
            self._readers[shard] = self._opened(shard)
        return self._readers[shard]

    def writer(self, shard: str) -> psycopg.Connection[Any]:
        """A session, always the same, that writes silently and has room for the keys of all that the shard is given."""
        if shard not in self._writers:
            connection = self._opened(shard)
            write_silently(connection)
            for lane in self.lanes:
                make_room(connection, list(self._own_tables(lane, shard)))
            self._writers[shard] = connection
        return self._writers[shard]

    def _opened(self, shard: str) -> psycopg.Connection[Any]:
        return self._open.enter_context(self._sessions[shard].open())


def _all_of(ways: list[tuple[str, Scope]]) -> Scope:
    """Every queue of the shard, those of shared rows too."""
    return replace(ways[0][1], shared=True)
