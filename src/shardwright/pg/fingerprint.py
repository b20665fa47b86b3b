"""What a database's schema really is, and a hash of it.

One query over the system catalogs (`fingerprint.sql`) lists every object with its definition; the hash of
that list tells shards apart, the list itself says what differs. Two databases that ran the same revisions have
the same fingerprint, whatever their OIDs, the order in which objects were made, or what was dropped in
between; so has a database restored from a dump of either.

Left out on purpose, because it may differ between shards that serve the application alike:

- what belongs to a place: owners, grants and default privileges, tablespaces, settings of the database and of
  roles, options of foreign servers and user mappings, publications, subscriptions;
- what no query notices: comments, security labels, the order of columns in a table (a column dropped and added
  again comes last), the name of a NOT NULL constraint, whether a child also declared what it inherits;
- what is data: rows, the position and the range of a sequence with its steps (shards are to draw different numbers, so
  that a tenant can be moved), whether a materialized view is filled;
- what an extension brought, beyond its name, version and schema; and the C-level objects that come from
  extensions only (base types, languages, access methods, conversions, transforms, text search parsers and
  templates);
- the schema `shardwright`, and triggers that call its functions: a tenant on the move is no drift.

The definitions are PostgreSQL's own printing of them. PostgreSQL 15 prints views in another way than 16 to 18,
so compare fingerprints only between servers of the same major version.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from shardwright.pg.queries import load
from shardwright.pg.spelling import SPELLING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

_QUERIES: Final = load("shardwright.pg", "fingerprint.sql")

_SETTINGS: Final = {
    "transaction_read_only": "on",
    # Everything outside pg_catalog is printed with its schema. pg_temp must be named, and last: else it comes
    # first, and a temporary table called pg_class would be read instead of the catalog.
    "search_path": "pg_catalog, pg_temp",
    # How names and constants are printed.
    **SPELLING,
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    # The planner takes this query for far dearer than it is, and would compile it for longer than it runs.
    "jit": "off",
}

# The one expression known to change when its own printing is run again, as by a dump and restore: a varchar
# compared with a list, which SQLAlchemy's Enum(native_enum=False) writes. Brought to its second form.
_VARCHAR = r"'(?:[^']|'')*'::character varying"
_VARCHAR_LIST: Final = re.compile(rf"\(ARRAY\[({_VARCHAR}(?:, {_VARCHAR})*)\]\)::text\[\]")


@dataclass(frozen=True, order=True)
class SchemaObject:
    """One object: `column`, `public.tasks.title`, `text NOT NULL`. Kind and name together are unique."""

    kind: str
    name: str
    definition: str


@dataclass(frozen=True)
class Fingerprint:
    """A schema at one moment. Equal when the digests are; `differences` says where they are not."""

    digest: str
    objects: tuple[SchemaObject, ...] = field(repr=False, compare=False)

    @property
    def short(self) -> str:
        """The first eight digits, for people."""
        return self.digest[:8]


@dataclass(frozen=True)
class Difference:
    """An object that is not the same on both sides; None on the side that does not have it."""

    kind: str
    name: str
    left: str | None
    right: str | None


def fingerprint(connection: psycopg.Connection[Any]) -> Fingerprint:
    """Read the schema of the connected database: as committed, or as the open transaction sees it.

    Changes nothing: settings, locks and transaction are afterwards what they were before. Needs no privilege
    but CONNECT. Costs four round trips and about a tenth of a second at 200 tables. PostgreSQL prints under
    ACCESS SHARE locks, so it waits for DDL that runs on a table: give the session a `lock_timeout`.

    Raises `psycopg.Error`: connection lost, transaction already failed, lock not to be had, or an object
    dropped at the same moment.
    """
    # Rolled back even when all is well: in the caller's transaction this is a savepoint, and locks and
    # SET LOCAL outlive a savepoint that is released.
    with (
        connection.transaction(force_rollback=True),
        connection.cursor(row_factory=tuple_row) as cursor,
    ):
        cursor.execute(_QUERIES["fix_settings"], (Jsonb(_SETTINGS),), prepare=False)
        rows = cursor.execute(_QUERIES["fingerprint"], prepare=False).fetchall()
    return _of(rows)


def differences(left: Fingerprint, right: Fingerprint) -> list[Difference]:
    """Say object by object what differs, sorted by kind and name; empty when the fingerprints are equal."""
    ours, theirs = _by_name(left), _by_name(right)
    return [
        Difference(*key, ours.get(key), theirs.get(key))
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]


def _of(rows: Iterable[tuple[str, str, str]]) -> Fingerprint:
    # Sorted here and not in SQL: by code point, whatever the database's collation.
    # No text of PostgreSQL holds a NUL, so it separates safely.
    settled = ((kind, name, _settled(definition)) for kind, name, definition in rows)
    ordered = sorted(settled, key="\0".join)
    listing = "\0".join("\0".join(row) for row in ordered)
    return Fingerprint(
        digest=hashlib.sha256(listing.encode()).hexdigest(),
        objects=tuple(SchemaObject(*row) for row in ordered),
    )


def _settled(definition: str) -> str:
    return _VARCHAR_LIST.sub(_cast_each, definition) if "::text[]" in definition else definition


def _cast_each(varchars: re.Match[str]) -> str:
    return "ARRAY[" + re.sub(_VARCHAR, r"(\g<0>)::text", varchars[1]) + "]"


def _by_name(schema: Fingerprint) -> dict[tuple[str, str], str]:
    return {(o.kind, o.name): o.definition for o in schema.objects}
