"""shardwright.toml (or [tool.shardwright] in pyproject.toml) as one frozen value."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    StringConstraints,
    ValidationError,
)

from shardwright import errors
from shardwright.dsn import DatabaseUrl

FILE_NAME = "shardwright.toml"
EMBEDDED = "embedded"
Environment = Literal["production", "staging", "development", "test"]
DISPOSABLE: frozenset[Environment] = frozenset({"development", "test"})

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DURATION = re.compile(r"^(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|min|h|d)$")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = timedelta(days=24)  # PostgreSQL keeps time-outs as milliseconds in 32 bits
SHARD_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$"


def parse_duration(text: object) -> timedelta:
    """The duration that `100ms`, `2s`, `30min`, `24h` or `7d` spells; ValueError for anything else."""
    if isinstance(text, timedelta):
        return text
    found = _DURATION.match(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError('not a duration; write a number and a unit: "100ms", "2s", "30min", "24h", "7d"')
    duration = timedelta(seconds=float(found["number"]) * _UNITS[found["unit"]])
    if not timedelta(milliseconds=1) <= duration <= _LONGEST:
        raise ValueError("a duration is at least 1ms and at most 24d")
    return duration


def format_duration(duration: timedelta) -> str:
    """`duration` as configuration spells it, in the largest unit that keeps it whole."""
    milliseconds = round(duration / timedelta(milliseconds=1))
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if milliseconds >= size and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def parse_url(text: object) -> DatabaseUrl:
    """The URL; ValueError, whose message shows no secret, for anything else."""
    if isinstance(text, DatabaseUrl):
        return text
    if not isinstance(text, str):
        raise ValueError("a URL is a string: postgresql://user@host/database")  # noqa: TRY004 pydantic reads ValueError
    return DatabaseUrl.parse(text)


def _parse_control(text: object) -> DatabaseUrl | None:
    return None if text in (None, EMBEDDED) else parse_url(text)


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
Url = Annotated[DatabaseUrl, BeforeValidator(parse_url)]
Name = Annotated[str, StringConstraints(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, strict=True)


class FleetSection(_Section):
    """[fleet]: where the control database and the migrations are, and what may be done to the shards."""

    control: Annotated[DatabaseUrl | None, BeforeValidator(_parse_control)] = None
    migrations: Name = "migrations"
    set: Annotated[str, StringConstraints(pattern=SHARD_NAME)] = "main"
    environment: Environment = "production"
    seed: Name | None = None
    version_table: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w$]{0,62}(\.[A-Za-z_][\w$]{0,62})?$")] = (
        "alembic_version"
    )


class ShardSection(_Section):
    """[shards.NAME]: one shard's URL and labels."""

    url: Url
    labels: dict[str, str] = Field(default_factory=dict)


class TenantsSection(_Section):
    """[tenants]: how rows belong to tenants."""

    root: Name
    key: Name
    placement: Literal["least_loaded", "modulo"] = "least_loaded"
    shared: tuple[Name, ...] = Field(default=(), strict=False)
    ignored: tuple[Name, ...] = Field(default=(), strict=False)


class LimitsSection(_Section):
    """[limits]: what the tool may take from the servers, and how long it may keep others waiting."""

    connections_per_host: Annotated[int, Field(ge=3)] = 20
    lock_timeout: Duration = timedelta(milliseconds=100)
    lock_tries: Annotated[int, Field(ge=1, le=100)] = 5
    statement_timeout: Duration = timedelta(minutes=30)
    write_gap: Duration = timedelta(milliseconds=500)
    keep: Duration = timedelta(hours=24)


@dataclass(frozen=True)
class Shard:
    """One PostgreSQL database that holds many tenants."""

    name: str
    url: DatabaseUrl
    labels: Mapping[str, str]

    @property
    def host(self) -> str:
        """The server it lives on, `address:port`; connection budgets are counted per host."""
        return self.url.address


class Config(_Section):
    """Everything shardwright.toml says, checked. Secrets are inside the URLs, which never print them."""

    fleet: FleetSection = Field(default_factory=FleetSection)
    shard_sections: dict[Annotated[str, StringConstraints(pattern=SHARD_NAME)], ShardSection] = Field(
        default_factory=dict, alias="shards"
    )
    tenants: TenantsSection | None = None
    limits: LimitsSection = Field(default_factory=LimitsSection)
    _file: Path = PrivateAttr(default=Path(FILE_NAME))

    @property
    def file(self) -> Path:
        """The file it was read from, absolute."""
        return self._file

    @property
    def project(self) -> Path:
        """The folder of that file: relative paths start here."""
        return self._file.parent

    @property
    def migrations(self) -> Path:
        """The Alembic script directory, absolute."""
        return self.project / self.fleet.migrations

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards it names, in the file's order; none where the fleet is embedded."""
        return tuple(Shard(name, section.url, section.labels) for name, section in self.shard_sections.items())

    @property
    def is_disposable(self) -> bool:
        """Whether `environment` allows reset, clean and drop."""
        return self.fleet.environment in DISPOSABLE


def find_file(explicit: Path | None = None, *, start: Path | None = None) -> Path:
    """The configuration file: `explicit`, else $SHARDWRIGHT_CONFIG, else the nearest upwards from `start`.

    Raises ConfigNotFound where there is none.
    """
    named = explicit or (Path(value) if (value := os.environ.get("SHARDWRIGHT_CONFIG")) else None)
    if named is not None:
        if not named.is_file():
            raise errors.ConfigNotFound(place=str(named))
        return named.resolve()
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
        pyproject = folder / "pyproject.toml"
        if pyproject.is_file() and "[tool.shardwright" in pyproject.read_text(encoding="utf-8", errors="replace"):
            return pyproject
    raise errors.ConfigNotFound(place=str(start))


def load(file: Path) -> Config:
    """The configuration in `file`, with every `${NAME}` read from the environment.

    Raises ConfigError (one, or ConfigErrors for several) naming the file, the key and the cure.
    """
    file = file.resolve()
    tree = _read_toml(file)
    problems: list[errors.ConfigError] = []
    tree = _expand(tree, file, "", problems)
    config: Config | None = None
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        unset = {problem.key for problem in problems}
        problems += [problem for problem in _explain(error, file) if problem.key not in unset]
    else:
        problems += _duplicates(config, file)
    if problems:
        raise problems[0] if len(problems) == 1 else errors.ConfigErrors(problems=problems)
    assert config is not None  # noqa: S101 no problem means it was read
    config._file = file
    return config


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.ConfigUnreadable(file=str(file), reason=str(error)) from error
    if file.name == "pyproject.toml":
        tree = tree.get("tool", {}).get("shardwright", {})
    return tree


def _expand(value: Any, file: Path, key: str, problems: list[errors.ConfigError]) -> Any:
    """`value` with `${NAME}` replaced in every string below it; what is not set goes to `problems`."""
    if isinstance(value, dict):
        return {name: _expand(below, file, f"{key}.{name}".lstrip("."), problems) for name, below in value.items()}
    if isinstance(value, list):
        return [_expand(below, file, f"{key}[{place}]", problems) for place, below in enumerate(value)]
    if not isinstance(value, str):
        return value

    def variable(found: re.Match[str]) -> str:
        name = found[1]
        if name not in os.environ:
            problems.append(errors.MissingVariable(file=str(file), key=key, variable=name))
        return os.environ.get(name, "")

    return _VARIABLE.sub(variable, value)


def _explain(error: ValidationError, file: Path) -> Iterator[errors.ConfigError]:
    for detail in error.errors(include_url=False, include_context=False):
        location = tuple(part for part in detail["loc"] if part != "[key]")
        key = ".".join(str(part) for part in location)
        if detail["type"] == "extra_forbidden":
            yield errors.UnknownKey(file=str(file), key=key, known=_known_keys(location), guess=_guess(location))
        elif detail["type"] == "missing":
            yield errors.MissingKey(file=str(file), key=key)
        else:
            reason = detail["msg"].removeprefix("Value error, ")
            secret = isinstance(detail["input"], str) and ("://" in detail["input"] or location[-1:] == ("url",))
            shown = "" if secret or isinstance(detail["input"], dict) else f"{detail['input']!r}: "
            yield errors.BadValue(file=str(file), key=key, reason=shown + reason)


_SECTIONS: dict[str, type[_Section]] = {
    "fleet": FleetSection,
    "shards": ShardSection,
    "tenants": TenantsSection,
    "limits": LimitsSection,
}


def _names_at(location: tuple[int | str, ...]) -> list[str]:
    section = _SECTIONS.get(str(location[0])) if len(location) > 1 else None
    return list(section.model_fields) if section else list(_SECTIONS)


def _known_keys(location: tuple[int | str, ...]) -> str:
    return ", ".join(_names_at(location))


def _guess(location: tuple[int | str, ...]) -> str:
    close = difflib.get_close_matches(str(location[-1]), _names_at(location), n=1)
    return f"did you mean {close[0]}? " if close else ""


def _duplicates(config: Config, file: Path) -> Iterator[errors.ConfigError]:
    seen: dict[tuple[str, int, str], str] = {}
    if config.fleet.control is not None:
        seen[config.fleet.control.identity] = "fleet.control"
    for shard in config.shards:
        key = f"shards.{shard.name}.url"
        other = seen.setdefault(shard.url.identity, key)
        if other != key:
            yield errors.DuplicateDatabase(file=str(file), key=key, other=other, database=shard.url.redacted)


def environments() -> tuple[str, ...]:
    """The values `fleet.environment` may have."""
    return get_args(Environment)


@dataclass(frozen=True)
class FleetConfig:
    """A fleet with every URL known: what the rooms work with, wherever its shards come from."""

    config: Config
    control: DatabaseUrl
    shards: tuple[Shard, ...]

    @property
    def shard_set(self) -> str:
        """The name of its shard set."""
        return self.config.fleet.set

    def select(self, expression: str | None) -> tuple[Shard, ...]:
        """The shards that a comma-separated list of names, patterns (`eu_*`) and labels (`region=eu`) chooses.

        All where it is None. Raises NoSuchShard where a part chooses none, NoShards where the fleet has none.
        """
        if not self.shards:
            raise errors.NoShards(file=str(self.config.file))
        if expression is None:
            return self.shards
        chosen: set[str] = set()
        for part in filter(None, (part.strip() for part in expression.split(","))):
            found = {shard.name for shard in self.shards if _matches(shard, part)}
            if not found:
                raise errors.NoSuchShard(name=part, known=self._names())
            chosen |= found
        if not chosen:
            raise errors.NoSuchShard(name=expression, known=self._names())
        return tuple(shard for shard in self.shards if shard.name in chosen)

    def _names(self) -> str:
        names = [shard.name for shard in self.shards]
        return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _matches(shard: Shard, part: str) -> bool:
    label, equals, value = part.partition("=")
    if equals:
        return shard.labels.get(label) == value
    return fnmatch.fnmatchcase(shard.name, part)
