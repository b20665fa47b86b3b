"""The certificate: source and target held the same rows at the switch, and the source's are what they were then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from shardwright import errors
from shardwright.move.store import Move
from shardwright.move.way import Way
from shardwright.pg.fingerprint import fingerprint
from shardwright.runs.kinds import Progress
from shardwright.transfer import fence
from shardwright.transfer.compare import Comparison, TableProof, compare_frozen, prove
from shardwright.transfer.drain import snapshot
from shardwright.transfer.scope import Scope


@dataclass(frozen=True)
class Certificate:
    """`frozen`: every table of the source, whose fence is closed. `comparison`: with the target's, but for keys that
    were written there since. `sequences`: where each stands, source and target."""

    at: datetime
    epoch: int
    frozen: tuple[TableProof, ...]
    comparison: Comparison
    sequences: Mapping[str, tuple[int | None, int | None]]
    fingerprints: tuple[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The certificate as the control database keeps it, and `--json` prints it."""
        return {
            "at": self.at.isoformat(),
            "epoch": self.epoch,
            "equal": self.comparison.is_equal,
            "frozen": [proof.as_dict() for proof in self.frozen],
            "source": [proof.as_dict() for proof in self.comparison.source],
            "target": [proof.as_dict() for proof in self.comparison.target],
            "differences": [str(each) for each in self.comparison.differences],
            "sequences": {name: list(values) for name, values in self.sequences.items()},
            "fingerprints": list(self.fingerprints),
        }


def make(way: Way) -> Certificate:
    """Both sides compared after the switch, before anything was drained back. Raises psycopg.Error, NotSwitched."""
    total = len(way.scope.tables)
    with way.source.open() as frozen, way.target.open() as living:
        if fence.is_open(frozen, way.scope.fence):
            raise errors.NotSwitched(tenant=way.tenant, asked="verify", phase="moving")
        with snapshot(living):
            found = compare_frozen(
                frozen, living, way.scope,
                done=lambda done: way.context.report(Progress("prove", done, total, "tables")),
            )  # fmt: skip
        has_changed = any(proof.left_out for proof in found.source)
        return Certificate(
            at=datetime.now(UTC),
            epoch=way.epoch + 1,
            frozen=prove(frozen, way.scope) if has_changed else found.source,
            comparison=found,
            sequences=_sequences(frozen, living, way.scope),
            fingerprints=(fingerprint(frozen).digest, fingerprint(living).digest),
        )


def require(way: Way, move: Move) -> None:
    """The certificate says equal, and the source's rows are what they were then: they may be deleted.

    Raises RowsDiffer.
    """
    known = move.certificate
    if move.phase != "switched" or known is None or not known["equal"]:
        raise errors.RowsDiffer(run=move.run, differences="there is no certificate that they are equal")
    with way.source.open() as frozen:
        if fence.is_open(frozen, way.scope.fence):
            raise errors.RowsDiffer(run=move.run, differences=f"{way.source.shard.name} takes the tenant's writes")
        present = {proof.table: proof.as_dict() for proof in prove(frozen, way.scope)}
    if changed := [each["table"] for each in known["frozen"] if present.get(each["table"]) != each]:
        told = "\n".join(f"{table}: the source's rows are not what they were at the switch" for table in changed)
        raise errors.RowsDiffer(run=move.run, differences=told)


def _sequences(
    source: psycopg.Connection[Any], target: psycopg.Connection[Any], scope: Scope
) -> dict[str, tuple[int | None, int | None]]:
    names = [sequence.name for table in scope.tables for sequence in table.table.sequences]
    return {str(name): (_value(source, name.identifier), _value(target, name.identifier)) for name in names}


def _value(connection: psycopg.Connection[Any], sequence: sql.Identifier) -> int | None:
    """None where it was never drawn from."""
    query = sql.SQL("SELECT CASE WHEN is_called THEN last_value END FROM {}").format(sequence)
    row = connection.execute(query).fetchone()
    return row[0] if row else None
