"""MLflow's client: `log_batch` with 1,000 metrics a call, its limit; reads by `MlflowClient` and by
the call that its page makes for a chart."""

import os
import time
import urllib.parse
import urllib.request
from typing import Any

import commands
import mlflow  # noqa: F401 -- imported once, before clients fork
import values
from mlflow import MlflowClient
from mlflow.entities import Metric

LIMIT = 1_000
CHART_RUNS = 100
CHART_POINTS = 320
"""What the page asks for at once."""


def _create_runs(url: str, name: str, runs: int) -> list[str]:
    client = MlflowClient(url)
    experiment = client.create_experiment(name)
    return [client.create_run(experiment).info.run_id for _ in range(runs)]


def _metrics(rows: list[dict[str, float]], first: int = 0) -> list[Metric]:
    now = int(time.time() * 1000)
    return [
        Metric(tag, value, now + step, step)
        for step, row in enumerate(rows, first)
        for tag, value in row.items()
    ]


def write(
    url: str, name: str, runs: int, clients: int, series: int, steps: int, per_step: bool
) -> Any:
    """Clients share runs and log them: as fast as can be, or with a call a step."""
    made = commands.apart(_create_runs, url, name, runs)

    def connect(own: list[tuple[int, str]]) -> Any:
        client = MlflowClient(url)
        client.get_run(own[0][1])  # the connection
        return client, [(run, values.rows(number, series, steps)) for number, run in own]

    def work(connected: Any) -> None:
        client, own = connected
        size = 1 if per_step else LIMIT // series
        for run, rows in own:
            for at in range(0, steps, size):
                client.log_batch(run, _metrics(rows[at : at + size], at))

    return {"runs": made, **commands.crowd(commands.shares(made, clients), connect, work)}


def write_long(url: str, steps: int) -> Any:
    """One client logs one series."""
    (run,) = commands.apart(_create_runs, url, "long", 1)
    rows = [{"loss": value} for value in values.curve(0, steps)]

    def work(client: MlflowClient) -> None:
        for at in range(0, steps, LIMIT):
            client.log_batch(run, _metrics(rows[at : at + LIMIT], at))

    return {"run": run, **commands.crowd([url], MlflowClient, work)}


def read_long(url: str, run: str, steps: int, times: int) -> Any:
    client = MlflowClient(url)
    counts: dict[str, int] = {}

    def whole() -> None:
        counts["whole"] = len(client.get_metric_history(run, "loss"))

    def sampled() -> None:
        counts["sampled"] = _chart(url, [run], "loss", 1_000)[1]

    return {
        "whole_ms": commands.milliseconds(whole, min(times, 2)),
        "sampled_ms": commands.milliseconds(sampled, times),
        **{f"{kind}_points": count for kind, count in counts.items()},
    }


def _chart(url: str, runs: list[str], tag: str, points: int) -> tuple[float, int]:
    """Milliseconds and number of points of the call that the page draws a chart from."""
    query = [("run_ids", run) for run in runs]
    query += [("metric_key", tag), ("max_results", str(points))]
    path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?"
    began = time.perf_counter()
    with urllib.request.urlopen(url + path + urllib.parse.urlencode(query)) as reply:
        body = reply.read()
    return (time.perf_counter() - began) * 1000, body.count(b'"step"')


def ask_board(url: str, runs: list[str], tag: str, steps: int, times: int) -> Any:
    answers = [_chart(url, runs[:CHART_RUNS], tag, CHART_POINTS) for _ in range(times)]
    return {"ms": [taken for taken, _ in answers], "points": answers[-1][1]}


def acknowledge(url: str, name: str, clients: int, begun: str) -> Any:
    """Logs 20 metrics a call until the server is gone; returns the acknowledged steps."""
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # it would try for minutes
    runs = commands.apart(_create_runs, url, name, clients)

    def work(run: str) -> int:
        client = MlflowClient(url)
        return commands.until_refused(
            lambda step: client.log_batch(run, _metrics([values.marks(step)], step))
        )

    acknowledged = commands.crowd(runs, lambda run: run, work, begun)["results"]
    return dict(zip(runs, acknowledged, strict=True))


def missing(url: str, acknowledged: dict[str, int]) -> Any:
    """Of the acknowledged points those that cannot be read."""
    client = MlflowClient(url)
    lost = 0
    for run, steps in acknowledged.items():
        for tag in values.marks(0):
            found = {metric.step for metric in client.get_metric_history(run, tag)}
            lost += len(set(range(steps)) - found)
    return lost


if __name__ == "__main__":
    commands.serve(write, write_long, read_long, ask_board, acknowledge, missing)
