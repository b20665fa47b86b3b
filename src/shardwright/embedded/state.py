"""Where the local clusters of a project live."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_FOR_ROOT = Path("/var/lib/shardwright")


def state_root() -> Path:
    """The folder over all projects' state: $SHARDWRIGHT_STATE, else the user's state directory, else root's.

    Root's is a system folder, since the account that runs its servers cannot enter root's home.
    """
    if chosen := os.environ.get("SHARDWRIGHT_STATE"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return _FOR_ROOT
    xdg = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (xdg if xdg.is_absolute() else Path.home() / ".local" / "state") / "shardwright"


def state_directory(project: Path) -> Path:
    """The folder of `project` (where its shardwright.toml is) under the state root; nothing is made.

    Two checkouts of one application have different ones, one checkout reached by two paths has one.
    """
    resolved = project.resolve()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", resolved.name).strip("-.") or "project"
    return state_root() / f"{name[:32]}-{short_hash(resolved, 8)}"


def short_hash(path: Path, digits: int) -> str:
    """The first hexadecimal digits of the hash of a path's text."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:digits]
