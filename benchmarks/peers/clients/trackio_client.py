"""trackio's client: `log` a step, which queues and sends twice a second; reads by the calls of its
page. `log` acknowledges nothing, so the kill test calls the server as the client's queue does."""

import json
import os
import time
import urllib.request
from typing import Any

import commands
import trackio
import values

BATCH_RUNS = 64
"""Runs that the page asks for at a time; the server refuses more."""


def _call(url: str, name: str, **arguments: Any) -> Any:
    """A call of the server's API, as the page makes it; returns the data."""
    request = urllib.request.Request(
        f"{url}/api/{name}",
        json.dumps(arguments).encode(),
        {
            "Content-Type": "application/json",
            "x-trackio-write-token": os.environ["TRACKIO_WRITE_TOKEN"],
        },
    )
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)["data"]


def _init(url: str, name: str, run: str) -> Any:
    return trackio.init(
        name, name=run, server_url=url, auto_log_gpu=False, auto_log_cpu=False, embed=False
    )


def write(
    url: str, name: str, runs: int, clients: int, series: int, steps: int, per_step: bool
) -> Any:
    """Clients share runs; a call a step is what `log` is anyway."""
    made = [f"run-{number}" for number in range(runs)]

    def connect(own: list[tuple[int, str]]) -> Any:
        first = _init(url, name, own[0][1])
        return first, [(run, values.rows(number, series, steps)) for number, run in own]

    def work(connected: Any) -> None:
        open_run, own = connected
        for run, rows in own:
            open_run = open_run or _init(url, name, run)
            for step, row in enumerate(rows):
                open_run.log(row, step=step)
            open_run.finish()
            open_run = None

    result = commands.crowd(commands.shares(made, clients), connect, work)
    return {"runs": [f"{name}/{run}" for run in made], **result}


def write_long(url: str, steps: int) -> Any:
    """One client logs one series."""
    curve = values.curve(0, steps)

    def work(run: Any) -> None:
        for step, value in enumerate(curve):
            run.log({"loss": value}, step=step)
        run.finish()

    done = commands.crowd(["run-0"], lambda run: _init(url, "long", run), work)
    return {"run": "long/run-0", **done}


def _values(url: str, run: str, tag: str, **arguments: Any) -> list[Any]:
    project, _, run = run.partition("/")
    return _call(url, "get_metric_values", project=project, run=run, metric_name=tag, **arguments)


def read_long(url: str, run: str, steps: int, times: int) -> Any:
    counts: dict[str, int] = {}

    def whole() -> None:
        counts["whole"] = len(_values(url, run, "loss"))

    def sampled() -> None:
        counts["sampled"] = len(_values(url, run, "loss", max_points=1_000))

    return {
        "whole_ms": commands.milliseconds(whole, times),
        "sampled_ms": commands.milliseconds(sampled, times),
        **{f"{kind}_points": count for kind, count in counts.items()},
    }


def ask_board(url: str, runs: list[str], tag: str, steps: int, times: int) -> Any:
    """The call that the page draws charts from: it gives all tags of the runs at once."""
    project = runs[0].partition("/")[0]
    wanted = [{"run": run.partition("/")[2], "run_id": None} for run in runs]
    taken, points = [], 0
    for _ in range(times):
        began = time.perf_counter()
        answer = [
            run
            for first in range(0, len(wanted), BATCH_RUNS)
            for run in _call(
                url,
                "get_logs_batch",
                project=project,
                runs=wanted[first : first + BATCH_RUNS],
                scalar_only=True,
            )
        ]
        taken.append((time.perf_counter() - began) * 1000)
        points = sum(tag in row for run in answer for row in run["logs"])
    return {"ms": taken, "points": points}


def acknowledge(url: str, name: str, clients: int, begun: str) -> Any:
    """Sends 20 scalars a call until the server is gone; returns the acknowledged steps."""
    runs = [f"run-{number}" for number in range(clients)]

    def work(run: str) -> int:
        def send(step: int) -> None:
            entry = {
                "project": name,
                "run": run,
                "metrics": values.marks(step),
                "step": step,
                "config": None,
                "log_id": f"{run}-{step}",
            }
            _call(url, "bulk_log", logs=[entry], hf_token=None)

        return commands.until_refused(send)

    acknowledged = commands.crowd(runs, lambda run: run, work, begun)["results"]
    return {f"{name}/{run}": steps for run, steps in zip(runs, acknowledged, strict=True)}


def missing(url: str, acknowledged: dict[str, int]) -> Any:
    """Of the acknowledged points those that cannot be read."""
    lost = 0
    for run, steps in acknowledged.items():
        for tag in values.marks(0):
            found = {row["step"] for row in _values(url, run, tag)}
            lost += len(set(range(steps)) - found)
    return lost


if __name__ == "__main__":
    commands.serve(write, write_long, read_long, ask_board, acknowledge, missing)
