"""The Alembic history: which revisions there are, and which of them lie between two states of a shard.

Knows files, not databases. A shard's state is the tuple of its version rows, sorted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError

from shardwright import errors

if TYPE_CHECKING:  # a worker does without the configuration, whose reader is slow to load
    from shardwright.config import Config

State = tuple[str, ...]


@dataclass(frozen=True)
class ScriptLocation:
    """Where an Alembic history is, as a value that travels to worker processes."""

    project: Path
    directory: Path
    version_table: str

    @classmethod
    def from_config(cls, config: Config) -> ScriptLocation:
        """Where shardwright.toml says that it is."""
        return cls(config.project, config.migrations, config.fleet.version_table)

    def alembic_config(self) -> AlembicConfig:
        """Alembic's configuration: alembic.ini or [tool.alembic] where there is one, and our script directory."""
        config = AlembicConfig(file_=self._ini, toml_file=self._pyproject)
        # Alembic takes a relative entry from the working directory; ours may be any.
        paths = [str(self.project / path) for path in config.get_prepend_sys_paths_list() or [str(self.project)]]
        versions = [str(self.project / path) for path in config.get_version_locations_list() or []]
        config.set_main_option("path_separator", "os")
        config.set_main_option("prepend_sys_path", _escaped(os.pathsep.join(paths)))
        if versions:
            config.set_main_option("version_locations", _escaped(os.pathsep.join(versions)))
        config.set_main_option("script_location", _escaped(str(self.directory)))
        return config

    def stamp(self) -> frozenset[tuple[str, int, int]]:
        """Another value than before once a file of the history was changed, added or taken away."""
        versions = self.alembic_config().get_version_locations_list() or [str(self.directory / "versions")]
        files = [self.directory / "env.py", *(file for place in versions for file in Path(place).rglob("*.py*"))]
        seen = ((file, file.stat()) for file in files if file.parent.name != "__pycache__")
        return frozenset((str(file), told.st_mtime_ns, told.st_size) for file, told in seen)

    @property
    def _ini(self) -> str | None:
        places = (
            self.project / "alembic.ini",
            self.directory.parent / "alembic.ini",
            self.directory / "alembic.ini",
        )
        return next((str(place) for place in places if place.is_file()), None)

    @property
    def _pyproject(self) -> str | None:
        file = self.project / "pyproject.toml"
        return str(file) if file.is_file() else None


def _escaped(value: str) -> str:
    """As configparser wants it."""
    return value.replace("%", "%%")


def newest_revisions(location: ScriptLocation) -> State:
    """The heads of the history there, whose files are loaded again only if one of them is another than the last time.

    For whoever asks every few seconds. Raises NoMigrations or HistoryBroken.
    """
    _require_env(location)
    with _loading(location):
        stamp = location.stamp()
    return _newest(location, stamp)


@lru_cache(maxsize=4)
def _newest(location: ScriptLocation, stamp: frozenset[tuple[str, int, int]]) -> State:
    del stamp
    return History(location).heads


def _require_env(location: ScriptLocation) -> None:
    if not (location.directory / "env.py").is_file():
        raise errors.NoMigrations(directory=str(location.directory), reason="it has no env.py")


@contextmanager
def _loading(location: ScriptLocation) -> Iterator[None]:
    try:
        with redirect_stdout(sys.stderr):  # ours may have to hold one JSON document
            yield
    except (Exception, SystemExit) as error:  # loading imports the user's files, which may raise anything
        place = _place(error, location.directory)
        reason = f"{type(error).__name__}: {_first_line(error)}{place}"
        if isinstance(error, KeyError) and not place:  # Alembic's own, while it puts the files in order
            reason = f"a revision follows {error}, which no file has"
        raise errors.HistoryBroken(directory=str(location.directory), reason=reason) from error


class History:
    """A loaded Alembic history."""

    def __init__(self, location: ScriptLocation) -> None:
        """Raises NoMigrations or HistoryBroken."""
        self.location = location
        _require_env(location)
        with _loading(location):
            self.config = location.alembic_config()
            self.script = ScriptDirectory.from_config(self.config)
            sys.path[:] = dict.fromkeys(sys.path)  # Alembic puts the project there once more each time
            self._revisions: dict[str, Script] = {script.revision: script for script in self.script.walk_revisions()}

    @cached_property
    def heads(self) -> State:
        """The newest revisions; several where the history has branches."""
        return tuple(sorted(self.script.get_heads()))

    @property
    def revisions(self) -> tuple[str, ...]:
        """Every revision, newest first."""
        return tuple(self._revisions)

    def unknown(self, state: State) -> tuple[str, ...]:
        """Those of `state` that no revision file has."""
        return tuple(revision for revision in state if revision not in self._revisions)

    def ancestry(self, state: Iterable[str]) -> frozenset[str]:
        """Every revision that a shard in `state` has had applied, itself included. Raises NoSuchRevision."""
        seen: set[str] = set()
        todo = list(state)
        while todo:
            revision = todo.pop()
            if revision not in self._revisions:
                raise self._no_such_revision(revision, "it came from other code")
            if revision not in seen:
                seen.add(revision)
                todo += self._revisions[revision]._all_down_revisions
        return frozenset(seen)

    def step(self, revision: str, *, upwards: bool) -> RevisionStep:
        """The one step over `revision`."""
        make = MigrationStep.upgrade_from_script if upwards else MigrationStep.downgrade_from_script
        return make(self.script.revision_map, self._revisions[revision])

    def steps(self, revisions: Iterable[str]) -> list[RevisionStep]:
        """The steps up over `revisions`, in their order."""
        return [self.step(revision, upwards=True) for revision in revisions]

    def after(self, state: State, steps: Iterable[RevisionStep]) -> State:
        """The state a shard in `state` has once `steps` are done: the newest of all it has had applied."""
        applied = set(self.ancestry(state))
        for step in steps:
            (applied.add if step.is_upgrade else applied.discard)(step.revision.revision)
        below = {down for revision in applied for down in self._revisions[revision]._all_down_revisions}
        return tuple(sorted(applied - below))

    def resolve(self, target: str) -> State:
        """The full revision ids that `target` (a name as Alembic takes it) stands for; () for `base`.

        A relative name (`+2`) stands for itself: what it means depends on the shard. Raises SeveralHeads,
        NoSuchRevision.
        """
        if target.startswith(("+", "-")):
            return (target,)
        if target == "head" and len(self.heads) > 1:
            raise errors.SeveralHeads(directory=str(self.location.directory), heads=", ".join(self.heads))
        if not target.strip():
            raise self._no_such_revision(target, "it is empty")
        try:
            found = self.script.get_revisions(target)
        except CommandError as error:
            raise self._no_such_revision(target, _first_line(error)) from error
        return tuple(sorted(script.revision for script in found))

    def upgrade(self, state: State, target: str) -> list[RevisionStep]:
        """The steps up from `state` to `target`, in order; none where it is there already.

        Raises NoSuchRevision where the target can't be reached from there.
        """
        try:
            return self.script._upgrade_revs(target, state)  # type: ignore[arg-type]  # Alembic passes tuples too
        except CommandError as error:
            raise self._no_such_revision(target, _first_line(error)) from error

    def downgrade(self, state: State, target: str) -> list[RevisionStep]:
        """The steps down from `state` to `target`, in order; none where it is there, or below, already.

        Raises NoSuchRevision.
        """
        if not target.startswith("-") and self.ancestry(state) <= self.ancestry(self.resolve(target)):
            return []
        try:
            return self.script._downgrade_revs(target, state)  # type: ignore[arg-type]
        except CommandError as error:
            raise self._no_such_revision(target, _first_line(error)) from error

    def return_to(self, state: State, earlier: State) -> list[RevisionStep]:
        """The steps down from `state` to exactly `earlier`, whatever branches lie between.

        Raises NoSuchRevision where `earlier` is no earlier state of it.
        """
        above = self.ancestry(state) - self.ancestry(earlier)
        if not self.ancestry(earlier) <= self.ancestry(state):
            reason = f"it is not an ancestor of {', '.join(state) or 'base'}"
            raise self._no_such_revision(", ".join(earlier) or "base", reason)
        newest_first = self._revisions  # as walk_revisions gave them
        return [self.step(revision, upwards=False) for revision in newest_first if revision in above]

    def _no_such_revision(self, target: str, reason: str) -> errors.NoSuchRevision:
        return errors.NoSuchRevision(directory=str(self.location.directory), revision=target, reason=reason)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _place(error: BaseException, directory: Path) -> str:
    """Which of the user's files it happened in."""
    if isinstance(error, SyntaxError):
        return ""  # its message names the file
    frame, place = error.__traceback__, ""
    while frame is not None:
        file = Path(frame.tb_frame.f_code.co_filename)
        if directory in file.parents:
            place = f" ({file.name}, line {frame.tb_lineno})"
        frame = frame.tb_next
    return place
