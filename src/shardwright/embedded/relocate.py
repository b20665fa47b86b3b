"""Makes binaries reachable for the account that runs root's servers."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from shardwright.embedded.account import open_parents
from shardwright.embedded.state import short_hash, state_root

_PARTS = ("bin", "lib", "share")


def reachable_copy(folder: Path) -> Path:
    """The `bin` folder of a tree of hard links (copies, across file systems) that every account can enter.

    Made once per installation, under the state root; it stays when the original is uninstalled.
    """
    prefix = folder.parent
    top = state_root() / "binaries" / _identity(folder)
    if not top.is_dir():
        _build(prefix, top)
    return top / prefix.parent.name / prefix.name / folder.name


def _identity(folder: Path) -> str:
    found = (folder / "postgres").stat()
    return f"{short_hash(folder, 8)}-{found.st_ino:x}-{int(found.st_mtime):x}"


def _build(prefix: Path, top: Path) -> None:
    """Beside and renamed into place: whoever sees `top` sees all of it."""
    open_parents(top.parent)
    building = Path(tempfile.mkdtemp(dir=top.parent, prefix=f".{top.name}."))
    try:
        home = building / prefix.parent.name / prefix.name
        for part in _PARTS:
            if (prefix / part).is_dir():
                _link_tree(prefix / part, home / part)
        # A wheel's shared libraries lie beside its package, and its programs find them from there.
        libraries = prefix.parent.parent / f"{prefix.parent.name}.libs"
        if libraries.is_dir():
            _link_tree(libraries, building / libraries.name)
        _open_directories(building)
        building.rename(top)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        if not top.is_dir():  # unless another process was faster
            raise


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=_link, symlinks=True)


def _link(source: str, target: str) -> str:
    """A hard link, except where the file itself is closed to others (umask 077) or on another file system."""
    try:
        if Path(source).stat().st_mode & 0o004:
            os.link(source, target)
            return target
    except OSError:
        pass
    shutil.copy2(source, target)
    mode = Path(target).stat().st_mode
    Path(target).chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
    return target


def _open_directories(top: Path) -> None:
    for folder, _, _ in os.walk(top):
        Path(folder).chmod(0o755)
