"""Adds a shard to the configuration file, after a look at it."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from shardwright import config as configuration
from shardwright import errors
from shardwright.config import Config

_VARIABLE = re.compile(r"\$\{\w+\}")


def add_shard(config: Config, name: str, url: str, labels: dict[str, str]) -> Config:
    """The configuration file names the shard too; gives the configuration as it is now.

    `url` may hold `${NAME}`, which is written as it is. The file is put in place whole or not at all. Raises
    UsageError for a password in plain text, ConfigError where the outcome would not be valid.
    """
    if not _VARIABLE.search(url):
        _refuse_password(name, url)
    if any(shard.name == name for shard in config.shards):
        raise errors.UsageError(reason=f"{config.file} has a shard {name} already", help="shardwright shards")
    prefix = "tool.shardwright." if config.file.name == "pyproject.toml" else ""
    lines = [f"[{prefix}shards.{json.dumps(name)}]", f"url = {json.dumps(url)}"]
    if labels:
        pairs = ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in labels.items())
        lines.append(f"labels = {{ {pairs} }}")
    text = config.file.read_text(encoding="utf-8")
    return _replace(config.file, f"{text.rstrip()}\n\n" + "\n".join(lines) + "\n")


def _refuse_password(name: str, url: str) -> None:
    try:
        parsed = configuration.parse_url(url)
    except ValueError as error:
        raise errors.UsageError(reason=f"the URL of {name} can't be read: {error}") from error
    if parsed.password:
        variable = f"{re.sub(r'[^A-Z0-9]', '_', name.upper())}_URL"
        raise errors.UsageError(
            reason=f"the URL of {name} holds a password, which does not belong into {configuration.FILE_NAME}",
            help=f"export {variable}='postgresql://…' && shardwright shards add {name} '${{{variable}}}'",
        )


def _replace(file: Path, text: str) -> Config:
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".shardwright-") as folder:
        beside = Path(folder) / file.name
        beside.write_text(text, encoding="utf-8")
        configuration.load(beside)
        beside.chmod(file.stat().st_mode)
        beside.replace(file)
    return configuration.load(file)
