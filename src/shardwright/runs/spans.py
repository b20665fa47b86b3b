"""Spans of what runs do, for a tracer that somebody has given; without one nothing happens, at the cost of one look."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shardwright.dsn import redact
from shardwright.runs.events import (
    Event,
    RunFinished,
    RunStarted,
    ShardFinished,
    ShardStarted,
    ShardWaiting,
    WaveStarted,
)
from shardwright.runs.results import ShardResult

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

_tracer: Tracer | None = None


def trace_with(tracer: Tracer | None) -> None:
    """Spans of this process go to `tracer` from now on; None: there are none any more."""
    global _tracer  # noqa: PLW0603 like logging, tracing is the process's
    _tracer = tracer


@contextmanager
def span_of_step(run: int, kind: str, step: str, **facts: Any) -> Iterator[None]:
    """A span of one step of a durable run. All of a run is one trace, whoever carries it."""
    if _tracer is None:
        yield
        return
    attributes = _attributes(run=run, kind=kind, step=step, **facts)
    with _tracer.start_as_current_span(
        f"{kind} {step}", context=_of_run(facts.get("set"), run), attributes=attributes, record_exception=False
    ) as span:
        try:
            yield
        except BaseException as error:
            _fail(span, f"{type(error).__name__}: {error}")
            raise


@contextmanager
def spans_of_operation(kind: str) -> Iterator[Callable[[Event], None]]:
    """A listener that makes a span of the run, and one of each shard's try in it; what is open at the end is closed."""
    if _tracer is None:
        yield lambda _: None
        return
    spans = _OperationSpans(kind, _tracer)
    try:
        yield spans.listen
    except BaseException as error:
        spans.fail(f"{type(error).__name__}: {error}")
        raise
    finally:
        spans.end()


class _OperationSpans:
    def __init__(self, kind: str, tracer: Tracer) -> None:
        self._kind, self._tracer = kind, tracer
        self._run: Span | None = None
        self._number: int | None = None
        self._shards: dict[str, Span] = {}

    def listen(self, event: Event) -> None:
        """The spans are as after this event."""
        match event:
            case RunStarted():
                self._number = event.run
                told = _attributes(run=event.run, kind=self._kind, target=event.target, shards=event.total)
                self._run = self._tracer.start_span(self._kind, attributes=told)
            case WaveStarted(number, _, shards) if self._run:
                self._run.add_event("wave", {"shardwright.wave": number, "shardwright.shards": shards})
            case ShardStarted(shard, attempt):
                told = _attributes(run=self._number, kind=self._kind, shard=shard, attempt=attempt)
                self._shards[shard] = self._tracer.start_span(
                    f"{self._kind} shard", context=self._within(), attributes=told
                )
            case ShardWaiting(shard, reason, _):
                self._end_shard(shard, reason)
            case ShardFinished(result):
                self._finish(result)
            case RunFinished(result) if self._run and result.exit_code:
                _fail(self._run, ", ".join(f"{count} {status}" for status, count in result.summary.items()))

    def fail(self, reason: str) -> None:
        """The run has ended with an error."""
        if self._run is not None:
            _fail(self._run, reason)

    def end(self) -> None:
        """Nothing is open any more."""
        for span in (*self._shards.values(), self._run):
            if span is not None:
                span.end()
        self._shards.clear()

    def _finish(self, result: ShardResult) -> None:
        if (span := self._shards.get(result.shard)) is not None:
            span.set_attributes(_attributes(status=result.status.value))
            self._end_shard(result.shard, result.error if result.has_failed else None)

    def _end_shard(self, shard: str, reason: str | None) -> None:
        if (span := self._shards.pop(shard, None)) is not None:
            if reason:
                _fail(span, reason)
            span.end()

    def _within(self) -> Context | None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 slow, and only where there is a tracer

        return set_span_in_context(self._run) if self._run else None


def _attributes(**facts: Any) -> dict[str, Any]:
    return {f"shardwright.{name}": fact for name, fact in facts.items() if fact is not None}


def _fail(span: Span, reason: str) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

    span.set_status(Status(StatusCode.ERROR, redact(reason)))


def _of_run(shard_set: str | None, run: int) -> Context:
    """The same ids in every process that has the run in its hands."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context  # noqa: PLC0415

    digest = hashlib.sha256(f"shardwright {shard_set} {run}".encode()).digest()
    trace, span = int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big")
    parent = SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent))
