"""The tables that an entry of [tenants] names: `table`, `schema.table`, or a pattern."""

from __future__ import annotations

import difflib
import fnmatch
import json
from collections.abc import Sequence
from dataclasses import dataclass

from shardwright.pg.tables import TableName, Tables

_PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class Named:
    """What one entry names; exactly where it is a table's own name, which counts for more than a pattern."""

    tables: tuple[TableName, ...]
    is_exact: bool


def find(tables: Tables, entry: str) -> Named:
    """The tables, partitions too, that `entry` names; a name without schema is looked for in the search path."""
    names = {name: (tables.shown(name), str(name)) for name in tables.by_name}
    exact = tuple(name for name, spellings in names.items() if entry in spellings)
    if exact or not _PATTERN & set(entry):
        return Named(exact, is_exact=True)
    found = (name for name, spellings in names.items() if any(fnmatch.fnmatchcase(each, entry) for each in spellings))
    return Named(tuple(found), is_exact=False)


def guess(tables: Tables, entry: str) -> str | None:
    """The table that was probably meant: of that name in another schema, or of a name like it."""
    elsewhere = [str(name) for name in tables.by_name if name.name == entry]
    close = elsewhere or difflib.get_close_matches(entry, [tables.shown(name) for name in tables.by_name], n=1)
    return close[0] if close else None


def quoted(name: str) -> str:
    """`name` as a text of TOML."""
    return json.dumps(name, ensure_ascii=False)


def listed(names: Sequence[str]) -> str:
    """`names` as a list of TOML."""
    return f"[{', '.join(map(quoted, names))}]"
