"""The rules of squawk that are looked at: which of them stop a rollout, and the cure in Alembic's words.

Its rules of style are left out, and those that Shardwright answers itself: every statement of ours has a lock time-out
and a statement time-out, and the transactions are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

SMALL_TABLE = 10_000_000  # bytes: read or written anew within a tenth of a second or so


class Severity(StrEnum):
    """What a finding does to a rollout: an error stops it, a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Rule:
    """One rule: its severity and cure, and up to which size of the table it is harmless (None: always a danger)."""

    severity: Severity
    cure: str
    harmless_up_to: int | None = None


def _blocks(cure: str) -> Rule:
    """Readers or writers wait for as long as the table is large."""
    return Rule(Severity.ERROR, cure, harmless_up_to=SMALL_TABLE)


def _warns(cure: str) -> Rule:
    return Rule(Severity.WARNING, cure)


_NOT_VALID = "postgresql_not_valid=True here, and op.execute('ALTER TABLE … VALIDATE CONSTRAINT …') in a later rollout"
_CONCURRENTLY = "with op.get_context().autocommit_block(): and in it"
_NO_CODE = "release code that does without it first; then: --allow"

RULES = MappingProxyType(
    {
        "adding-field-with-default": _blocks("add the column without it, fill it in batches, then set the default"),
        "adding-foreign-key-constraint": _blocks(f"op.create_foreign_key(…) with {_NOT_VALID}"),
        "adding-not-nullable-field": _blocks(
            f"op.create_check_constraint(…, 'column IS NOT NULL') with {_NOT_VALID}; then SET NOT NULL need not look"
        ),
        "adding-required-field": Rule(
            Severity.ERROR, "a server_default, or nullable=True: it fails on a table with rows", harmless_up_to=0
        ),
        "adding-serial-primary-key-field": _blocks(
            "a unique index built concurrently; then ALTER TABLE … ADD PRIMARY KEY USING INDEX …"
        ),
        "changing-column-type": _blocks("a new column beside the old one, filled in batches; then drop the old one"),
        "constraint-missing-not-valid": _blocks(_NOT_VALID),
        "disallowed-unique-constraint": _blocks(
            "a unique index built concurrently; then ALTER TABLE … ADD CONSTRAINT … UNIQUE USING INDEX …"
        ),
        "require-concurrent-index-creation": _blocks(
            f"{_CONCURRENTLY} op.create_index(…, postgresql_concurrently=True)"
        ),
        "require-concurrent-reindex": _blocks(f"{_CONCURRENTLY} op.execute('REINDEX … CONCURRENTLY …')"),
        "ban-concurrent-index-creation-in-transaction": Rule(
            Severity.ERROR, "with op.get_context().autocommit_block(): around it"
        ),
        "ban-truncate-cascade": Rule(Severity.ERROR, "name every table that is to be emptied"),
        "ban-drop-database": Rule(Severity.ERROR, "take it out: a revision changes the schema of one shard"),
        "ban-drop-column": _warns(_NO_CODE),
        "ban-drop-table": _warns(_NO_CODE),
        "ban-drop-not-null": _warns("release code that can read NULL first; then: --allow"),
        "renaming-column": _warns("a new column beside the old one: the code that runs now knows the old name"),
        "renaming-table": _warns("a view under the old name, until no code needs it"),
        "require-concurrent-index-deletion": _warns(f"{_CONCURRENTLY} op.drop_index(…, postgresql_concurrently=True)"),
        "require-concurrent-partition-detach": _warns("ALTER TABLE … DETACH PARTITION … CONCURRENTLY"),
        "ban-create-domain-with-constraint": _warns("a CHECK constraint on the table"),
        "ban-alter-domain-with-add-constraint": _warns("a CHECK constraint on the table"),
        "identifier-too-long": _warns("a name of at most 63 bytes: PostgreSQL cuts it"),
        "syntax-error": _warns("read it again: squawk can't; PostgreSQL has the last word"),
    }
)

# Two complaints about one thing: the second says it better.
SAID_BETTER = MappingProxyType(
    {
        "constraint-missing-not-valid": frozenset(
            {"adding-foreign-key-constraint", "adding-serial-primary-key-field", "disallowed-unique-constraint"}
        )
    }
)
