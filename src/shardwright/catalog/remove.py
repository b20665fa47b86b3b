"""Takes a shard out of the configuration file: whole or not at all."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from shardwright import config as configuration
from shardwright import errors
from shardwright.catalog.add import alone_with, put_in_place
from shardwright.config import Config


def plan_remove(config: Config, name: str) -> str:
    """The text of the file without the shard's section, all else in it as it was; writes nothing.

    Raises UsageError where the section can't be told from the rest, ConfigError where what is left would not be valid.
    """
    before = config.file.read_bytes().decode("utf-8")
    prefix = ("tool", "shardwright") if config.file.name == "pyproject.toml" else ()
    path = (*prefix, "shards", name)
    after = "".join(_without(before.splitlines(keepends=True), path))
    if _read(after) != _less(_read(before), path):
        raise errors.UsageError(
            reason=f"{config.file} names {name} in a way that can't be taken out by itself",
            help=f"take {name} out of the file by hand; nothing else keeps it",
        )
    configuration.parse(after.removeprefix("\ufeff"), config.file)
    return after


def remove_shard(config: Config, name: str) -> Config:
    """The configuration file does not name the shard any more; gives the configuration as it is now.

    Raises what `plan_remove` raises; the file is as it was then.
    """
    with alone_with(config.file):
        now = configuration.load(config.file)
        put_in_place(now.file, plan_remove(now, name))
    return configuration.load(config.file)


def _without(lines: Sequence[str], path: tuple[str, ...]) -> list[str]:
    """The lines but those from the shard's headers to its last values; comments and gaps behind these stay."""
    kept: list[str] = []
    aside: list[str] = []  # comments and gaps that are the section's only if another value of it follows
    is_inside = False
    for line in lines:
        header = _header(line)
        if header is not None:
            is_inside = header[: len(path)] == path
        if not is_inside:
            kept += [*(aside[1:] if kept and aside and not (kept[-1] + aside[0]).strip() else aside), line]
            aside = []
        elif header is not None or (line.strip() and not line.lstrip().startswith("#")):
            aside = []
        else:
            aside.append(line)
    return [*kept, *aside]


def _header(line: str) -> tuple[str, ...] | None:
    """The path that a line `[a.b]` begins; None for any other line."""
    if not line.lstrip().startswith("["):
        return None
    try:
        tree: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    path = []
    while isinstance(tree, dict) and tree:
        (key, tree), *_ = tree.items()
        path.append(key)
    return tuple(path)


def _read(text: str) -> Any:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError:
        return None


def _less(tree: Any, path: tuple[str, ...]) -> Any:
    """The tree without what is at `path`; a table that is empty then is gone with its last section."""
    if len(path) == 1:
        return {key: value for key, value in tree.items() if key != path[0]}
    inner = _less(tree[path[0]], path[1:])
    return {key: inner if key == path[0] else value for key, value in tree.items() if key != path[0] or inner}
