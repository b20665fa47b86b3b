"""Adds a shard to the configuration file: whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shardwright import config as configuration
from shardwright import errors
from shardwright.config import Config
from shardwright.shard import Shard

_VARIABLE = re.compile(r"\$\{\w+\}")
_IN_AUTHORITY = re.compile(r"^[^/]*//[^:@/]*:(?P<password>[^/]*)@")
_IN_PARAMETERS = re.compile(r"[?&](?:ssl)?password=(?P<password>[^&]*)")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class NewShard:
    """A shard that can be added: the text of the file with it, and the shard as it would be."""

    text: str
    shard: Shard


def plan_add(config: Config, name: str, url: str, labels: dict[str, str]) -> NewShard:
    """What `add_shard` would write; writes nothing.

    Raises UsageError for a password in plain text or a name that is taken, ConfigError where the outcome would not
    be valid.
    """
    if any(shard.name == name for shard in config.shards + config.green):
        raise errors.UsageError(reason=f"{config.file} has a shard {name} already", help="shardwright shards")
    if _holds_password(url):
        variable = f"{re.sub(r'[^A-Z0-9]', '_', name.upper())}_URL"
        raise errors.UsageError(
            reason=f"the URL of {name} holds a password, which does not belong into {config.file.name}",
            help=f"export {variable}='postgresql://…'; shardwright shards add {name} '${{{variable}}}'",
        )
    before = config.file.read_bytes().decode("utf-8")
    text = before + _section(config.file, name, url, labels, before)
    try:
        after = configuration.parse(text.removeprefix("\ufeff"), config.file)
    except errors.ConfigUnreadable as error:
        raise errors.UsageError(
            reason=f"{config.file} names its shards in a way that can't be added to at its end ({error.reason})",
            help="write each shard as a section of its own: [shards.NAME]",
        ) from error
    return NewShard(text, next(shard for shard in after.shards if shard.name == name))


def add_shard(config: Config, name: str, url: str, labels: dict[str, str]) -> Config:
    """The configuration file names the shard too, all else in it as it was; gives the configuration as it is now.

    `url` may hold `${NAME}`, which is written as it is. Raises what `plan_add` raises.
    """
    with alone_with(config.file):
        now = configuration.load(config.file)
        put_in_place(config.file, plan_add(now, name, url, labels).text)
    return configuration.load(config.file)


def _holds_password(url: str) -> bool:
    """Whether a password, or part of one, stands there as it is and not as `${NAME}`."""
    found = [match["password"] for pattern in (_IN_AUTHORITY, _IN_PARAMETERS) for match in pattern.finditer(url)]
    return any(_VARIABLE.sub("", password) for password in found)


def _section(file: Path, name: str, url: str, labels: dict[str, str], before: str) -> str:
    prefix = "tool.shardwright." if file.name == "pyproject.toml" else ""
    lines = [f"[{prefix}shards.{_key(name)}]", f"url = {_text(url)}"]
    if labels:
        pairs = ", ".join(f"{_key(key)} = {_text(value)}" for key, value in labels.items())
        lines.append(f"labels = {{ {pairs} }}")
    line_end = "\r\n" if "\r\n" in before else "\n"
    gap = "" if not before.strip() else line_end if before.endswith("\n") else line_end * 2
    return gap + line_end.join([*lines, ""])


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    """A TOML string; JSON's escapes but for \\u of two halves, which TOML does not know."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@contextmanager
def alone_with(file: Path) -> Iterator[None]:
    """Of two that change it at once, one waits: through a lock on the folder, since the file itself is replaced."""
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def put_in_place(file: Path, text: str) -> None:
    """The text is in place of the file, with its mode and owner, whole or not at all."""
    present = file.stat()
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".shardwright-") as folder:
        beside = Path(folder) / file.name
        beside.write_bytes(text.encode("utf-8"))
        beside.chmod(present.st_mode)
        if (present.st_uid, present.st_gid) != (beside.stat().st_uid, beside.stat().st_gid):
            with suppress(PermissionError):  # somebody of the group, in a folder that they may write to
                os.chown(beside, present.st_uid, present.st_gid)
        beside.replace(file)
