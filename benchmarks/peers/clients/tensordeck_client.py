"""Google's client, unmodified, against Tensordeck: the generated one of google-cloud-aiplatform,
with one connection a client, at most 5,000 points a request (the API's limit). A step a call is
also measured through `aiplatform.log_time_series_metrics`, which makes a connection for each call.

Runs in an environment made by `tensordeck exec`, which holds the credentials and the authority."""

import json
import time
import urllib.request
import uuid
from typing import Any

import commands
import google.auth
import google.auth.transport.requests
import values
from google.api_core.client_options import ClientOptions
from google.cloud import aiplatform, aiplatform_v1
from google.cloud.aiplatform_v1 import types

LIMIT = 5_000
PARENT = "projects/bench/locations/us-central1"
INSTANCE = f"{PARENT}/tensorboards/"

_Request = types.WriteTensorboardRunDataRequest
_SCALAR = types.TensorboardTimeSeries.ValueType.SCALAR


def _client(url: str) -> aiplatform_v1.TensorboardServiceClient:
    address = url.removeprefix("http://").replace("127.0.0.1", "localhost")
    return aiplatform_v1.TensorboardServiceClient(
        client_options=ClientOptions(api_endpoint=address)
    )


def _create_runs(url: str, name: str, runs: int, tags: list[str]) -> list[str]:
    client = _client(url)
    boards = list(client.list_tensorboards(parent=PARENT))
    board = boards[0].name if boards else _create_board(client)
    experiment = client.create_tensorboard_experiment(
        parent=board, tensorboard_experiment_id=name
    ).name
    made = [f"{experiment}/runs/run-{number}" for number in range(runs)]
    for number, run in enumerate(made):
        client.create_tensorboard_run(
            parent=experiment,
            tensorboard_run_id=f"run-{number}",
            tensorboard_run=types.TensorboardRun(display_name=f"run-{number}"),
        )
        client.batch_create_tensorboard_time_series(
            parent=experiment,
            requests=[
                {
                    "parent": run,
                    "tensorboard_time_series_id": tag.replace("_", ""),
                    "tensorboard_time_series": {"display_name": tag, "value_type": _SCALAR},
                }
                for tag in tags
            ],
        )
    return made


def _create_board(client: aiplatform_v1.TensorboardServiceClient) -> str:
    board = types.Tensorboard(display_name="bench")
    return str(client.create_tensorboard(parent=PARENT, tensorboard=board).result().name)


def _request(run: str, rows: list[dict[str, float]], first: int = 0) -> Any:
    """A write request, made of plain protobuf messages as the client's documentation advises."""
    request = _Request.pb(_Request(tensorboard_run=run))
    now = int(time.time())
    for tag in rows[0]:
        series = request.time_series_data.add(
            tensorboard_time_series_id=tag.replace("_", ""), value_type=int(_SCALAR)
        )
        add = series.values.add
        for step, row in enumerate(rows, first):
            point = add()
            point.step = step
            point.scalar.value = row[tag]
            point.wall_time.seconds = now
            point.wall_time.nanos = step % 1_000 * 1_000_000
    return _Request.wrap(request)


def write(
    urls: list[str],
    name: str,
    runs: int,
    clients: int,
    series: int,
    steps: int,
    per_step: bool,
) -> Any:
    """Clients share runs and log them: as fast as can be, or with a call a step."""
    tags = [f"tag_{tag}" for tag in range(series)]
    made = commands.apart(_create_runs, urls[0], name, runs, tags)
    shares = [(urls[at % len(urls)], own) for at, own in enumerate(commands.shares(made, clients))]

    def connect(task: tuple[str, list[tuple[int, str]]]) -> Any:
        client = _client(task[0])
        client.get_tensorboard_run(name=task[1][0][1])  # the connection
        return client, [(run, values.rows(number, series, steps)) for number, run in task[1]]

    def work(connected: Any) -> None:
        client, own = connected
        size = 1 if per_step else LIMIT // series
        for run, rows in own:
            for at in range(0, steps, size):
                client.write_tensorboard_run_data(_request(run, rows[at : at + size], at))

    return {"runs": made, **commands.crowd(shares, connect, work)}


def log_metrics(urls: list[str], name: str, clients: int, series: int, steps: int) -> Any:
    """Clients log a step a call by `aiplatform.log_time_series_metrics`, as tutorials do."""

    def connect(number: int) -> Any:
        board = next(iter(_client(urls[0]).list_tensorboards(parent=PARENT))).name
        rows = values.rows(number, series, steps + 1)
        aiplatform.init(project="bench", location="us-central1", api_transport="grpc")
        aiplatform.init(experiment=f"{name}-{number}", experiment_tensorboard=board)
        aiplatform.start_run(f"run-{uuid.uuid4().hex[:8]}")
        aiplatform.log_time_series_metrics(rows[0], step=1)  # makes the series
        return rows[1:]

    def work(rows: Any) -> None:
        for step, row in enumerate(rows, 2):
            aiplatform.log_time_series_metrics(row, step=step)

    return commands.crowd(list(range(clients)), connect, work)


def write_long(urls: list[str], steps: int, name: str = "long") -> Any:
    """One client logs one series."""
    (run,) = commands.apart(_create_runs, urls[0], name, 1, ["loss"])
    rows = [{"loss": value} for value in values.curve(0, steps)]

    def work(client: aiplatform_v1.TensorboardServiceClient) -> None:
        for at in range(0, steps, LIMIT):
            client.write_tensorboard_run_data(_request(run, rows[at : at + LIMIT], at))

    return {"run": run, **commands.crowd([urls[0]], _client, work)}


def _read(client: aiplatform_v1.TensorboardServiceClient, run: str, limit: int) -> int:
    """Reads a series, a sample or all of it with -1; returns the number of points."""
    reply = client.read_tensorboard_time_series_data(
        types.ReadTensorboardTimeSeriesDataRequest(
            tensorboard_time_series=f"{run}/timeSeries/loss", max_data_points=limit
        )
    )
    return len(types.ReadTensorboardTimeSeriesDataResponse.pb(reply).time_series_data.values)


def read_long(urls: list[str], run: str, steps: int, times: int, reference: str = "") -> Any:
    """Whole and sampled reads of one series; in turn with whole ones of the reference server."""
    client = _client(urls[0])
    points = _read(client, run, -1)
    result: dict[str, Any] = {"whole_points": points, "whole_ms": [], "reference_ms": []}
    yardstick = _client(reference) if reference else None
    if yardstick:
        _read(yardstick, run, -1)  # the connection
    for _ in range(times):
        result["whole_ms"] += commands.milliseconds(lambda: _read(client, run, -1), 1)
        if yardstick:
            result["reference_ms"] += commands.milliseconds(lambda: _read(yardstick, run, -1), 1)
    return {**result, **read_sampled(urls, run, times)}


def read_sampled(urls: list[str], run: str, times: int) -> Any:
    """Reads of 1,000 points, what the API gives unless told otherwise."""
    client = _client(urls[0])
    points = _read(client, run, 0)
    taken = commands.milliseconds(lambda: _read(client, run, 0), times)
    return {"sampled_points": points, "sampled_ms": taken}


def _board(url: str, experiment: str) -> str:
    return f"{url}/experiment/{experiment.replace('/', '+')}"


def _token() -> str:
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(google.auth.transport.requests.Request())
    return str(credentials.token)


def ask_board(urls: list[str], runs: list[str], tag: str, steps: int, times: int) -> Any:
    """A tag's points in all runs, as TensorBoard's page asks for them."""
    experiment = runs[0].partition("/runs/")[0]
    body = (
        b'--x\r\nContent-Disposition: form-data; name="requests"\r\n\r\n'
        + json.dumps([{"plugin": "scalars", "tag": tag}]).encode()
        + b"\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        _board(urls[0], experiment) + "/data/plugin/timeseries/timeSeries",
        body,
        {
            "Authorization": f"Bearer {_token()}",
            "Content-Type": "multipart/form-data; boundary=x",
            "Accept-Encoding": "gzip",
        },
    )
    taken, content = [], b""
    for _ in range(times):
        began = time.perf_counter()
        with urllib.request.urlopen(request) as reply:
            content = reply.read()
        taken.append((time.perf_counter() - began) * 1000)
    answer = json.loads(commands.plain(content))[0]["runToSeries"]
    return {"ms": taken, "points": sum(map(len, answer.values()))}


def acknowledge(urls: list[str], name: str, clients: int, begun: str) -> Any:
    """Writes 20 scalars a call until the server is gone; returns the acknowledged steps."""
    runs = commands.apart(_create_runs, urls[0], name, clients, list(values.marks(0)))

    def connect(run: str) -> tuple[Any, str]:
        client = _client(urls[0])
        client.get_tensorboard_run(name=run)
        return client, run

    def work(connected: tuple[Any, str]) -> int:
        client, run = connected
        return commands.until_refused(
            lambda step: client.write_tensorboard_run_data(
                _request(run, [values.marks(step)], step), timeout=20
            )
        )

    acknowledged = commands.crowd(runs, connect, work, begun)["results"]
    return dict(zip(runs, acknowledged, strict=True))


def missing(urls: list[str], acknowledged: dict[str, int]) -> Any:
    """Of the acknowledged points those that cannot be read, or read otherwise than written."""
    client = _client(urls[0])
    lost = 0
    for run, steps in acknowledged.items():
        for tag in values.marks(0):
            reply = client.read_tensorboard_time_series_data(
                types.ReadTensorboardTimeSeriesDataRequest(
                    tensorboard_time_series=f"{run}/timeSeries/{tag.replace('_', '')}",
                    max_data_points=-1,
                )
            )
            data = types.ReadTensorboardTimeSeriesDataResponse.pb(reply).time_series_data
            found = {point.step for point in data.values if point.scalar.value == point.step}
            lost += len(set(range(steps)) - found)
    return lost


if __name__ == "__main__":
    commands.serve(
        write,
        log_metrics,
        write_long,
        read_long,
        read_sampled,
        ask_board,
        acknowledge,
        missing,
    )
