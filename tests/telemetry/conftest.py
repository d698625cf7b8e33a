"""A server that tells everything about itself, and what its tests ask it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tensordeck import protos
from tests.conftest import Server, free_port, make_server

SERVICE = "/google.cloud.aiplatform.v1.TensorboardService/"
PLACE = "projects/p/locations/us-central1"


@dataclass
class Watched:
    """The server.

    Attributes:
        server: The process.
        scrape_token: The token that opens the metrics.
        metrics_port: The port that has nothing else.
        log: What it wrote.
    """

    server: Server
    scrape_token: str
    metrics_port: int
    log: Path

    def get(self, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers (names in lower case) of a request."""
        return self._ask(path, None, headers)

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, str, dict[str, str]]:
        """As `get`, as the owner, with a body of JSON."""
        headers = {**headers, "authorization": f"Bearer {self.server.token}"}
        return self._ask(path, body, {**headers, "content_type": "application/json"})

    def _ask(
        self, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str, dict[str, str]]:
        request = urllib.request.Request(
            self.server.url + path,
            body,
            {key.replace("_", "-"): value for key, value in headers.items()},
        )
        try:
            with urllib.request.urlopen(request) as reply:
                found = reply.status, reply.read().decode(), reply.headers
        except urllib.error.HTTPError as error:
            found = error.code, error.read().decode(), error.headers
        return found[0], found[1], {key.lower(): value for key, value in found[2].items()}

    def scrape(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """All samples, by name and labels."""
        status, text, _ = self.get("/metrics", authorization=f"Bearer {self.scrape_token}")
        assert status == 200, text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have at least these labels; 0 without any."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, has), value in self.scrape().items()
            if found == name and wanted <= has
        )

    def call(
        self,
        method: str,
        reply: str,
        *headers: tuple[str, str],
        request: str = "",
        **fields: object,
    ) -> tuple[object, dict[str, str]]:
        """A gRPC call's reply and trailing metadata."""
        with grpc.insecure_channel(f"127.0.0.1:{self.server.port}") as channel:
            call = channel.unary_unary(
                SERVICE + method,
                lambda message: message.SerializeToString(),
                protos.message(reply).FromString,
            )
            message = protos.message(request or f"{method}Request")(**fields)
            authorization = ("authorization", f"Bearer {self.server.token}")
            answer, done = call.with_call(message, metadata=(authorization, *headers), timeout=30)
            return answer, dict(done.trailing_metadata())

    def make_series(self) -> tuple[str, str]:
        """A new run, and the id of a series of scalars in it."""
        made, _ = self.call(
            "CreateTensorboard",
            "google.longrunning.Operation",
            parent=PLACE,
            tensorboard={"display_name": "b"},
        )
        board = protos.message("Tensorboard").FromString(made.response.value).name
        self.call(
            "CreateTensorboardExperiment",
            "TensorboardExperiment",
            parent=board,
            tensorboard_experiment_id="e",
        )
        run = f"{board}/experiments/e/runs/r"
        self.call(
            "CreateTensorboardRun",
            "TensorboardRun",
            parent=f"{board}/experiments/e",
            tensorboard_run_id="r",
            tensorboard_run={"display_name": "r"},
        )
        series, _ = self.call(
            "CreateTensorboardTimeSeries",
            "TensorboardTimeSeries",
            parent=run,
            tensorboard_time_series={"display_name": "loss", "value_type": "SCALAR"},
        )
        return run, series.name.rpartition("/")[2]

    def write(
        self, run: str, series: str, points: int, *headers: tuple[str, str]
    ) -> dict[str, str]:
        """Writes points in one call; returns its trailing metadata."""
        return self.call(
            "WriteTensorboardRunData",
            "WriteTensorboardRunDataResponse",
            *headers,
            tensorboard_run=run,
            time_series_data=[
                {
                    "tensorboard_time_series_id": series,
                    "value_type": "SCALAR",
                    "values": [
                        {
                            "step": step,
                            "scalar": {"value": step / 2},
                            "wall_time": {"seconds": step},
                        }
                        for step in range(points)
                    ],
                }
            ],
        )[1]

    def log_lines(self) -> list[dict[str, object]]:
        """The log's entries."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def lines_of(self, request: str) -> list[dict[str, object]]:
        """A request's entries; its reply may come a moment before the last of them."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            lines = [line for line in self.log_lines() if line.get("request_id") == request]
            if any(line["logger"] == "tensordeck.requests" for line in lines):
                return lines
        raise AssertionError(f"nothing was logged of {request}")


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One that tests share; a request of any length counts as slow."""
    folder = tmp_path_factory.mktemp("watched")
    token = "a-token-of-the-platform-team-0123456789"
    (folder / "token").write_text(token + "\n")
    port = free_port()
    options = ("--metrics-port", str(port), "--metrics-token-file", str(folder / "token"))
    server = make_server(
        folder / "data",
        *options,
        "--log-format",
        "json",
        "--slow-seconds",
        "0",
        "--log-level",
        "debug",
    )
    with (folder / "log").open("w") as log:
        server.output = log
        yield Watched(server.start(), token, port, folder / "log")
        server.kill()
