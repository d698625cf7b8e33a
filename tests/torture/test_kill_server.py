"""kill -9 of the whole server under gRPC writes: nothing that was acknowledged is lost."""

import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from tensordeck import protos

KILLS = 50
THREADS = 4
POINTS = 5
SERVICE = "/google.cloud.aiplatform.v1.TensorboardService/"
PARENT = "projects/p/locations/us-central1"


def connect(server):
    ca = (server.data_dir / "tls" / "ca.pem").read_bytes()
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)]
    return grpc.secure_channel(
        f"localhost:{server.port}", grpc.ssl_channel_credentials(ca), options=options
    )


def call(channel, metadata, method, reply, **fields):
    stub = channel.unary_unary(
        SERVICE + method,
        protos.message(f"{method}Request").SerializeToString,
        protos.message(reply).FromString,
    )
    return stub(protos.message(f"{method}Request")(**fields), metadata=metadata, timeout=30)


def write(channel, metadata, run, number):
    """Request `number` writes its own steps with its own values."""
    points = [
        {
            "step": step,
            "wall_time": {"seconds": 1_760_000_000 + step},
            "scalar": {"value": number + step / 8},
        }
        for step in range(number * POINTS, number * POINTS + POINTS)
    ]
    call(
        channel,
        metadata,
        "WriteTensorboardRunData",
        "WriteTensorboardRunDataResponse",
        tensorboard_run=run,
        time_series_data=[
            {"tensorboard_time_series_id": "1", "value_type": "SCALAR", "values": points}
        ],
    )


def make_series(channel, metadata):
    call(
        channel,
        metadata,
        "CreateTensorboard",
        "google.longrunning.Operation",
        parent=PARENT,
        tensorboard={"display_name": "torture"},
    )
    (board,) = call(
        channel, metadata, "ListTensorboards", "ListTensorboardsResponse", parent=PARENT
    ).tensorboards
    experiment = f"{board.name}/experiments/e"
    call(
        channel,
        metadata,
        "CreateTensorboardExperiment",
        "TensorboardExperiment",
        parent=board.name,
        tensorboard_experiment_id="e",
    )
    call(
        channel,
        metadata,
        "CreateTensorboardRun",
        "TensorboardRun",
        parent=experiment,
        tensorboard_run_id="r",
        tensorboard_run={"display_name": "r"},
    )
    call(
        channel,
        metadata,
        "CreateTensorboardTimeSeries",
        "TensorboardTimeSeries",
        parent=f"{experiment}/runs/r",
        tensorboard_time_series_id="1",
        tensorboard_time_series={"display_name": "tag", "value_type": "SCALAR"},
    )
    return f"{experiment}/runs/r"


def stored(channel, metadata, run):
    reply = call(
        channel,
        metadata,
        "ExportTensorboardTimeSeriesData",
        "ExportTensorboardTimeSeriesDataResponse",
        tensorboard_time_series=f"{run}/timeSeries/1",
        page_size=10_000,
    )
    points = list(reply.time_series_data_points)
    while reply.next_page_token:
        reply = call(
            channel,
            metadata,
            "ExportTensorboardTimeSeriesData",
            "ExportTensorboardTimeSeriesDataResponse",
            tensorboard_time_series=f"{run}/timeSeries/1",
            page_size=10_000,
            page_token=reply.next_page_token,
        )
        points += reply.time_series_data_points
    return [(point.step, point.scalar.value) for point in points]


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_a_killed_server_keeps_what_it_acknowledged(fresh_server):
    rng = random.Random(11)
    metadata = [("authorization", f"Bearer {fresh_server.token}")]
    with connect(fresh_server) as channel:
        run = make_series(channel, metadata)
    acknowledged: set[int] = set()
    numbers = itertools.count()
    for _ in range(KILLS):
        metadata = [("authorization", f"Bearer {fresh_server.token}")]
        first = threading.Event()

        def work(metadata=metadata, first=first):
            with connect(fresh_server) as channel:
                while True:
                    number = next(numbers)
                    try:
                        write(channel, metadata, run, number)
                    except grpc.RpcError:
                        return
                    acknowledged.add(number)
                    first.set()

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(THREADS):
                pool.submit(work)
            assert first.wait(60), "no write was acknowledged"
            # A random moment of the server's life is what this test is about.
            time.sleep(rng.uniform(0, 0.5))
            fresh_server.kill()
        fresh_server.start()
    metadata = [("authorization", f"Bearer {fresh_server.token}")]
    with connect(fresh_server) as channel:
        points = stored(channel, metadata, run)
    steps = np.array([step for step, _ in points])
    assert (np.diff(steps) > 0).all(), "a step is there twice"
    assert all(value == step // POINTS + step / 8 for step, value in points)
    there = {step // POINTS for step, _ in points}
    assert acknowledged <= there, "an acknowledged request is gone"
    assert len(points) == len(there) * POINTS, "a request was written in part"
