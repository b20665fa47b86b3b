"""Every error Shardwright raises on purpose, as a tree.

    ShardwrightError                 exit 2: the command could not do its work, or refused
    ├── UsageError                   exit 64: the command line or the call is wrong
    │   └── …
    ├── ConfigError                  exit 78: shardwright.toml is wrong
    │   └── …
    ├── EmbeddedError                a local PostgreSQL cluster
    ├── ControlError                 the control database
    ├── HistoryError                 the Alembic history
    ├── Refused                      a guard said no
    └── ShardError                   one shard; ends up in that shard's result, never stops the others

Each class carries its fields, the fact (a template over them) and the cure (a command the reader can run).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(eq=False)
class ShardwrightError(Exception):
    """The root: `str(error)` is the fact with the names in it, `error.hint` the command that helps."""

    fact: ClassVar[str] = "something went wrong"
    cure: ClassVar[str] = ""
    exit_code: ClassVar[int] = 2

    def __str__(self) -> str:
        return self.fact.format_map(vars(self))

    @property
    def hint(self) -> str:
        """The cure with the names filled in; empty where there is none."""
        return self.cure.format_map(vars(self))


# --- usage ------------------------------------------------------------------------------------


@dataclass(eq=False)
class UsageError(ShardwrightError):
    """The command line, or a call of the Python API, asks for something that does not exist."""

    reason: str
    help: str = ""
    fact = "{reason}"
    cure = "{help}"
    exit_code = 64


@dataclass(eq=False)
class NoSuchShard(UsageError):
    """A shard was named that the configuration does not have."""

    reason: str = ""
    name: str = ""
    known: str = ""
    fact = "no shard, label or pattern of this fleet matches {name!r}; it has: {known}"
    cure = "shardwright shards"


@dataclass(eq=False)
class NeedsConfirmation(UsageError):
    """A destructive command was given without a terminal and without --yes."""

    reason: str = ""
    action: str = ""
    fact = "{action} destroys data and there is no terminal to ask on"
    cure = "repeat the command with --yes"


# --- configuration ----------------------------------------------------------------------------


@dataclass(eq=False)
class ConfigError(ShardwrightError):
    """shardwright.toml can't be used as it is."""

    file: str = ""
    key: str = ""
    exit_code = 78


@dataclass(eq=False)
class ConfigNotFound(ConfigError):
    """There is no configuration file where one was looked for."""

    place: str = ""
    fact = "no shardwright.toml found at {place}, nor [tool.shardwright] in a pyproject.toml, nor above it"
    cure = "shardwright init"


@dataclass(eq=False)
class ConfigUnreadable(ConfigError):
    """The file can't be read, or is not TOML."""

    reason: str = ""
    fact = "{file} can't be read: {reason}"
    cure = "mend the line named above; the format is TOML"


@dataclass(eq=False)
class UnknownKey(ConfigError):
    """The file has a key that means nothing to this version."""

    known: str = ""
    guess: str = ""
    fact = "{file}: unknown key {key}"
    cure = "{guess}keys here: {known}"


@dataclass(eq=False)
class MissingKey(ConfigError):
    """The file lacks a key that its section needs."""

    fact = "{file}: {key} is missing"
    cure = "add {key} to {file}"


@dataclass(eq=False)
class MissingVariable(ConfigError):
    """A `${NAME}` in the file names an environment variable that is not set."""

    variable: str = ""
    fact = "{file}: {key} needs the environment variable {variable}, which is not set"
    cure = "export {variable}=…"


@dataclass(eq=False)
class BadValue(ConfigError):
    """A key has a value of the wrong kind."""

    reason: str = ""
    fact = "{file}: {key}: {reason}"
    cure = "mend {key} in {file}"


@dataclass(eq=False)
class DuplicateDatabase(ConfigError):
    """Two keys name one database: it would be worked on twice, or the catalog be wiped by a reset."""

    other: str = ""
    database: str = ""
    fact = "{file}: {key} and {other} are the same database ({database})"
    cure = "give each its own database, or take {key} out of {file}"


@dataclass(eq=False)
class ConfigErrors(ConfigError):
    """Several things are wrong with the file; all are named."""

    problems: list[ConfigError] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(f"{problem} ({problem.hint})" for problem in self.problems)

    @property
    def hint(self) -> str:
        """One cure stands behind each problem; this says how many there are."""
        return f"mend the {len(self.problems)} lines above"


# --- embedded ---------------------------------------------------------------------------------


@dataclass(eq=False)
class EmbeddedError(ShardwrightError):
    """A local PostgreSQL cluster could not be found, made, started or stopped."""

    reason: str
    fact = "{reason}"


# --- one shard --------------------------------------------------------------------------------


@dataclass(eq=False)
class ShardError(ShardwrightError):
    """Something about one shard; the fleet's other shards are not concerned."""

    shard: str
    reason: str
    fact = "shard {shard}: {reason}"
