"""How a column's values travel when both sides do not have it alike."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from psycopg import sql

from shardwright.pg.tables import Column

PLAIN_EQUALITY: Final = "OPERATOR(pg_catalog.=)"
_WIDTH: Final = {"smallint": 2, "integer": 4, "bigint": 8}
_INTEGERS: Final = frozenset(_WIDTH)
_VARYING: Final = re.compile(r"character varying(?:\((\d+)\))?")
# A cast to these with their length would cut without a word; without it, what is too long is refused on arrival.
_CUT: Final = re.compile(r"^(character varying|bit varying)\(\d+\)")


def carried(given: str | None, wanted: Column) -> Column:
    """`wanted` as rows of the giving side have it; `given` is the type there, None where it is not known.

    Integers stay as they are: of any width they compare and hash alike, an index on them is of use, and one that is
    too large is refused on arrival. A type that PostgreSQL does not bring may be missing there, or have other values:
    it travels as text.
    """
    if given == wanted.type:
        return wanted
    if is_as_it_is(given, wanted):
        return replace(wanted, is_portable=False)
    if given is not None and is_custom(wanted.type):
        return replace(wanted, is_portable=False, equality=PLAIN_EQUALITY)
    return wanted


def expression(given: str | None, wanted: Column, value: sql.Composable) -> sql.Composable:
    """`value` as rows of the giving side have it in an image."""
    if is_as_it_is(given, wanted):
        return value
    if given is not None and is_custom(wanted.type):
        return sql.SQL("{}::pg_catalog.text").format(value)
    type_ = _CUT.sub(r"\1", wanted.type)
    return sql.SQL("{}::{}").format(value, sql.SQL(type_))  # printed by the server


def is_as_it_is(given: str | None, wanted: Column) -> bool:
    """Whether the giving side's own column serves."""
    return given == wanted.type or {given, wanted.type} <= _INTEGERS


def is_custom(type_: str) -> bool:
    """Whether PostgreSQL does not bring the type; only those are printed with a schema."""
    return "." in type_


def type_there(column: Column) -> str:
    """The type of a `carried` column's values at the giving side, but for the width of integers."""
    return "pg_catalog.text" if is_text_there(column) else column.type


def is_text_there(column: Column) -> bool:
    """Whether a `carried` column travels as a text because its type may be missing at the giving side."""
    return is_custom(column.type) and not column.is_portable and column.equality == PLAIN_EQUALITY


def fits(given: str, wanted: str) -> bool:
    """Whether every value of the one type is a value of the other, as far as their names tell."""
    if given == wanted:
        return True
    if given in _INTEGERS:
        return wanted == "numeric" or (wanted in _INTEGERS and _WIDTH[given] < _WIDTH[wanted])
    own, other = _VARYING.fullmatch(given), _VARYING.fullmatch(wanted)
    if own and wanted == "text":
        return True
    if other and (own or given == "text"):
        return other[1] is None or (own is not None and own[1] is not None and int(own[1]) <= int(other[1]))
    return wanted == "numeric" and given.startswith("numeric(")
