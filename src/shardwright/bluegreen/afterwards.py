"""What shardwright.toml is to say once a change is finished: the green shards are the fleet."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardwright.config import Config
from shardwright.dsn import redact

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@dataclass(frozen=True)
class Rewriting:
    """The sections that go, by name, and the text that takes their place; `${NAME}` stands in it as in the file."""

    goes: tuple[str, ...]
    comes: str

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"goes": list(self.goes), "comes": self.comes}


def afterwards(config: Config) -> Rewriting:
    """How the file of `config` is to be written, so that green is what it names. A password in it is not shown."""
    tree = tomllib.loads(config.file.read_bytes().decode("utf-8-sig"))
    prefix = ""
    if config.file.name == "pyproject.toml":
        tree, prefix = tree["tool"]["shardwright"], "tool.shardwright."
    change = tree["bluegreen"]
    goes = [*(f"{prefix}shards.{_key(name)}" for name in tree.get("shards", {})), f"{prefix}bluegreen"]
    parts = []
    if own := change.get("tenants"):
        goes.insert(0, f"{prefix}tenants")
        kept = {name: value for name, value in tree.get("tenants", {}).items() if name == "placement"}
        parts.append(_section(f"{prefix}tenants", {**own, **kept}))
    parts += [_section(f"{prefix}shards.{_key(name)}", section) for name, section in change["shards"].items()]
    return Rewriting(tuple(goes), "\n".join(parts))


def _section(name: str, values: Mapping[str, Any]) -> str:
    width = max(len(_key(key)) for key in values)
    lines = [f"{_key(key):<{width}} = {_value(value)}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _text(redact(value)) if isinstance(value, str) else json.dumps(value)


def _key(name: str) -> str:
    return name if name and set(name) <= _BARE else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
