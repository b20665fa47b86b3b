"""The operating-system account a local server runs under: ours, or for root one that PostgreSQL accepts."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shardwright.errors import DirectoryNotPrivate, DirectoryOutOfReach

_STAND_INS = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """Who owns a cluster's files and processes; `switched` when that is not the caller (who then is root)."""

    name: str
    uid: int
    gid: int
    switched: bool

    def run(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        new_session: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """The finished process of `command` under this account, its stderr in its stdout. Raises OSError."""
        return subprocess.run(
            [str(word) for word in command],
            user=self.uid if self.switched else None,
            group=self.gid if self.switched else None,
            extra_groups=[] if self.switched else None,
            env={**_environment(), **(environment or {})},
            cwd="/",  # the caller's folder may be out of the account's reach, and some programs mind
            umask=0o077,
            start_new_session=new_session,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    def reaches(self, path: Path) -> bool:
        """Whether the account can enter the directory `path`, asked of the system and not computed from modes."""
        if not self.switched:
            return os.access(path, os.X_OK)
        return self.run(["/bin/sh", "-c", 'test -d "$1" && test -x "$1"', "sh", path]).returncode == 0


def server_account() -> Account:
    """The account servers run under: the caller's own; for root `postgres`, or `nobody` where there is none."""
    uid = os.geteuid()
    if uid != 0:
        return Account(str(uid), uid, os.getegid(), switched=False)
    entry = _stand_in()
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switched=True)


def _stand_in() -> pwd.struct_passwd:
    for name in _STAND_INS[:-1]:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return pwd.getpwnam(_STAND_INS[-1])


def private_directory(path: Path, account: Account) -> None:
    """Make `path` (and what is missing above it), or verify that nobody but `account` (and root) can enter it.

    Raises DirectoryNotPrivate where somebody else made it first, DirectoryOutOfReach.
    """
    open_parents(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    _hand_over(path, account)
    verify_private(path, account)
    if not account.reaches(path):
        raise DirectoryOutOfReach(path, account.name)


def verify_private(path: Path, account: Account) -> None:
    """Raise DirectoryNotPrivate unless `path` is a directory that only `account` (and root) can enter."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise DirectoryNotPrivate(path, "it is not a directory")
    if found.st_uid != account.uid:
        raise DirectoryNotPrivate(path, f"it belongs to uid {found.st_uid}, not to {account.name}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise DirectoryNotPrivate(path, f"others can enter it (mode {stat.S_IMODE(found.st_mode):o})")


def _hand_over(path: Path, account: Account) -> None:
    """Give root's new directory to the account; an empty one, whoever of two starters has made it."""
    found = path.lstat()
    if account.switched and found.st_uid == 0 and stat.S_ISDIR(found.st_mode) and not any(path.iterdir()):
        os.chown(path, account.uid, account.gid)


def open_parents(path: Path) -> None:
    """Make the missing folders of `path`; root's are open to enter whatever the umask, for the account's sake."""
    if path.is_dir():
        return
    open_parents(path.parent)
    path.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        path.chmod(0o755)


def _environment() -> dict[str, str]:
    """Ours and short: PG* variables would steer the server, and other accounts need not see our secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "TZ": "UTC"}
