"""The whole server, killed at random moments under write load: nothing acknowledged is lost."""

import json
import random
import threading
import urllib.request
from typing import Any

import grpc
import pytest

from tensordeck import protos
from tests.conftest import Server

KILLS = 50
WRITERS = 4
SERIES = 5
POINTS = 8
SERVICE = "/google.cloud.aiplatform.v1.TensorboardService"
PARENT = "projects/kill/locations/us-central1"


class Writer(threading.Thread):
    """Writes ever further steps to the series of one run, and remembers what was acknowledged."""

    def __init__(self, port: int, token: str, run: str, series: list[str], acknowledged: int):
        super().__init__(daemon=True)
        self.port, self.token, self.run_name, self.series = port, token, run, series
        self.acknowledged = acknowledged
        self.attempted = acknowledged

    def run(self) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            write = channel.unary_unary(f"{SERVICE}/WriteTensorboardRunData")
            while True:
                self.attempted = self.acknowledged + POINTS
                try:
                    write(self.request(), metadata=[("authorization", f"Bearer {self.token}")])
                except grpc.RpcError:
                    return
                self.acknowledged = self.attempted

    def request(self) -> bytes:
        message = protos.message("WriteTensorboardRunDataRequest")(tensorboard_run=self.run_name)
        for number, series in enumerate(self.series):
            data = message.time_series_data.add(tensorboard_time_series_id=series, value_type=1)
            for step in range(self.acknowledged, self.acknowledged + POINTS):
                point = data.values.add(step=step)
                point.wall_time.FromSeconds(step)
                point.scalar.value = value_at(number, step)
        return message.SerializeToString()


def value_at(series: int, step: int) -> float:
    """What is written; a point that was altered or moved to another series does not match."""
    return series * 1e6 + step + 1 / 3


def rest(server: Server, token: str, verb: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        f"{server.url}/v1/{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=verb,
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


@pytest.mark.torture
@pytest.mark.timeout(1500)
def test_acknowledged_points_survive_kills(fresh_server: Server) -> None:
    server = fresh_server
    chance = random.Random(20261123)
    token = server.token
    tensorboard = rest(server, token, "POST", f"{PARENT}/tensorboards", {"displayName": "k"})
    name = tensorboard["response"]["name"]
    experiment = rest(server, token, "POST", f"{name}/experiments?tensorboardExperimentId=e", {})
    runs: list[tuple[str, list[str]]] = []
    for number in range(WRITERS):
        run = rest(
            server,
            token,
            "POST",
            f"{experiment['name']}/runs?tensorboardRunId=r{number}",
            {"displayName": f"r{number}"},
        )["name"]
        series = [
            rest(
                server,
                token,
                "POST",
                f"{run}/timeSeries",
                {"displayName": f"s{one}", "valueType": "SCALAR"},
            )["name"]
            for one in range(SERIES)
        ]
        runs.append((run, series))
    acknowledged = [0] * WRITERS

    for _ in range(KILLS):
        writers = [
            Writer(server.port, token, run, [s.rsplit("/", 1)[1] for s in series], done)
            for (run, series), done in zip(runs, acknowledged, strict=True)
        ]
        for writer in writers:
            writer.start()
        writers[0].join(timeout=chance.uniform(0.05, 1.0))
        server.kill()
        for writer in writers:
            writer.join()
        server.start()
        for number, ((_, series), writer) in enumerate(zip(runs, writers, strict=True)):
            assert writer.acknowledged >= acknowledged[number]
            acknowledged[number] = writer.acknowledged
            # One series a run and kill; all of them after the last.
            one = chance.randrange(SERIES)
            check(server, token, series[one], one, writer.acknowledged, writer.attempted)

    for (_, series), done in zip(runs, acknowledged, strict=True):
        for one, full in enumerate(series):
            check(server, token, full, one, done, done + POINTS)
    assert min(acknowledged) > 0


def check(
    server: Server, token: str, series: str, number: int, acknowledged: int, attempted: int
) -> None:
    data = rest(server, token, "GET", f"{series}:read?maxDataPoints=-1")["timeSeriesData"]
    found = [
        (int(point.get("step", 0)), point["scalar"].get("value", 0.0))
        for point in data.get("values", [])
    ]
    steps = [step for step, _ in found]

    assert steps in (list(range(acknowledged)), list(range(attempted)))
    assert [value for _, value in found] == [value_at(number, step) for step in steps]
