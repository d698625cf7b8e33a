"""What is far larger than usual, or jumps, as the official client sees it through a real server."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import httpx
import pytest

from tensordeck.names import board_id
from tests.conftest import Server

SCALAR, BLOBS = 1, 3


@dataclass
class Caller:
    """The official client's own service client, and a browser that is signed in.

    Attributes:
        client: google.cloud.aiplatform_v1's TensorboardServiceClient.
        browser: For boards and pages.
    """

    client: Any
    browser: httpx.Client

    def experiment(self, project: str) -> str:
        """An experiment in an instance of a project of its own."""
        operation = self.client.create_tensorboard(
            parent=f"projects/{project}/locations/us-central1", tensorboard={"display_name": "t"}
        )
        return self.client.create_tensorboard_experiment(
            parent=operation.result(timeout=60).name,
            tensorboard_experiment={},
            tensorboard_experiment_id="large",
        ).name

    def run(self, project: str) -> str:
        return self.client.create_tensorboard_run(
            parent=self.experiment(project),
            tensorboard_run={"display_name": "run"},
            tensorboard_run_id="run",
        ).name

    def write(self, run: str, data: list[dict[str, Any]]) -> None:
        self.client.write_tensorboard_run_data(tensorboard_run=run, time_series_data=data)


@pytest.fixture(scope="module")
def caller(server: Server) -> Iterator[Caller]:
    from google.cloud.aiplatform_v1 import TensorboardServiceClient
    from google.cloud.aiplatform_v1.services.tensorboard_service.transports import (
        TensorboardServiceGrpcTransport,
    )

    token = server.token
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials((server.data_dir / "tls" / "ca.pem").read_bytes()),
        grpc.access_token_call_credentials(token),
    )
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    address = f"localhost:{server.port}"
    with (
        grpc.secure_channel(address, credentials, unlimited) as channel,
        httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=60
        ) as browser,
    ):
        transport = TensorboardServiceGrpcTransport(host=address, channel=channel)
        yield Caller(TensorboardServiceClient(transport=transport), browser)


def test_a_blob_of_64_mb_comes_back_as_it_went(caller):
    run = caller.run("blob")
    series = caller.client.create_tensorboard_time_series(
        parent=run,
        tensorboard_time_series={"display_name": "image", "value_type": BLOBS},
    )
    blob = bytes(range(256)) * (64 * 2**20 // 256)

    point = {"step": 1, "blobs": {"values": [{"id": "large", "data": blob}]}}
    caller.write(
        run,
        [
            {
                "tensorboard_time_series_id": series.name.rpartition("/")[2],
                "value_type": BLOBS,
                "values": [point],
            }
        ],
    )

    replies = caller.client.read_tensorboard_blob_data(
        request={"time_series": series.name, "blob_ids": ["large"]}
    )
    (read,) = [blob for reply in replies for blob in reply.blobs]
    assert read.id == "large"
    # Digests: nobody wants to read how 64 MB differ.
    assert hashlib.sha256(read.data).digest() == hashlib.sha256(blob).digest()


def test_a_run_with_10_000_series_is_written_listed_and_read(caller):
    run = caller.run("series")
    experiment = run.rpartition("/runs/")[0]
    tags = [f"layer/{number:05}/norm" for number in range(10_000)]
    ids = {}
    for start in range(0, len(tags), 1000):
        made = caller.client.batch_create_tensorboard_time_series(
            parent=experiment,
            requests=[
                {
                    "parent": run,
                    "tensorboard_time_series": {"display_name": tag, "value_type": SCALAR},
                }
                for tag in tags[start : start + 1000]
            ],
        )
        ids |= {one.display_name: one.name for one in made.tensorboard_time_series}
    for start in range(0, len(tags), 5000):  # a request's limit of points to a run
        caller.write(
            run,
            [
                {
                    "tensorboard_time_series_id": ids[tag].rpartition("/")[2],
                    "value_type": SCALAR,
                    "values": [{"step": 7, "scalar": {"value": float(tag[6:11])}}],
                }
                for tag in tags[start : start + 5000]
            ],
        )

    listed = caller.client.list_tensorboard_time_series(
        request={"parent": run, "page_size": 1000, "order_by": "display_name"}
    )
    assert [one.display_name for one in listed] == tags
    read = caller.client.batch_read_tensorboard_time_series_data(
        request={
            "tensorboard": experiment.partition("/experiments/")[0],
            "time_series": [ids[tag] for tag in tags[-1000:]],
        }
    )
    assert [[(p.step, p.scalar.value) for p in one.values] for one in read.time_series_data] == [
        [(7, float(number))] for number in range(9000, 10_000)
    ]
    shown = caller.browser.get(f"/experiment/{board_id(experiment)}/data/plugin/scalars/tags")
    assert sorted(shown.json()["run"]) == tags


def test_an_experiment_with_2_000_runs_is_written_listed_and_shown(caller):
    experiment = caller.experiment("runs")
    names = [f"trial-{number:04}" for number in range(2000)]
    for start in range(0, len(names), 1000):
        caller.client.batch_create_tensorboard_runs(
            parent=experiment,
            requests=[
                {
                    "parent": experiment,
                    "tensorboard_run": {"display_name": name},
                    "tensorboard_run_id": name,
                }
                for name in names[start : start + 1000]
            ],
        )
        caller.client.batch_create_tensorboard_time_series(
            parent=experiment,
            requests=[
                {
                    "parent": f"{experiment}/runs/{name}",
                    "tensorboard_time_series_id": "1",
                    "tensorboard_time_series": {
                        "display_name": "loss",
                        "value_type": SCALAR,
                        "plugin_name": "scalars",
                    },
                }
                for name in names[start : start + 1000]
            ],
        )
    caller.client.write_tensorboard_experiment_data(
        tensorboard_experiment=experiment,
        write_run_data_requests=[
            {
                "tensorboard_run": f"{experiment}/runs/{name}",
                "time_series_data": [
                    {
                        "tensorboard_time_series_id": "1",
                        "value_type": SCALAR,
                        "values": [{"step": 0, "scalar": {"value": float(name[6:])}}],
                    }
                ],
            }
            for name in names
        ],
    )

    listed = caller.client.list_tensorboard_runs(request={"parent": experiment, "page_size": 300})
    assert [one.display_name for one in listed] == names
    board = f"/experiment/{board_id(experiment)}/data"
    assert sorted(caller.browser.get(f"{board}/runs").json()) == names
    chart = caller.browser.post(
        f"{board}/plugin/timeseries/timeSeries",
        data={"requests": '[{"plugin": "scalars", "tag": "loss"}]'},
    ).json()
    assert {run: points[0]["value"] for run, points in chart[0]["runToSeries"].items()} == {
        name: float(name[6:]) for name in names
    }
    page = caller.browser.get(f"/{experiment}").text
    assert "2,000" in page
    assert len(set(re.findall(r"trial-[0-9]{4}", page))) == 50
    assert "Next page" in page


def test_points_whose_wall_times_jump_come_back_by_step_with_their_own_times(caller):
    run = caller.run("times")
    series = caller.client.create_tensorboard_time_series(
        parent=run,
        tensorboard_time_series={
            "display_name": "loss", "value_type": SCALAR, "plugin_name": "scalars",
        },
    )  # fmt: skip
    start = datetime(2026, 3, 29, 1, 59, 59, 999_999, UTC)  # where clocks are put forward
    jumps = [0, 3600, -3600, 86_400 * 3650, -86_400 * 20_000, -1, 0, 0]
    times = [start + timedelta(seconds=seconds) for seconds in jumps]
    for step in (5, 1, 7, 0, 3, 2, 6, 4):
        caller.write(
            run,
            [
                {
                    "tensorboard_time_series_id": series.name.rpartition("/")[2],
                    "value_type": SCALAR,
                    "values": [
                        {"step": step, "wall_time": times[step], "scalar": {"value": step / 8}}
                    ],
                }
            ],
        )

    read = caller.client.read_tensorboard_time_series_data(
        tensorboard_time_series=series.name
    ).time_series_data.values
    assert [(p.step, p.wall_time, p.scalar.value) for p in read] == [
        (step, times[step], step / 8) for step in range(8)
    ]
    metadata = caller.client.get_tensorboard_time_series(name=series.name).metadata
    assert metadata.max_step == 7
    assert metadata.max_wall_time == max(times)
    chart = caller.browser.post(
        f"/experiment/{board_id(run.rpartition('/runs/')[0])}/data/plugin/timeseries/timeSeries",
        data={"requests": '[{"plugin": "scalars", "tag": "loss"}]'},
    ).json()
    assert [(p["step"], p["wallTime"]) for p in chart[0]["runToSeries"]["run"]] == [
        (step, pytest.approx(times[step].timestamp())) for step in range(8)
    ]
