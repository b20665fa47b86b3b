"""What the file is to say after a change: green as the shards, as the operator has written them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from shardwright.bluegreen.afterwards import afterwards
from shardwright.config import load

BEFORE = """
[{0}fleet]
control = "postgresql://control/c"
[{0}shards.eu-0]
url = "${{BLUE}}"
[{0}tenants]
root = "organizations"
key = "organization_id"
placement = "modulo"
[{0}bluegreen]
[{0}bluegreen.shards.green-0]
url = "${{GREEN}}/a"
labels = {{ region = "eu", "odd key" = "é\\"" }}
[{0}bluegreen.shards.plain]
url = "postgresql://u:secret@h/b"
[{0}bluegreen.tenants]
root = "accounts"
key = "account_id"
shared = ["plans", "eu.*"]
keys = {{ logs = "account" }}
"""


@pytest.mark.parametrize(("name", "prefix"), [("shardwright.toml", ""), ("pyproject.toml", "tool.shardwright.")])
def test_every_way_to_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, prefix: str) -> None:
    """Variables stay variables, passwords are not shown, and green's own tables of tenants become the fleet's."""
    monkeypatch.setenv("BLUE", "postgresql://blue/b")
    monkeypatch.setenv("GREEN", "postgresql://u:hidden@green")
    file = tmp_path / name
    file.write_text(BEFORE.format(prefix))
    found = afterwards(load(file))
    assert found.goes == (f"{prefix}tenants", f"{prefix}shards.eu-0", f"{prefix}bluegreen")
    tree = tomllib.loads(found.comes)
    tree = tree["tool"]["shardwright"] if prefix else tree
    assert tree["shards"] == {
        "green-0": {"url": "${GREEN}/a", "labels": {"region": "eu", "odd key": 'é"'}},
        "plain": {"url": "postgresql://u:***@h/b"},
    }
    assert tree["tenants"] == {
        "root": "accounts", "key": "account_id", "shared": ["plans", "eu.*"], "keys": {"logs": "account"},
        "placement": "modulo",
    }  # fmt: skip
