"""A blue and a green database of different shape, and what is found when the one is shown as the other, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from shardwright.bluegreen.describe import describe
from shardwright.bluegreen.images import Images
from shardwright.bluegreen.sample import Tried, round_trip
from shardwright.bluegreen.shape import BACK, FORWARD, images
from shardwright.config import ShapeSection, TenantsSection
from shardwright.move.preflight.finding import Finding
from shardwright.pg.tables import Tables, read_tables
from shardwright.transfer.graph import TableGraph
from shardwright.transfer.place import table_graph
from shardwright.transfer.scope import Scope
from shardwright.transfer.whose import OneTenant


def shape(select: str, **from_: str | tuple[str, ...]) -> ShapeSection:
    """A shape; a table's key of one column may be written as that."""
    tables = {name: (key,) if isinstance(key, str) else key for name, key in from_.items()}
    return ShapeSection.model_validate({"select": select, "from": tables})


@dataclass
class TwoShapes:
    """Both databases; `shapes` lead from blue to green, `back` from green to blue."""

    blue: psycopg.Connection[Any]
    green: psycopg.Connection[Any]
    shapes: Mapping[str, ShapeSection] = field(default_factory=dict)
    back_shapes: Mapping[str, ShapeSection] = field(default_factory=dict)
    blue_section: TenantsSection = field(default_factory=lambda: TenantsSection(root="orgs", key="org_id"))
    green_section: TenantsSection = field(default_factory=lambda: TenantsSection(root="orgs", key="org_id"))
    found: list[Finding] = field(default_factory=list)

    def forward(self) -> Images:
        """Green's tables as blue shows them."""
        return self._images(self.blue, self.green, self.shapes, self.green_section, FORWARD)

    def back(self) -> Images:
        """Blue's tables as green shows them."""
        return self._images(self.green, self.blue, self.back_shapes, self.blue_section, BACK)

    def _images(
        self,
        giving: psycopg.Connection[Any],
        receiving: psycopg.Connection[Any],
        shapes: Mapping[str, ShapeSection],
        section: TenantsSection,
        where: str,
    ) -> Images:
        tables, there = read_tables(giving), read_tables(receiving)
        described, self.found = describe(giving, tables, shapes, where)
        return images(tables, there, shapes, graph_of(there, section), described=described, section=where)

    def try_out(self, *tenants: str, rows: int = 300) -> Tried:
        """The round trip of these tenants."""
        return round_trip(self.blue, self.green, self.forward(), self.back(), tenants or ("1", "2"), rows=rows)

    def facts(self, *tenants: str) -> list[str]:
        """What the round trip finds."""
        return [each.fact for each in self.try_out(*tenants).findings]


def graph_of(tables: Tables, section: TenantsSection) -> TableGraph:
    """The graph, whatever is in its way."""
    return table_graph(tables, section)


def carry(two: TwoShapes, tenant: str) -> dict[str, int]:
    """The tenant's rows are in green as copy and drain would bring them; how many of each table. It is compared."""
    found = two.forward()
    assert found.problems == ()
    scope = Scope(1, OneTenant(tenant), found.receiving, found.giving_side_view)
    brought = {}
    for there in scope.tables:
        here = there.here
        select = sql.SQL("SELECT {} FROM {} AS r WHERE {}").format(here.columns(), here.table.source, here.mine())
        out_of = sql.SQL("COPY ({}) TO STDOUT (FORMAT {})").format(select, here.format)
        into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(
            there.name.identifier, there.target_columns, there.format
        )
        with two.blue.cursor().copy(out_of) as rows, two.green.cursor().copy(into) as written:
            for block in rows:
                written.write(block)
        total = sql.SQL("SELECT count(*), sum({}) FROM {} AS r WHERE {}")
        ours = two.blue.execute(total.format(here.hash_of(), here.table.source, here.mine())).fetchone()
        theirs = two.green.execute(total.format(there.hash_of(), there.table.source, there.mine())).fetchone()
        assert ours == theirs, here.name
        assert ours is not None
        brought[here.shown] = ours[0]
    return brought
