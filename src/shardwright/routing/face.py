"""What the synchronous and the asynchronous face have in common: how they are made, and what a call begins with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self
from uuid import UUID

from shardwright import config as configuration
from shardwright import errors
from shardwright.config import Config, format_duration, parse_duration
from shardwright.routing.attempt import Attempt
from shardwright.routing.following import Following
from shardwright.routing.guide import Guide

TenantId = str | int | UUID
Reads = Literal["green"] | None
PATIENCE = timedelta(seconds=30)
SIZE = 50_000
MAX_LAG = timedelta(seconds=5)
# What a call gives may be read after its session has ended, when the tenant may be elsewhere.
SESSION_DEFAULTS: Mapping[str, Any] = {"expire_on_commit": False}


class Face:
    """See Tenants and AsyncTenants."""

    def __init__(
        self,
        config: Config,
        *,
        patience: timedelta | str = PATIENCE,
        lives: timedelta | str | None = None,
        size: int = SIZE,
        session_options: Mapping[str, Any] | None = None,
        **engine_options: Any,
    ) -> None:
        self._guide = Guide(config, size=size, lives=_lives(config, lives))
        self._patience = _duration("patience", patience).total_seconds()
        self._session_options = {**SESSION_DEFAULTS, **(session_options or {})}
        self._engine_options = engine_options

    @classmethod
    def from_config(
        cls,
        file: Path | str | None = None,
        *,
        patience: timedelta | str = PATIENCE,
        lives: timedelta | str | None = None,
        size: int = SIZE,
        session_options: Mapping[str, Any] | None = None,
        **engine_options: Any,
    ) -> Self:
        """The tenants of the fleet of `file`, else of the nearest shardwright.toml upwards. Nothing is opened yet.

        `patience`: for how long `run` waits while a tenant moves. `lives`: how long a placement is used without a word
        from the catalog, half of `limits.keep` unless given, and shorter than that. `size`: how many placements are
        kept. `session_options` and the rest: for SQLAlchemy's sessions and engines. Raises ConfigError, UsageError.
        """
        found = configuration.find_file(Path(file) if file is not None else None)
        return cls(
            configuration.load(found),
            patience=patience,
            lives=lives,
            size=size,
            session_options=session_options,
            **engine_options,
        )

    def _execution_options(self, reads: Reads) -> Mapping[str, Any]:
        """SQLAlchemy's, for a session that only reads: PostgreSQL refuses then what writes."""
        if reads is None:
            return {}
        level = {**self._engine_options, **self._engine_options.get("execution_options", {})}.get("isolation_level")
        # Only transactions can be read-only with every driver, and AUTOCOMMIT has none.
        in_transactions = {"isolation_level": "READ COMMITTED"} if level == "AUTOCOMMIT" else {}
        return {"postgresql_readonly": True, **in_transactions}

    def _follow(self, tenant: TenantId) -> Following:
        return Following(str(tenant), self._patience)

    def _attempt_at_hand(self, following: Following) -> Attempt | None:
        """The next try of a call, where nobody has to be asked for the shard."""
        tenant, name = following.tenant, following.next_shard
        shard = self._guide.at_hand(tenant) if name is None else self._guide.shard(tenant, name)
        return Attempt(self._guide, tenant, shard) if shard is not None else None

    def _attempt(self, following: Following) -> Attempt:
        """The next try of a call; the catalog is asked where it has to be."""
        return self._attempt_at_hand(following) or Attempt(
            self._guide, following.tenant, self._guide.find(following.tenant)
        )


def allowed_lag(reads: Reads, max_lag: timedelta | str | None) -> timedelta | None:
    """How far behind a session may be; None for one that is where the tenant is. Raises UsageError."""
    if reads not in (None, "green"):
        raise errors.UsageError(reason=f'reads={reads!r} is not known; there is reads="green"')
    if reads is None and max_lag is not None:
        raise errors.UsageError(reason='max_lag is for reads="green"')
    return None if reads is None else MAX_LAG if max_lag is None else _duration("max_lag", max_lag)


def _lives(config: Config, lives: timedelta | str | None) -> timedelta:
    """Rows of a tenant that has moved are cleaned away after `keep`; no one may look for them there by then."""
    keep = config.limits.keep
    chosen = keep / 2 if lives is None else _duration("lives", lives)
    if chosen >= keep:
        reason = f"a placement can't live for {format_duration(chosen)}: limits.keep is {format_duration(keep)}"
        raise errors.UsageError(reason=reason, help="give a shorter `lives`, or none")
    return chosen


def _duration(name: str, value: timedelta | str) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise errors.UsageError(reason=f"{name}: {error}") from error
