"""Produces a revision's SQL without a database, or says why that can't be done.

Alembic's offline mode alone proves nothing: `op.get_bind()` gives a mock that answers reads with nothing, takes
parameters and drops them, and ignores `checkfirst`. Here the mock refuses: every wish for a live connection raises a
BaseException, which no `except Exception` of a revision can swallow.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import inspection
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.schema import CreateTable, Table
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.util import OrderedSet

from shardwright.migration.history import History, State

_READS = re.compile(r"^\s*(SELECT|WITH|VALUES|SHOW|TABLE|EXPLAIN)\b", re.IGNORECASE)


class NeedsConnection(BaseException):
    """The revision wants to know something that only a live database can tell."""


@dataclass(frozen=True)
class Statement:
    """One statement of a revision; outside a transaction where it stands in an autocommit_block.

    `is_version` marks those that write Alembic's version row.
    """

    sql: str
    in_transaction: bool = True
    is_version: bool = False


@dataclass(frozen=True)
class Rendering:
    """A revision's statements, its version row among them; or `why_not`.

    `own_transaction` where env.py asks for a transaction per migration.
    """

    revision: str
    statements: tuple[Statement, ...] = ()
    why_not: str | None = None
    own_transaction: bool = False

    @property
    def sql(self) -> str:
        """The statements for people, or a comment that says why there are none."""
        if self.why_not is not None:
            return f"-- {self.revision}: no SQL can be shown, it {self.why_not}"
        return "\n\n".join(f"{statement.sql};" for statement in self.statements)

    @property
    def is_in_parts(self) -> bool:
        """Whether some of it stands outside of a transaction, so that it can be left half done."""
        return not all(statement.in_transaction for statement in self.statements)

    @property
    def digest(self) -> str:
        """Equal for two renderings that send the same."""
        return hashlib.sha256(repr((self.statements, self.own_transaction)).encode()).hexdigest()


@dataclass(frozen=True)
class Segment:
    """Revisions that follow one another and go the same way; online where there are no `renderings`."""

    revisions: tuple[str, ...]
    renderings: tuple[Rendering, ...] = ()


@dataclass
class _Tape:
    """What a step has sent so far."""

    statements: list[Statement] = field(default_factory=list)
    in_transaction: bool = True
    is_version: bool = False
    own_transaction: bool = False

    def take(self, text: str) -> None:
        self.statements.append(Statement(text.strip().removesuffix(";"), self.in_transaction, self.is_version))


class _Result:
    """What a recorded statement gives back: nothing that may be looked at."""

    def __getattr__(self, name: str) -> NoReturn:
        raise NeedsConnection(f"looks at the result of a statement ({name})")

    def __iter__(self) -> NoReturn:
        raise NeedsConnection("reads rows")


class StrictConnection(MockConnection):
    """Records what needs no answer and refuses the rest."""

    version_table: Any = None
    tape: _Tape

    def execute(self, obj: Any, parameters: Any = None, execution_options: Any = None) -> Any:
        """The statement is recorded; raises NeedsConnection where it reads or has parameters."""
        del execution_options
        if parameters:
            raise NeedsConnection("executes a statement with parameters")
        if getattr(obj, "is_select", False) or getattr(obj, "_returning", ()):
            raise NeedsConnection("reads rows")
        if isinstance(obj, TextClause) and _READS.match(obj.text):
            raise NeedsConnection(f"reads: {_short(obj.text)}")
        self._execute_impl(obj, None)
        return _Result()

    def in_transaction(self) -> bool:
        """As online: not in an autocommit_block. Asked by Alembic itself, there and in batch mode."""
        return self.tape.in_transaction

    def _run_ddl_visitor(self, visitorcallable: Any, element: Any, **keywords: Any) -> None:
        if element is self.version_table:
            self._execute_impl(CreateTable(element, if_not_exists=True), None)
            return
        if keywords.get("checkfirst"):
            raise NeedsConnection("looks whether something is there already (checkfirst)")
        super()._run_ddl_visitor(visitorcallable, element, **keywords)

    def __getattr__(self, name: str) -> NoReturn:
        raise NeedsConnection(f"asks the connection for {name}")


@inspection._inspects(StrictConnection)
def _refuse_inspection(connection: StrictConnection) -> NoReturn:
    del connection
    raise NeedsConnection("inspects the database")


def record(history: History, state: State, steps: Sequence[RevisionStep]) -> list[Rendering]:
    """A rendering of each of `steps` from `state`, each produced twice: what differs can't be rendered."""
    renderings = []
    for step in steps:
        first, second = _record_step(history, state, step), _record_step(history, state, step)
        if first.why_not is None and first != second:
            first = Rendering(first.revision, why_not="its SQL differs between two renderings")
        renderings.append(first)
        state = history.after(state, [step])
    return renderings


def _record_step(history: History, state: State, step: RevisionStep) -> Rendering:
    revision = step.revision.revision
    tape = _Tape()
    try:
        _run_offline(history, state, step, tape)
    except NeedsConnection as need:
        return Rendering(revision, why_not=str(need))
    except Exception as error:  # noqa: BLE001 the user's code may raise anything; online is always possible
        return Rendering(revision, why_not=f"can't be rendered: {type(error).__name__}: {_short(str(error))}")
    return Rendering(revision, tuple(tape.statements), own_transaction=tape.own_transaction)


def _run_offline(history: History, state: State, step: RevisionStep, tape: _Tape) -> None:
    config = history.location.alembic_config()
    config.set_main_option("sqlalchemy.url", "postgresql+psycopg://")
    config.attributes = _Attributes()

    def only_this(_: State, context: MigrationContext) -> Iterator[RevisionStep]:
        _make_strict(context, environment, tape)
        yield step

    with EnvironmentContext(
        config,
        history.script,
        fn=only_this,
        as_sql=True,
        output_buffer=io.StringIO(),
        starting_rev=list(state) or None,
        destination_rev=step.revision.revision,
    ) as environment:
        history.script.run_env()


def _make_strict(context: MigrationContext, environment: EnvironmentContext, tape: _Tape) -> None:
    """From here on, until the end of this step, every statement goes to `tape` and every question is refused."""
    impl: Any = context.impl
    tape.own_transaction = bool(context._transaction_per_migration)
    execute = impl._exec

    def execute_noting_version(construct: Any, *arguments: Any, **keywords: Any) -> Any:
        tape.is_version = getattr(construct, "table", None) is context._version
        return execute(construct, *arguments, **keywords)

    impl._exec = execute_noting_version
    create_table = impl.create_table

    def create_table_in_order(table: Table, **keywords: Any) -> None:
        table.indexes = OrderedSet(sorted(table.indexes, key=lambda index: str(index.name)))  # a set: in any order
        create_table(table, **keywords)

    impl.create_table = create_table_in_order
    connection = StrictConnection(context.dialect, lambda statement, _: impl._exec(statement))
    connection.version_table, connection.tape = context._version, tape
    context.connection = impl.connection = connection  # type: ignore[assignment]
    impl.literal_binds = True
    impl.static_output = lambda text: None if text.startswith("--") else tape.take(text)
    impl.emit_begin = lambda: setattr(tape, "in_transaction", True)
    impl.emit_commit = lambda: setattr(tape, "in_transaction", False)
    impl.dialect.identifier_preparer._double_percents = False  # the driver that would halve them is not there
    environment.is_offline_mode = _refuse("asks whether it runs offline")  # type: ignore[method-assign]
    environment.get_x_argument = _refuse("asks for an -x argument")  # type: ignore[method-assign]


def _refuse(reason: str) -> Any:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise NeedsConnection(reason)

    return refuse


class _Attributes(dict[str, Any]):
    """`config.attributes` that tells nothing about a shard: what one shard is told, all would get."""

    def __missing__(self, key: str) -> NoReturn:
        raise NeedsConnection(f'asks for config.attributes["{key}"]')


def _short(text: str) -> str:
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= 80 else f"{line[:79]}…"
