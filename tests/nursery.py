"""Processes of Python that begin with everything imported: copies of one that did nothing else, instead of new ones.

Most of what a test of processes costs is the start of interpreters, a second each. With `Nursery.open` whatever starts
`sys.executable` gets a process of its own as before (pid, signals, exit code, files, folder, environment, sys.path,
`__main__`), only that the modules below are loaded in it. A test whose promise is about the start of an interpreter
says `@pytest.mark.new_interpreter`; `pytest --new-interpreters` is without copies altogether, and so is `make faults`.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen as _New  # before another takes its place
from types import ModuleType
from typing import Any, NoReturn

PRELOADED = [
    *("alembic.autogenerate", "alembic.command", "alembic.config", "dbos"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.orm"),
    *("shardwright.cli.main", "shardwright.fleet", "shardwright.migration.apply", "shardwright.migration.render"),
    *("shardwright.runs.engine", "shardwright.runs.worker"),
]
_UNDERSTOOD = {"cwd", "env", "stdin", "stdout", "stderr", "text", "pass_fds", "start_new_session"}
_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER
_ASIDE = 1000  # file descriptors from here on are free


class Nursery:
    """The process that is copied, from where the copies are wanted."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._one_at_a_time = threading.Lock()
        self._started: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self.is_open = True

    def close(self) -> None:
        """There are no more copies; those that live go on."""
        self.is_open = False
        if self._started is not None:
            process, channel = self._started
            channel.close()
            process.wait()

    def suits(self, args: Any, options: Mapping[str, Any]) -> bool:
        """Whether a copy would be as good as what was asked for."""
        return (
            self.is_open
            and isinstance(args, (list, tuple))
            and args[0] == sys.executable
            and _program(args)[0] is not None
            and {name for name, value in options.items() if value is not None} <= _UNDERSTOOD
            and _settings(options.get("env") or os.environ) == _settings(self._environment)
        )

    def bear(self, order: dict[str, Any], files: Sequence[int]) -> int:
        """The process id of a new child of this process."""
        with os.fdopen(os.memfd_create("order"), "wb+", buffering=0) as paper, self._one_at_a_time:
            paper.write(json.dumps(order).encode())
            channel = self._channel()
            _adopt_orphans(True)
            try:
                socket.send_fds(channel, [b"!"], [paper.fileno(), *files])
                answer = b""
                while not answer.endswith(b"\n"):
                    piece = channel.recv(100)
                    assert piece, "the nursery has ended"
                    answer += piece
            finally:
                _adopt_orphans(False)
        return int(answer)

    def _channel(self) -> socket.socket:
        if self._started is None:
            ours, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-P", __file__, str(theirs.fileno())]
                process = _New(
                    command, pass_fds=[theirs.fileno()], cwd="/", env=self._environment, stdin=subprocess.DEVNULL
                )
            self._started = process, ours
        return self._started[1]


def popen_of(nursery: Nursery) -> type[subprocess.Popen[Any]]:
    """What takes the place of subprocess.Popen."""

    class Popen(_New[Any]):
        def __init__(self, args: Any, *positional: Any, **options: Any) -> None:
            self._is_copy = not positional and nursery.suits(args, options)
            super().__init__(args, *positional, **options)

        def _execute_child(self, args: Any, *details: Any) -> None:
            if not self._is_copy:
                super()._execute_child(args, *details)  # type: ignore[misc]
                return
            _, _, _, pass_fds, cwd, env, _, _, _, *pipes = details[:15]
            start_new_session = details[20]
            stdin, stdout, stderr = (
                standard if pipe == -1 else pipe for standard, pipe in enumerate((pipes[0], pipes[3], pipes[5]))
            )
            order = {
                "args": [os.fspath(each) for each in args],
                "cwd": os.fspath(cwd or Path.cwd()),
                "env": dict(os.environ if env is None else env),
                "pass_fds": list(pass_fds),
                "start_new_session": bool(start_new_session),
            }
            self.pid = nursery.bear(order, [stdin, stdout, stderr, *pass_fds])
            self._child_created = True
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    return Popen


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter looks at when it starts, but for its path."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("PYTHON", "LC_", "LANG")) and name != "PYTHONPATH"
    }


def _adopt_orphans(wanted: bool) -> None:
    ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, int(wanted), 0, 0, 0)


def _program(args: Sequence[str]) -> tuple[str | None, str, list[str]]:
    """How Python is told what to run: `-m`, `-c` or a file (None: in another way), what, and its arguments."""
    rest = [os.fspath(each) for each in args[1:]]
    if rest[:1] == ["-P"]:
        rest = rest[1:]
    if rest[:1] in (["-m"], ["-c"]) and len(rest) > 1:
        return rest[0], rest[1], rest[2:]
    if rest and not rest[0].startswith("-"):
        return "file", rest[0], rest[1:]
    return None, "", []


# --- the process that is copied ----------------------------------------------------------------


def _serve(channel: socket.socket) -> dict[str, Any] | None:
    """In each copy: what it is to run. In the original: None, when nobody wants copies any more."""
    while True:
        message, files, _, _ = socket.recv_fds(channel, 1, 100)
        if not message:
            return None
        between = os.fork()
        if between == 0:
            copy = os.fork()
            if copy == 0:
                return _take(files)
            channel.send(str(copy).encode())
            os._exit(0)
        os.waitpid(between, 0)  # now the copy is an orphan, and adopted by who wanted it
        for file in files:
            os.close(file)
        channel.send(b"\n")


def _take(files: Sequence[int]) -> dict[str, Any]:
    """This process has the files, the folder and the environment of a new one."""
    aside = [fcntl.fcntl(file, fcntl.F_DUPFD, _ASIDE) for file in files]
    os.closerange(0, _ASIDE)
    with os.fdopen(aside[0], "rb") as paper:
        paper.seek(0)
        order: dict[str, Any] = json.loads(paper.read())
    for place, file in zip([0, 1, 2, *order["pass_fds"]], aside[1:], strict=True):
        os.dup2(file, place)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    if order["start_new_session"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["cwd"])
    ours = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    theirs = [entry for entry in order["env"].get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = dict.fromkeys([*theirs, *sys.path[len(ours) :]])
    os.environ.clear()
    os.environ.update(order["env"])
    return order


def _main_module(order: dict[str, Any]) -> tuple[ModuleType, Any]:
    """`__main__` as the interpreter would make it, and its code."""
    way, what, arguments = _program(order["args"])
    safe = "-P" in order["args"][:2]
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    if way == "-m":
        sys.path[:0] = [] if safe else [str(Path.cwd())]
        spec = importlib.util.find_spec(what)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{what}.__main__")
        assert spec is not None
        assert spec.origin is not None
        module.__spec__, module.__package__, module.__file__ = spec, spec.parent, spec.origin
        code = spec.loader.get_code(spec.name)  # type: ignore[union-attr]
        argument = spec.origin
    elif way == "-c":
        sys.path[:0] = [] if safe else [""]
        code = compile(what, "<string>", "exec")
        argument = "-c"
    else:
        sys.path[:0] = [] if safe else [str(Path(what).resolve().parent)]
        code = compile(Path(what).read_text(encoding="utf-8"), what, "exec")
        module.__file__ = argument = what
    sys.argv = [argument, *arguments]
    sys.orig_argv = order["args"]
    return module, code


def _code_of(program: Callable[[], None]) -> int:
    """The exit code of a program that ran to its end, having told why; -2 where it was interrupted."""
    try:
        program()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        return -signal.SIGINT
    except BaseException:  # noqa: BLE001 anything is told, as by an interpreter
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """As an interpreter ends, but without taking everything down that was copied: that costs most of a copy."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for output in (
        sys.stdout,
        sys.__stdout__,
        sys.stderr,
        sys.__stderr__,
    ):  # a program may have put another in its place
        with suppress(OSError, ValueError, AttributeError):
            output.flush()  # type: ignore[union-attr]
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in PRELOADED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a thread would not be copied"
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        order = _serve(channel)
        channel.detach()
    if order is None:
        return
    module, code = _main_module(order)
    sys.modules["shardwright_nursery"], sys.modules["__main__"] = sys.modules["__main__"], module
    _end(_code_of(lambda: exec(code, module.__dict__)))  # noqa: S102 that is what it was started for


if __name__ == "__main__":
    _main()
