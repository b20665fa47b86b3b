"""Where traces go: an OTLP collector, if the configuration or the environment names one; else nothing is imported."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable

from shardwright import errors
from shardwright.config import Config
from shardwright.runs.spans import trace_with

_ENVIRONMENT = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PATH = "/v1/traces"


def begin(config: Config) -> Callable[[], object]:
    """Spans of this process's runs are sent to where [monitor] traces or OTEL_EXPORTER_OTLP_ENDPOINT says, if either
    does; gives what sends the last ones, for a process that ends without its exit handlers.

    Raises ExtraMissing where [monitor] names a collector and the extra `otel` is not installed.
    """
    if config.monitor.traces is None and not any(map(os.environ.get, _ENVIRONMENT)):
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        if config.monitor.traces is None:  # the environment may mean other programs
            return lambda: None
        raise errors.ExtraMissing(what="monitor.traces", extra="otel") from error
    resource = Resource.create({"service.name": "shardwright", "shardwright.set": config.fleet.set})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=_endpoint(config.monitor.traces))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace_with(provider.get_tracer("shardwright"))
    atexit.register(provider.shutdown)
    return provider.force_flush


def _endpoint(configured: str | None) -> str | None:
    """The path is the standard's where none is given; None: as the environment says."""
    if configured is None or configured.endswith(_PATH):
        return configured
    return configured.rstrip("/") + _PATH
