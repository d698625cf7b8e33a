"""Traces, as a collector that speaks OTLP receives them from a server."""

import gzip
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest

from tests.conftest import make_server
from tests.telemetry.conftest import Watched

pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2 as service,
)
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2_grpc as stubs,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
SERVICE = "google.cloud.aiplatform.v1.TensorboardService"
BOARDS = "/v1/projects/p/locations/us-central1/tensorboards"


class Collector(stubs.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._came = threading.Condition()
        self.resource: dict[str, str] = {}

    def Export(self, request, context):  # noqa: N802 -- the service's name
        with self._came:
            for group in request.resource_spans:
                self.resource = {
                    pair.key: pair.value.string_value for pair in group.resource.attributes
                }
                for scope in group.scope_spans:
                    self._spans += scope.spans
            self._came.notify_all()
        return service.ExportTraceServiceResponse()

    def trace(self, trace: str, root: str) -> list[Span]:
        """A trace's spans, once its root has come, which ends last."""
        deadline = time.monotonic() + 30
        with self._came:
            while True:
                found = [span for span in self._spans if span.trace_id.hex() == trace]
                if any(span.name == root for span in found):
                    return found
                names = [span.name for span in found]
                assert self._came.wait(deadline - time.monotonic()), f"only {names} came"


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, int]]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    stubs.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, port
    server.stop(None)


@pytest.fixture(scope="module")
def traced(collector, tmp_path_factory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("traced")
    server = make_server(folder / "data", "--log-format", "json", "--slow-seconds", "0")
    server.variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector[1]}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_SERVICE_NAME": "deck-of-the-tests",
    }
    with (folder / "log").open("w") as log:
        server.output = log
        yield Watched(server.start(), "", 0, folder / "log")
        server.kill()


def attributes(span: Span) -> dict[str, object]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def above(span: Span, spans: list[Span]) -> list[str]:
    """The names of the spans that one is below, the nearest first."""
    parent = next((other for other in spans if other.span_id == span.parent_span_id), None)
    return [] if parent is None else [parent.name, *above(parent, spans)]


def named(spans: list[Span], name: str) -> Span:
    """One of the spans of a name."""
    return next(span for span in spans if span.name == name)


def test_a_write_over_grpc_is_traced_from_the_caller_to_the_disk(traced, collector):
    run, series = traced.make_series()
    trace = "0af7651916cd43dd8448eb211c80319c"

    traced.write(run, series, 3, ("traceparent", f"00-{trace}-b7ad6b7169203331-01"))

    root = f"{SERVICE}/WriteTensorboardRunData"
    spans = collector[0].trace(trace, root)
    rpc, commit = named(spans, root), named(spans, "store commit")
    assert rpc.kind == Span.SPAN_KIND_SERVER
    assert rpc.parent_span_id.hex() == "b7ad6b7169203331"
    assert attributes(rpc) == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "WriteTensorboardRunData",
        "rpc.grpc.status_code": 0,
    }
    assert "TensorboardService.write_tensorboard_run_data" in above(commit, spans)
    assert above(commit, spans)[-1] == root
    assert attributes(commit)["tensordeck.commit.pieces"] >= 1
    assert commit.end_time_unix_nano >= commit.start_time_unix_nano
    assert collector[0].resource["service.name"] == "deck-of-the-tests"


def test_a_change_over_rest_is_traced_too_and_its_log_line_names_the_trace(traced, collector):
    status, _, _ = traced.post(
        BOARDS, b'{"displayName": "b"}', traceparent=TRACEPARENT, x_request_id="traced-rest"
    )
    assert status == 200

    root = "POST CreateTensorboard"
    spans = collector[0].trace(TRACE, root)
    request = named(spans, root)
    assert request.parent_span_id.hex() == CALLER
    assert attributes(request)["http.response.status_code"] == 200
    ways = [above(span, spans) for span in spans if span.name == "store commit"]
    assert ["TensorboardService.create_tensorboard", root] in ways
    [line] = traced.lines_of("traced-rest")
    assert line["trace_id"] == TRACE
    assert line["span_id"] == request.span_id.hex()


def test_a_refused_call_has_its_status_and_no_commit(traced, collector):
    trace = "11111111111111111111111111111111"
    with pytest.raises(grpc.RpcError):
        traced.call(
            "GetTensorboard",
            "Tensorboard",
            ("traceparent", f"00-{trace}-{CALLER}-01"),
            name="projects/p/locations/us-central1/tensorboards/404",
        )

    spans = collector[0].trace(trace, f"{SERVICE}/GetTensorboard")

    assert attributes(named(spans, f"{SERVICE}/GetTensorboard"))["rpc.grpc.status_code"] == 5
    assert "store commit" not in [span.name for span in spans]


@pytest.mark.heavy
def test_spans_go_over_http_too_where_the_variables_say_so(tmp_path):
    collector = Collector()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            reply = collector.Export(service.ExportTraceServiceRequest.FromString(body), None)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply.SerializeToString())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as endpoint:
        threading.Thread(target=endpoint.serve_forever, daemon=True).start()
        server = make_server(tmp_path / "data")
        server.variables = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{endpoint.server_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        watched = Watched(server.start(), "", 0, tmp_path / "log")
        try:
            assert watched.get("/healthz", traceparent=TRACEPARENT)[0] == 200
            [span] = collector.trace(TRACE, "GET health")
            assert span.parent_span_id.hex() == CALLER
        finally:
            server.kill()
            endpoint.shutdown()


def test_without_the_variables_no_tracing_is_loaded():
    import subprocess
    import sys

    code = (
        "import sys, tensordeck.cli.serve_command, tensordeck.server\n"
        "from tensordeck.telemetry.tracing import tracing, tracing_from_environment\n"
        "with tracing_from_environment({}):\n"
        "    assert tracing() is None\n"
        "with tracing_from_environment({'OTEL_EXPORTER_OTLP_ENDPOINT': 'x', "
        "'OTEL_SDK_DISABLED': 'true'}):\n"
        "    assert tracing() is None\n"
        "with tracing_from_environment({'OTEL_EXPORTER_OTLP_ENDPOINT': 'x', "
        "'OTEL_TRACES_EXPORTER': 'none'}):\n"
        "    assert tracing() is None\n"
        "sys.exit('opentelemetry' in ' '.join(sys.modules))\n"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_package_is_told_once_and_the_server_goes_on(tmp_path: Path):
    import subprocess
    import sys

    code = (
        "import logging, sys\n"
        "sys.modules['opentelemetry.sdk.trace'] = None\n"
        "logging.basicConfig()\n"
        "from tensordeck.telemetry.tracing import tracing, tracing_from_environment\n"
        "with tracing_from_environment({'OTEL_TRACES_EXPORTER': 'otlp'}):\n"
        "    assert tracing() is None\n"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stderr.count("pip install 'tensordeck[otel]'") == 1
