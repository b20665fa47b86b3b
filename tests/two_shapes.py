"""A blue and a green database of different shape, and what is found when the one is shown as the other, for tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from shardwright.bluegreen.shapes.check import Shown, check_shapes, show
from shardwright.bluegreen.shapes.images import Images
from shardwright.bluegreen.shapes.sample import Tried, round_trip
from shardwright.config import ShapeSection, TenantsSection
from shardwright.move.preflight.finding import Finding
from shardwright.pg.tables import read_tables
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

    def show(self) -> Shown:
        """Both directions."""
        blue, green = read_tables(self.blue), read_tables(self.green)
        graphs = table_graph(blue, self.blue_section), table_graph(green, self.green_section)
        return show(self.blue, self.green, graphs, self.shapes, self.back_shapes)

    def forward(self) -> Images:
        """Green's tables as blue shows them."""
        return self.show().there

    def back(self) -> Images:
        """Blue's tables as green shows them."""
        return self.show().back

    def check(self, allow: Collection[str] = ()) -> list[Finding]:
        """What all checks find, with tenant 1."""
        return check_shapes(self.blue, self.green, self.show(), ["1"], allow=allow)

    def try_out(self, *tenants: str, rows: int = 300) -> Tried:
        """The round trip of these tenants."""
        return round_trip(self.blue, self.green, self.forward(), self.back(), tenants or ("1", "2"), rows=rows)

    def facts(self, *tenants: str) -> list[str]:
        """What the round trip finds."""
        return [each.fact for each in self.try_out(*tenants).findings]


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
