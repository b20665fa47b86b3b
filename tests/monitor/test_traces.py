"""Traces: a span for each run, step and try of a shard, to a collector that is named; nothing where none is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kit import MakeProject, Project
from pictures import config
from shardwright import errors
from shardwright.monitor import traces
from shardwright.runs.spans import span_of_step, trace_with


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    made = make_project(shards=2)
    made.table("r1", "notes")
    return made


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """The spans of this process."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace_with(provider.get_tracer("test"))
    yield exporter
    trace_with(None)


def by_name(spans: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    found: dict[str, list[ReadableSpan]] = {}
    for span in spans.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    return found


def told(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("shardwright."): value for name, value in (span.attributes or {}).items()}


def test_a_rollout_is_a_span_with_one_for_each_shard_in_it(project: Project, spans: InMemorySpanExporter) -> None:
    """Named alike for every fleet; which run and shard, the attributes say."""
    project.migrate()
    found = by_name(spans)
    (run,) = found["migrate"]
    assert told(run) | {"run": 1, "kind": "migrate", "shards": 2} == told(run)
    assert sorted(told(span)["shard"] for span in found["migrate shard"]) == ["shard_0", "shard_1"]
    assert {told(span)["status"] for span in found["migrate shard"]} == {"migrated"}
    assert all(
        span.parent and run.context and span.parent.span_id == run.context.span_id for span in found["migrate shard"]
    )


def test_a_shard_that_fails_is_a_span_that_fails(project: Project, spans: InMemorySpanExporter) -> None:
    """And so is the run; neither with a password."""
    project.revision("r2", "raise ValueError('postgresql://ada:s3cret@h/d')")
    project.migrate(jobs=1)
    found = by_name(spans)
    (failed,) = [span for span in found["migrate shard"] if not span.status.is_ok]
    assert "ValueError" in (failed.status.description or "")
    assert "s3cret" not in (failed.status.description or "")
    assert not found["migrate"][0].status.is_ok


def test_an_operation_that_breaks_off_leaves_no_span_open(project: Project, spans: InMemorySpanExporter) -> None:
    """With the reason."""

    def break_off(event: object) -> None:
        if type(event).__name__ == "ShardFinished":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.migrate(on_event=break_off)
    assert by_name(spans)["migrate"][0].status.description == "KeyboardInterrupt: "


def test_all_of_a_durable_run_is_one_trace_whoever_carries_it(spans: InMemorySpanExporter) -> None:
    """Two workers that take it one after the other; another run is another trace."""
    for run, step in ((7, "copy"), (7, "switch"), (8, "copy")):
        with span_of_step(run, "move", step, set="main", tenant="42"):
            pass
    ids = [span.context.trace_id for span in spans.get_finished_spans() if span.context]
    assert ids[0] == ids[1] != ids[2]
    assert told(spans.get_finished_spans()[0]) == {
        "run": 7, "kind": "move", "step": "copy", "set": "main", "tenant": "42"
    }  # fmt: skip


def test_a_step_that_fails_fails_its_span(spans: InMemorySpanExporter) -> None:
    """With the reason, and the error goes on."""
    with pytest.raises(LookupError), span_of_step(7, "move", "copy", set="main"):
        raise LookupError("no room")
    assert spans.get_finished_spans()[0].status.description == "LookupError: no room"


def test_spans_reach_the_collector_that_is_configured(project: Project) -> None:
    """Over HTTP, from the command line, before it ends; with the name of the fleet."""
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/traces"
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        project.extra = f'[monitor]\ntraces = "http://127.0.0.1:{server.server_address[1]}"\n'
        project.write()
        done = project.cli("migrate")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (done.returncode, done.stderr) == (0, "")
    request = ExportTraceServiceRequest.FromString(b"".join(bodies))
    names = sorted(span.name for part in request.resource_spans for scope in part.scope_spans for span in scope.spans)
    assert names == ["migrate", "migrate shard", "migrate shard"]
    resource = {each.key: each.value.string_value for each in request.resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["shardwright.set"]) == ("shardwright", "main")


def test_without_the_extra_a_configured_collector_is_an_error_and_one_of_the_environment_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment may mean other programs."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(errors.ExtraMissing) as caught:
        traces.begin(config('[monitor]\ntraces = "http://127.0.0.1:1"\n'))
    assert caught.value.hint == "pip install 'shardwright[otel]'"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    traces.begin(config())()
