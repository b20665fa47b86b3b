"""One try of one call on one shard: notices a refusal wherever it surfaces, even where it was swallowed."""

from __future__ import annotations

from types import TracebackType

from sqlalchemy.engine import ExceptionContext

from shardwright.routing.following import Following
from shardwright.routing.guide import Guide
from shardwright.routing.refusal import Refusal, read_refusal
from shardwright.shard import Shard

OPTION = "shardwright_attempt"  # the execution option of SQLAlchemy by which a connection knows its attempt


class Swallowed(Exception):
    """The function went on after a refusal, so that what it did may not be kept."""


class Attempt:
    """As a context it lets every error pass, and has noticed the refusal in it."""

    def __init__(self, guide: Guide, tenant: str, shard: Shard) -> None:
        self.tenant, self.shard = tenant, shard
        self._guide = guide
        self._next_shard: str | None = None
        self.was_refused = False

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.notice(error)

    @property
    def options(self) -> dict[str, Attempt]:
        """The execution options for the connections of this attempt."""
        return {OPTION: self}

    def notice(self, error: BaseException) -> None:
        """If `error` is a refusal of this tenant's write, this attempt and the guide know."""
        if (refusal := read_refusal(error)) is not None:
            self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> None:
        """This attempt was refused, unless the refusal is another tenant's; the guide is told once."""
        if not self.was_refused and refusal.tenant in (None, self.tenant):
            self.was_refused = True
            self._next_shard = self._guide.refused(self.tenant, self.shard.name, refusal)

    def require_unrefused(self) -> None:
        """Raises Swallowed where it was refused."""
        if self.was_refused:
            raise Swallowed

    def pause(self, following: Following, now: float, error: BaseException | None = None) -> float:
        """How many seconds the call waits before its next try. Raises TenantIsMoving, from `error`."""
        return following.refused(self.shard.name, self._next_shard, now, error)


def notice_refusal(context: ExceptionContext) -> None:
    """For SQLAlchemy's event `handle_error`."""
    options = context.connection.get_execution_options() if context.connection is not None else {}
    attempt = options.get(OPTION)
    if isinstance(attempt, Attempt):
        attempt.notice(context.original_exception)
