"""The project's configuration with databases of the tests' own in place of those it names."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shardwright import errors
from shardwright.config import Config, load, parse
from shardwright.dsn import DatabaseUrl

# What names servers, people or programs of the real fleet.
_NOT_FOR_TESTS = ("shards", "bluegreen", "alerts", "monitor")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def read(file: Path) -> dict[str, Any]:
    """The sections of `file` as they stand there: no variable is read. Raises ConfigUnreadable."""
    try:
        tree = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.ConfigUnreadable(file=str(file), reason=str(error)) from error
    return dict(tree.get("tool", {}).get("shardwright", {})) if file.name == "pyproject.toml" else tree


def for_tests(file: Path, *, control: str, shards: Mapping[str, str], copy: Path) -> Config:
    """`file`'s configuration, marked as a test's, over these URLs; `copy` has it as a file. Raises ConfigError.

    Labels of shards stay with the shards of the same name, and no variable of what is left out need be set.
    """
    tree = read(file)
    labels = {name: section.get("labels", {}) for name, section in _sections(tree, "shards").items()}
    fleet = {**_sections(tree, "fleet"), "control": control, "environment": "test"}
    fleet["migrations"] = str(file.parent.resolve() / str(fleet.get("migrations", "migrations")))
    changed = {
        **{name: section for name, section in tree.items() if name not in _NOT_FOR_TESTS},
        "fleet": fleet,
        "shards": {name: {"url": url, "labels": labels.get(name, {})} for name, url in shards.items()},
    }
    copy.write_text("".join(f"{json.dumps(name)} = {_toml(value)}\n" for name, value in changed.items()), "utf-8")
    copy.chmod(0o600)
    if file.name != copy.name:
        return load(copy)
    return parse(copy.read_text("utf-8"), file.resolve())


def require_apart(file: Path, servers: list[DatabaseUrl]) -> None:
    """Raises NotDisposable where a server is one of the fleet that `file` names, and that fleet is not disposable."""
    tree = read(file)
    environment = str(_sections(tree, "fleet").get("environment", "production"))
    if environment in ("development", "test"):
        return
    texts = [_sections(tree, "fleet").get("control")]
    texts += [section.get("url") for section in _sections(tree, "shards").values()]
    taken = {url.address for url in map(_url, texts) if url is not None}
    for server in servers:
        if server.address in taken:
            raise errors.NotDisposable(action=f"a fleet of tests on {server.address}", environment=environment)


def _url(text: object) -> DatabaseUrl | None:
    """None for what is no URL, perhaps since its variable is not set."""
    try:
        return DatabaseUrl.parse(_VARIABLE.sub(lambda found: os.environ.get(found[1], ""), str(text)))
    except ValueError:
        return None


def _sections(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
