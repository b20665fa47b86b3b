"""Processes of ours: a copy of this one where nothing but our command lives in it, else a new interpreter.

A copy has everything imported already, which takes a new interpreter most of a second.
"""

from __future__ import annotations

import fcntl
import io
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import IO, Any, NoReturn, Protocol

# Set by the command line. Anybody else's process may have loaded what our code would meet, or hold what it would break.
only_our_command = False


class Process(Protocol):
    """A process that was started; as of subprocess.Popen."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, -n for signal n. Raises subprocess.TimeoutExpired after `timeout` seconds."""

    def kill(self) -> None:
        """It is gone at once."""


def run_apart(main: Callable[[], None], text: str) -> subprocess.CompletedProcess[str]:
    """What `main`, its module's entry point, prints in a process of its own that reads `text` from stdin."""
    if not _may_copy():
        command = [sys.executable, "-P", "-m", main.__module__]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        code = _Copy(main, stdin=io.StringIO(text), stdout=stdout, stderr=stderr).wait()
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess([], code, stdout.read(), stderr.read())


def start_apart(main: Callable[[], None], channel: int, output: IO[Any]) -> Process:
    """A process, in a session of its own, that runs `main`, its module's entry point; its argument is `channel`, a
    file descriptor that it inherits. What it prints goes to `output`.
    """
    if _may_copy():
        return _Copy(main, stdin=io.StringIO(), stdout=output, stderr=output, channel=channel)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", main.__module__, str(channel)],
        pass_fds=[channel],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_search_path())},
        start_new_session=True,  # the terminal's Ctrl-C is for the run's process alone
    )


def _search_path() -> list[str]:
    """Ours, but the standard library first: a revision may have put a folder of its own before it, with a types.py."""
    standard = sysconfig.get_path("stdlib")
    return sorted(sys.path, key=lambda entry: entry != standard)


def _may_copy() -> bool:
    """Whether a copy is as good as a new process: a thread that is not copied may hold a lock for ever."""
    return only_our_command and sys.platform == "linux" and threading.active_count() == 1


class _Copy:
    """A copy of this process that runs nothing but `main`."""

    def __init__(
        self, main: Callable[[], None], *, stdin: IO[str], stdout: IO[Any], stderr: IO[Any], channel: int | None = None
    ) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            _live(main, stdin, stdout.fileno(), stderr.fileno(), channel)
        self._end = os.pidfd_open(self.pid)
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self._code is None:
            if not wait([self._end], timeout):
                raise subprocess.TimeoutExpired([], timeout or 0.0)
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._end)
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)


def _live(main: Callable[[], None], stdin: IO[str], stdout: int, stderr: int, channel: int | None) -> NoReturn:
    """As a new process would, and ends without taking anything of the original along."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if channel is not None:
            os.setsid()
            os.environ["PYTHONPATH"] = os.pathsep.join(_search_path())
        _take_along(stdout, stderr, channel)
        sys.argv = [sys.argv[0], "3"]
        # By lines, for a worker leaves by os._exit, which flushes nothing.
        sys.stdin, sys.stdout, sys.stderr = stdin, open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
        main()
        sys.stdout.flush()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 the user's code may raise anything
        traceback.print_exc()
    finally:
        os._exit(code)


def _take_along(stdout: int, stderr: int, channel: int | None) -> None:
    """Of all that is open only these, as 1, 2 and 3: a lock lives as long as its session, that as its last socket."""
    nothing = os.open(os.devnull, os.O_RDWR)
    files = (nothing, stdout, stderr, nothing if channel is None else channel)
    wanted = [fcntl.fcntl(file, fcntl.F_DUPFD, len(files)) for file in files]  # none in another's place
    for place, each in enumerate(wanted):
        os.dup2(each, place)
    os.closerange(len(wanted), os.sysconf("SC_OPEN_MAX"))
