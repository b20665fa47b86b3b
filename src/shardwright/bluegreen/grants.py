"""What roles may do on blue, and may not on green: what an application would meet at its first write there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg

from shardwright.move.preflight.said import listed, quoted
from shardwright.pg.queries import load
from shardwright.transfer.graph import TableGraph

_queries = load(__package__, "grants.sql")
Thing: TypeAlias = tuple[str, str, str]  # TABLE, SEQUENCE or SCHEMA; its schema; its name
Rights: TypeAlias = Mapping[Thing, frozenset[str]]


@dataclass(frozen=True)
class Lack:
    """What one role lacks on green; `is_there`: whether green's server has the role at all."""

    role: str
    is_there: bool
    rights: Rights

    def __str__(self) -> str:
        things = listed(name or f"schema {space}" for _, space, name in self.rights)
        fact = f"role {self.role} may not {', '.join(sorted(set().union(*self.rights.values())))} on {things}"
        return fact if self.is_there else f"{fact}: it is not on that server"

    @property
    def grants(self) -> list[str]:
        """The statements that give it all, one for each kind of thing and rights."""
        alike: dict[tuple[str, frozenset[str]], list[str]] = defaultdict(list)
        for (kind, space, name), rights in self.rights.items():
            alike[kind, rights].append(quoted(space, name) if name else quoted(space))
        role = "PUBLIC" if self.role == "public" else quoted(self.role)
        return [
            f"GRANT {', '.join(sorted(rights))} ON {kind} {', '.join(names)} TO {role}"
            for (kind, rights), names in alike.items()
        ]


def lacking(
    blue: psycopg.Connection[Any], green: psycopg.Connection[Any], blue_graph: TableGraph, green_graph: TableGraph
) -> list[Lack]:
    """For each role what it may do on blue with tables, sequences and schemas, and may not on green.

    With a table that only green has, what it may do with every table of blue that is no ignored one. Owners are roles
    as any. Sessions in autocommit; changes nothing. Raises psycopg.Error.
    """
    wanted, known = _held(blue), _things(blue_graph)
    new = _things(green_graph) - known
    for rights in wanted.values():
        usual = frozenset.intersection(*(rights.get(thing, frozenset()) for thing in known))
        rights.update({thing: usual for thing in new if usual})
    fields = ("kind", "space", "name", "role", "privilege")
    rows = [
        dict(zip(fields, (*thing, role, privilege), strict=True))
        for role, rights in wanted.items()
        for thing, which in rights.items()
        for privilege in which
    ]
    return list(_by_role(green.execute(_queries["lacking"], {"wanted": json.dumps(rows)})))


def _things(graph: TableGraph) -> set[Thing]:
    names = (each.table.name for each in graph.tables if each.kind != "ignored")
    return {("TABLE", name.schema, name.name) for name in names}


def _held(blue: psycopg.Connection[Any]) -> dict[str, dict[Thing, frozenset[str]]]:
    found: dict[str, dict[Thing, frozenset[str]]] = defaultdict(dict)
    for kind, space, name, role, rights in blue.execute(_queries["held"]):
        found[role][kind, space, name] = frozenset(rights)
    return found


def _by_role(rows: Any) -> Iterator[Lack]:
    found: dict[tuple[str, bool], dict[Thing, frozenset[str]]] = defaultdict(dict)
    for kind, space, name, role, is_there, rights in rows:
        found[role, is_there][kind, space, name] = frozenset(rights)
    for (role, is_there), lacks in found.items():
        yield Lack(role, is_there, lacks)
