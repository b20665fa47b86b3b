"""shardwright.toml (or [tool.shardwright] in pyproject.toml) as one frozen value."""

from __future__ import annotations

import difflib
import fnmatch
import json
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationError,
)

from shardwright import errors
from shardwright.dsn import DatabaseUrl, redact
from shardwright.shard import Shard
from shardwright.windows import Window, parse_window

FILE_NAME = "shardwright.toml"
CONFIG_VARIABLE = "SHARDWRIGHT_CONFIG"
EMBEDDED = "embedded"
Environment = Literal["production", "staging", "development", "test"]
DISPOSABLE: frozenset[Environment] = frozenset({"development", "test"})

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>ms|s|min|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>MB|GB|TB)")
_SIZES = {"MB": 1e6, "GB": 1e9, "TB": 1e12}
_SHORTEST = timedelta(milliseconds=1)
_LONGEST = timedelta(days=24)  # PostgreSQL keeps time-outs as milliseconds in 32 bits
SHARD_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$"
SEED = r"^\w+(\.\w+)*:\w+(\.\w+)*$"


def parse_duration(text: object) -> timedelta:
    """The duration that `100ms`, `2s`, `30min`, `24h` or `7d` spells; ValueError for anything else."""
    if isinstance(text, timedelta):
        return text
    found = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError('not a duration; write a number and a unit: "100ms", "2s", "30min", "24h", "7d"')
    seconds = float(found["number"]) * _UNITS[found["unit"]]
    if not _SHORTEST.total_seconds() <= seconds <= _LONGEST.total_seconds():
        raise ValueError("a duration is at least 1ms and at most 24d")
    return timedelta(seconds=seconds)


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
    if text.startswith("$"):
        raise ValueError("a variable of the environment is written with braces: ${NAME}")
    return DatabaseUrl.parse(text)


def _parse_control(text: object) -> DatabaseUrl | None:
    return None if text in (None, EMBEDDED) else parse_url(text)


def parse_size(text: object) -> int:
    """The bytes that `500GB` or `1.5TB` spells; ValueError for anything else."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError('not a size; write a number and a unit: "512MB", "500GB", "2TB"')
    return round(float(found["number"]) * _SIZES[found["unit"]])


def _parse_webhook(text: object) -> SecretStr:
    if isinstance(text, SecretStr):
        return text
    if not isinstance(text, str) or not text.startswith(("https://", "http://")):
        raise ValueError("a webhook begins with https:// or http://")
    return SecretStr(text)


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
Url = Annotated[DatabaseUrl, BeforeValidator(parse_url)]
Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]
Webhook = Annotated[SecretStr, BeforeValidator(_parse_webhook)]
Share = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(gt=0)]
Measure = Literal["tenants", "rows", "bytes", "writes", "custom"]
MEASURES: Mapping[Measure, float] = {"bytes": 1.0, "writes": 1.0}  # what load is where nothing is said
WeekWindow = Annotated[Window, BeforeValidator(parse_window)]
Rule = Literal[
    "shard_down",
    "control_away",
    "skew",
    "drift",
    "run_stuck",
    "write_gap",
    "connections",
    "replication_lag",
    "tenant_twice",
    "exhaustion",
]
_PART = r"""(?:"(?:[^"]|"")+"|[^".]+)"""
_COLUMN = re.compile(rf"(?:(?P<schema>{_PART})\.)?(?P<table>{_PART})\.(?P<column>{_PART})")


@dataclass(frozen=True)
class ColumnName:
    """A column as [references] names it; without a schema the table is looked for in the search path."""

    text: str
    schema: str | None
    table: str
    column: str

    def __str__(self) -> str:
        return self.text


def parse_column(text: object) -> ColumnName:
    """The column that `table.column` or `schema.table.column` names; parts may be in double quotes. Else ValueError."""
    if isinstance(text, ColumnName):
        return text
    found = _COLUMN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError('not a column; write both sides in quotes: "invoices.plan_code" = "billing.plans.code"')
    schema, table, column = (_unquoted(found[part]) for part in ("schema", "table", "column"))
    return ColumnName(found[0], schema or None, table, column)


def _unquoted(part: str | None) -> str:
    if part is None or not part.startswith('"'):
        return part or ""
    return part[1:-1].replace('""', '"')


_Column = Annotated[ColumnName, BeforeValidator(parse_column)]
Location = tuple[int | str, ...]
Name = Annotated[str, StringConstraints(min_length=1)]
ShardName = Annotated[str, StringConstraints(pattern=SHARD_NAME)]
_Columns = Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
Group = Annotated[tuple[Name, ...], Field(strict=False, min_length=2)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, strict=True)


class FleetSection(_Section):
    """[fleet]: where the control database and the migrations are, and what may be done to the shards."""

    control: Annotated[DatabaseUrl | None, BeforeValidator(_parse_control)]
    migrations: Name = "migrations"
    set: ShardName = "main"
    environment: Environment = "production"
    seed: Annotated[str, StringConstraints(pattern=SEED)] | None = None
    version_table: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w$]{0,62}(\.[A-Za-z_][\w$]{0,62})?$")] = (
        "alembic_version"
    )


class ShardSection(_Section):
    """[shards.NAME]: one shard's URL and labels."""

    url: Url
    labels: dict[str, str] = Field(default_factory=dict)


class GreenTenantsSection(_Section):
    """[bluegreen.tenants]: how rows belong to tenants on the green shards, where that is not as on the blue ones."""

    root: Name
    key: Name
    keys: dict[Name, Name] = Field(default_factory=dict)
    shared: tuple[Name, ...] = Field(default=(), strict=False)
    ignored: tuple[Name, ...] = Field(default=(), strict=False)


class TenantsSection(GreenTenantsSection):
    """[tenants]: how rows belong to tenants. Tables are named as `table`, `schema.table` or a pattern (`audit_*`)."""

    placement: Literal["least_loaded", "modulo"] = "least_loaded"


class LimitsSection(_Section):
    """[limits]: what the tool may take from the servers, and how long it may keep others waiting."""

    connections_per_host: Annotated[int, Field(ge=3)] = 20
    lock_timeout: Duration = timedelta(milliseconds=100)
    lock_tries: Annotated[int, Field(ge=1, le=100)] = 5
    statement_timeout: Duration = timedelta(minutes=30)
    write_gap: Duration = timedelta(milliseconds=500)
    keep: Duration = timedelta(hours=24)


class RunsSection(_Section):
    """[runs]: how many durable runs go on at the same time, and for how long silence is no death."""

    at_once: Annotated[int, Field(ge=1)] = 8
    per_host: Annotated[int, Field(ge=1)] = 2
    time_to_live: Annotated[Duration, Field(ge=timedelta(seconds=2))] = timedelta(seconds=30)


class MovesSection(_Section):
    """[moves]: how fast a tenant is moved, and what makes a move rest; each move may be told otherwise."""

    streams: Annotated[int, Field(ge=1, le=16)] = 2
    bytes_per_second: Annotated[int, Field(ge=1)] | None = None
    active: Annotated[int, Field(ge=0)] | None = None
    lag: Annotated[Duration, Field(gt=timedelta(0))] | None = timedelta(seconds=10)
    probe: Name | None = None


class LintSection(_Section):
    """[lint]: whether a rollout's SQL is looked at before it begins, and the rules that are let pass everywhere."""

    enabled: bool = True
    allow: tuple[Name, ...] = Field(default=(), strict=False)


class MonitorSection(_Section):
    """[monitor]: how often the fleet is looked at, and what is worth a word."""

    every: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(seconds=15)
    check_every: Annotated[Duration, Field(ge=timedelta(seconds=10))] = timedelta(minutes=10)
    uneven: Annotated[float, Field(gt=1)] = 3.0
    exhaustion: Share = 0.8
    disk: dict[Name, Size] = Field(default_factory=dict)
    traces: Name | None = None


class AlertsSection(_Section):
    """[alerts]: who is told when something is wrong, and from when on it counts as wrong."""

    webhook: Webhook | None = None
    format: Literal["json", "slack"] = "json"
    command: tuple[Name, ...] = Field(default=(), strict=False)
    off: tuple[Rule, ...] = Field(default=(), strict=False)
    hold: Duration = timedelta(seconds=30)
    stuck: Duration = timedelta(minutes=10)
    connections: Share = 0.9
    lag: Duration = timedelta(minutes=1)


class RebalanceSection(_Section):
    """[rebalance]: what load is, when moves are worth it, and what no plan may do."""

    measures: dict[Measure, Weight] = Field(default_factory=lambda: dict(MEASURES), min_length=1)
    tolerance: Share = 0.1
    most_bytes: Size | None = None
    high_water: Share = 0.8
    per_host: Annotated[int, Field(ge=1)] = 2
    windows: tuple[WeekWindow, ...] = Field(default=(), strict=False)
    pinned: tuple[Name, ...] = Field(default=(), strict=False)
    together: tuple[Group, ...] = Field(default=(), strict=False)
    apart: tuple[Group, ...] = Field(default=(), strict=False)
    load_query: Name | None = None
    labels: dict[Name, Name] = Field(default_factory=dict)
    shares: dict[ShardName, Weight] = Field(default_factory=dict)


class ShapeSection(_Section):
    """[bluegreen.tables.NAME], [bluegreen.back.NAME]: a table as the other side's rows make it.

    `from` names the other side's tables in `select`, each with its columns that make this table's key, in its order.
    """

    select: Name
    from_: Annotated[dict[Name, _Columns], Field(alias="from", min_length=1)]


class BlueGreenSection(_Section):
    """[bluegreen]: the shards that are built beside [shards], and what is to be on them."""

    revision: Name = "head"
    placement: Literal["pairs", "least_loaded", "modulo"] = "pairs"
    shard_sections: dict[ShardName, ShardSection] = Field(alias="shards", min_length=1)
    pins: dict[Name, Name] = Field(default_factory=dict)
    tenants: GreenTenantsSection | None = None
    tables: dict[Name, ShapeSection] = Field(default_factory=dict)
    back: dict[Name, ShapeSection] = Field(default_factory=dict)


class Config(_Section):
    """Everything shardwright.toml says, checked. Secrets are inside the URLs, which never print them."""

    fleet: FleetSection
    shard_sections: dict[ShardName, ShardSection] = Field(default_factory=dict, alias="shards")
    tenants: TenantsSection | None = None
    limits: LimitsSection = Field(default_factory=LimitsSection)
    runs: RunsSection = Field(default_factory=RunsSection)
    moves: MovesSection = Field(default_factory=MovesSection)
    lint: LintSection = Field(default_factory=LintSection)
    monitor: MonitorSection = Field(default_factory=MonitorSection)
    alerts: AlertsSection = Field(default_factory=AlertsSection)
    rebalance: RebalanceSection = Field(default_factory=RebalanceSection)
    references: dict[_Column, _Column] = Field(default_factory=dict)
    bluegreen: BlueGreenSection | None = None
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
        """The shards it names, in the file's order; none where they are embedded."""
        return _shards(self.shard_sections)

    @property
    def green(self) -> tuple[Shard, ...]:
        """The shards of [bluegreen], in the file's order; none where there is no such section."""
        return _shards(self.bluegreen.shard_sections) if self.bluegreen else ()

    @property
    def green_tenants(self) -> TenantsSection | None:
        """How rows belong to tenants on the green shards: by [bluegreen.tenants], else as everywhere."""
        own = self.bluegreen.tenants if self.bluegreen else None
        return self.tenants.model_copy(update=vars(own)) if self.tenants and own else self.tenants

    @property
    def is_embedded(self) -> bool:
        """Whether the shards are the embedded ones: the file names none, and leaves the control database to us."""
        return self.fleet.control is None and not self.shard_sections

    @property
    def is_disposable(self) -> bool:
        """Whether `environment` allows reset and dev."""
        return self.fleet.environment in DISPOSABLE


def _shards(sections: Mapping[str, ShardSection]) -> tuple[Shard, ...]:
    return tuple(Shard(name, section.url, section.labels) for name, section in sections.items())


def find_file(explicit: Path | None = None, *, start: Path | None = None) -> Path:
    """The configuration file: `explicit`, else $SHARDWRIGHT_CONFIG, else the nearest upwards from `start`.

    Raises ConfigFileMissing where what was named is no file, ConfigNotFound where there is none.
    """
    if explicit is not None:
        return _named_file(explicit, "--config")
    if chosen := os.environ.get(CONFIG_VARIABLE):
        return _named_file(Path(chosen), f"${CONFIG_VARIABLE}")
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if found := file_in(folder):
            return found
    raise errors.ConfigNotFound(place=str(start))


def file_in(folder: Path) -> Path | None:
    """The configuration file of exactly this folder: shardwright.toml, else a pyproject.toml with our section."""
    if (folder / FILE_NAME).is_file():
        return folder / FILE_NAME
    pyproject = folder / "pyproject.toml"
    return pyproject if pyproject.is_file() and _has_our_section(pyproject) else None


def _named_file(named: Path, source: str) -> Path:
    if not named.is_file():
        reason = "is no file" if named.exists() else "is not there"
        raise errors.ConfigFileMissing(source=source, file=str(named), reason=reason)
    return named.resolve()


def _has_our_section(pyproject: Path) -> bool:
    text = pyproject.read_text(encoding="utf-8", errors="replace")
    if "shardwright" not in text:
        return False
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return "[tool.shardwright" in text  # reading it will say which line is wrong
    return "shardwright" in _our_parent(tree)


def _our_parent(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    tool = tree.get("tool")
    return tool if isinstance(tool, dict) else {}


def load(file: Path) -> Config:
    """The configuration in `file`, with every `${NAME}` read from the environment.

    Raises ConfigError (one, or ConfigErrors for several) naming the file, the key and the cure.
    """
    file = file.resolve()
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigUnreadable(file=str(file), reason=str(error)) from error
    return parse(text, file)


def parse(text: str, file: Path) -> Config:
    """The configuration that `text` would be as the contents of `file`. Raises as `load` does."""
    tree = _read_toml(text, file)
    problems: list[errors.ConfigError] = []
    tree = _expand(tree, file, (), problems)
    config: Config | None = None
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        unset = {problem.key for problem in problems}
        problems += [problem for problem in _explain(error, file) if problem.key not in unset]
    else:
        problems += [*_duplicates(config, file), *_misnamed(config, file), *_at_odds(config, file)]
    if problems:
        raise problems[0] if len(problems) == 1 else errors.ConfigErrors(file=str(file), problems=problems)
    assert config is not None  # noqa: S101 no problem means it was read
    config._file = file
    return config


def _read_toml(text: str, file: Path) -> Any:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise errors.ConfigUnreadable(file=str(file), reason=str(error)) from error
    return _our_parent(tree).get("shardwright", {}) if file.name == "pyproject.toml" else tree


def _expand(value: Any, file: Path, location: Location, problems: list[errors.ConfigError]) -> Any:
    """`value` with `${NAME}` replaced in every string below it; what can't be goes to `problems`."""
    if isinstance(value, dict):
        return {name: _expand(below, file, (*location, name), problems) for name, below in value.items()}
    if isinstance(value, list):
        return [_expand(below, file, (*location, place), problems) for place, below in enumerate(value)]
    if not isinstance(value, str):
        return value
    if "${" in _VARIABLE.sub("", value):
        reason = "a variable is written ${NAME}: letters, digits and _, not beginning with a digit"
        problems.append(errors.BadValue(file=str(file), key=_key(location), reason=reason))
    for name in _VARIABLE.findall(value):
        if not os.environ.get(name) and (name not in os.environ or value == f"${{{name}}}"):
            state = "is empty" if name in os.environ else "is not set"
            problems.append(errors.MissingVariable(file=str(file), key=_key(location), variable=name, state=state))
    return _VARIABLE.sub(lambda found: os.environ.get(found[1], ""), value)


def _key(location: Location) -> str:
    """`tenants.shared[0]`: a key as TOML writes it, with quotes where a part needs them."""
    key = ""
    for part in location:
        quoted = part if _BARE_KEY.fullmatch(str(part)) else json.dumps(part)
        key = f"{key}[{part}]" if isinstance(part, int) else f"{key}.{quoted}".lstrip(".")
    return key


def _explain(error: ValidationError, file: Path) -> Iterator[errors.ConfigError]:
    for detail in error.errors(include_url=False, include_context=False):
        location = tuple(part for part in detail["loc"] if part != "[key]")
        key = _key(location)
        if detail["type"] == "extra_forbidden":
            known = ", ".join(_names_at(location))
            yield errors.UnknownKey(file=str(file), key=key, known=known, guess=_guess(location))
        elif detail["type"] == "missing":
            yield errors.MissingKey(file=str(file), key=key, help=_ADD.get(key, f"add {key} to {file}"))
        else:
            reason = redact(_reason(detail["type"], detail["msg"], location))
            yield errors.BadValue(file=str(file), key=key, reason=_shown(location, detail["input"]) + reason)


def _shown(location: Location, value: Any) -> str:
    """The value that was found, unless it may hold a secret."""
    may_be_secret = {"control", "url", "webhook"} & {str(part) for part in location[-1:]}
    return "" if may_be_secret or not isinstance(value, str | int | float) else f"{redact(repr(value))}: "


def _reason(kind: str, message: str, location: Location) -> str:
    """What is wrong with the value, in words of the file and not of the library that found it."""
    if kind == "string_pattern_mismatch":
        return _PATTERNS[str(location[-1])]
    if kind in ("model_type", "dict_type") and location[-1:] == ("labels",):
        return 'labels are a table: labels = { region = "eu" }'
    if kind == "dict_type" and location[-1:] == ("from",):
        return 'from is a table: from = { users = ["id"] }'
    if kind == "too_short" and location[-2:-1] == ("from",):
        return "name the columns that make the key, at least one"
    if kind in ("model_type", "dict_type"):
        name = _key(location)
        has_names = location[-1] in ("shards", "tables", "back")
        return f"it is a section, not a value: write [{f'{name}.NAME' if has_names else name}] and its keys below"
    return _WORDS.get(kind) or message.removeprefix("Value error, ").replace("Input should be", "it should be")


_NAMING = "a name is 1 to 63 letters, digits, _ . or -, and begins with a letter, a digit or _"
_PATTERNS = defaultdict(
    lambda: _NAMING,  # a shard's own name
    seed='it should be "package.module:function"',
    version_table='it should be the name of a table, or "schema.table"',
)
_WORDS = {
    "string_type": "it should be text in quotes",
    "string_too_short": "it should not be empty",
    "float_type": "it should be a number, without quotes",
    "int_type": "it should be a whole number, without quotes",
    "bool_type": "it should be true or false, without quotes",
    "tuple_type": 'it should be a list: ["one", "two"]',
    "too_short": "it should not be empty",
}
_ADD = {
    "fleet": 'add [fleet], and in it control = "${CONTROL_URL}" (or "embedded")',
    "fleet.control": 'add control = "${CONTROL_URL}" (or "embedded") under [fleet]',
    "bluegreen.shards": 'add a [bluegreen.shards.NAME] for each green shard, and in it url = "${GREEN_0_URL}"',
}
_SECTIONS: dict[str, type[_Section]] = {
    "fleet": FleetSection,
    "shards": ShardSection,
    "tenants": TenantsSection,
    "limits": LimitsSection,
    "runs": RunsSection,
    "moves": MovesSection,
    "lint": LintSection,
    "monitor": MonitorSection,
    "alerts": AlertsSection,
    "rebalance": RebalanceSection,
    "bluegreen": BlueGreenSection,
    "bluegreen.shards": ShardSection,
    "bluegreen.tenants": GreenTenantsSection,
    "bluegreen.tables": ShapeSection,
    "bluegreen.back": ShapeSection,
}


def _names_at(location: Location) -> list[str]:
    """The keys of the section that `location` is in; where it is in none, the sections."""
    for depth in (2, 1):
        section = _SECTIONS.get(_key(location[:depth])) if len(location) > depth else None
        if section is not None:
            return _keys(section)
    return _keys(Config)


def _keys(section: type[_Section]) -> list[str]:
    """Its keys as the file has them."""
    return [field.alias or name for name, field in section.model_fields.items()]


def _guess(location: Location) -> str:
    name = str(location[-1])
    close = difflib.get_close_matches(name, _names_at(location), n=1)
    if not close and len(location) == 1:  # a key above the first section
        close = [f"{section}.{name}" for section, model in _SECTIONS.items() if name in _keys(model)]
    return f"did you mean {close[0]}? " if close else ""


def _duplicates(config: Config, file: Path) -> Iterator[errors.ConfigError]:
    seen: dict[tuple[str, int, str], str] = {}
    if config.fleet.control is not None:
        seen[config.fleet.control.identity] = "fleet.control"
    keys = [_key(("shards", shard.name, "url")) for shard in config.shards]
    keys += [_key(("bluegreen", "shards", shard.name, "url")) for shard in config.green]
    for key, shard in zip(keys, config.shards + config.green, strict=True):
        other = seen.setdefault(shard.url.identity, key)
        if other != key:
            yield errors.DuplicateDatabase(file=str(file), key=key, other=other, database=shard.url.redacted)


def _misnamed(config: Config, file: Path) -> Iterator[errors.ConfigError]:
    """Green shards that are called as blue ones are, and pins to what is no green shard."""
    green = [shard.name for shard in config.green]
    for name in green:
        if name in config.shard_sections:
            reason = f"{_key(('shards', name))} has this name, and one catalog holds both"
            yield errors.BadValue(file=str(file), key=_key(("bluegreen", "shards", name)), reason=reason)
    for tenant, name in config.bluegreen.pins.items() if config.bluegreen else ():
        if name not in green:
            reason = f"{name!r} is no green shard; there are: {', '.join(green)}"
            yield errors.BadValue(file=str(file), key=_key(("bluegreen", "pins", tenant)), reason=reason)


def _at_odds(config: Config, file: Path) -> Iterator[errors.ConfigError]:
    """Rules of [rebalance] that no plan can keep."""
    section = config.rebalance
    for number, group in enumerate(section.apart):
        for other in section.together:
            if len(both := [tenant for tenant in dict.fromkeys(group) if tenant in other]) > 1:
                reason = f"{both[0]!r} and {both[1]!r} are to be together as well, by rebalance.together"
                yield errors.BadValue(file=str(file), key=f"rebalance.apart[{number}]", reason=reason)
    if section.measures.get("custom") and not section.load_query:
        reason = "`custom` is what rebalance.load_query says, and there is none"
        yield errors.BadValue(file=str(file), key="rebalance.measures.custom", reason=reason)
    for name in section.shares:
        if config.shard_sections and name not in config.shard_sections:
            reason = f"{name!r} is no shard; there are: {', '.join(config.shard_sections)}"
            yield errors.BadValue(file=str(file), key=_key(("rebalance", "shares", name)), reason=reason)


@dataclass(frozen=True)
class FleetConfig:
    """A fleet with every URL known: what the rooms work with, wherever its shards come from.

    `shards` are those that it is made of; `green` those that a blue-green change builds beside them.
    """

    config: Config
    control: DatabaseUrl
    shards: tuple[Shard, ...]
    green: tuple[Shard, ...] = ()

    @property
    def every(self) -> tuple[Shard, ...]:
        """Its shards, and the green ones behind them."""
        return self.shards + self.green

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
                raise errors.NoSuchShard(name=part, known=self._names(), guess=self._guess(part))
            chosen |= found
        if not chosen:
            raise errors.NoSuchShard(name=expression, known=self._names())
        return tuple(shard for shard in self.shards if shard.name in chosen)

    def _guess(self, part: str) -> str:
        close = difflib.get_close_matches(part, [shard.name for shard in self.shards], n=1)
        return f"did you mean {close[0]}? " if close else ""

    def _names(self) -> str:
        names = [shard.name for shard in self.shards]
        return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _matches(shard: Shard, part: str) -> bool:
    label, equals, value = part.partition("=")
    if equals:
        return shard.labels.get(label) == value
    return fnmatch.fnmatchcase(shard.name, part)
