"""Named SQL: a room's `.sql` file as a mapping from name to query."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

from psycopg.sql import SQL

_NAME = re.compile(r"^-- name: (?P<name>\w+)[^\n]*\n", re.MULTILINE)


class Queries(Mapping[str, SQL]):
    """The queries of one `.sql` file, each headed by a line `-- name: its_name`."""

    def __init__(self, text: str) -> None:
        parts = _NAME.split(text)
        self._queries = {
            name: SQL(cast("LiteralString", body.strip().rstrip(";")))
            for name, body in zip(parts[1::2], parts[2::2], strict=True)
        }

    def __getitem__(self, name: str) -> SQL:
        return self._queries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)


@cache
def load(package: str, file: str = "queries.sql") -> Queries:
    """The named queries of `file` in `package`; raises FileNotFoundError where it is not shipped."""
    return Queries(files(package).joinpath(file).read_text(encoding="utf-8"))
