"""TensorBoard's writer: tensorboardX, a call a scalar, into event files; reads by the calls of
TensorBoard's page."""

import json
import time
import urllib.request
from typing import Any

import commands
import values
from tensorboardX import SummaryWriter

PATIENCE = 60


def write(
    url: str,
    logs: str,
    name: str,
    runs: int,
    clients: int,
    series: int,
    steps: int,
    per_step: bool,
) -> Any:
    """Clients share runs; each step is a call a scalar, then `close`."""
    made = [f"{name}/run-{number}" for number in range(runs)]

    def connect(own: list[tuple[int, str]]) -> Any:
        return [
            (SummaryWriter(f"{logs}/{run}"), values.rows(number, series, steps))
            for number, run in own
        ]

    def work(own: Any) -> None:
        for writer, rows in own:
            for step, row in enumerate(rows):
                for tag, value in row.items():
                    writer.add_scalar(tag, value, step)
            writer.close()

    return {"runs": made, **commands.crowd(commands.shares(made, clients), connect, work)}


def write_long(url: str, logs: str, steps: int) -> Any:
    """One client logs one series."""
    curve = values.curve(0, steps)

    def work(writer: SummaryWriter) -> None:
        for step, value in enumerate(curve):
            writer.add_scalar("loss", value, step)
        writer.close()

    done = commands.crowd(["long/run-0"], lambda run: SummaryWriter(f"{logs}/{run}"), work)
    return {"run": "long/run-0", **done}


def _series(url: str, tag: str) -> tuple[float, dict[str, list[Any]]]:
    """A tag's points in all runs, as the page asks for them; and the milliseconds it took."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="requests"\r\n\r\n'
        + json.dumps([{"plugin": "scalars", "tag": tag}]).encode()
        + b"\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        f"{url}/data/plugin/timeseries/timeSeries",
        body,
        {"Content-Type": "multipart/form-data; boundary=x", "Accept-Encoding": "gzip"},
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request) as reply:
        content = reply.read()
    taken = (time.perf_counter() - began) * 1000
    answer = json.loads(commands.plain(content))
    return taken, answer[0].get("runToSeries", {})


def _wait_for(url: str, tag: str, runs: list[str], last_step: int) -> float:
    """Waits until the page shows the last step of all runs; returns the seconds."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        found = _series(url, tag)[1]
        if all(run in found and found[run][-1]["step"] == last_step for run in runs):
            return time.monotonic() - began
        time.sleep(0.2)
    raise RuntimeError(f"TensorBoard did not show {runs[0]} after {PATIENCE} s")


def read_long(url: str, logs: str, run: str, steps: int, times: int) -> Any:
    """The server keeps every point (`--samples_per_plugin`), so there is no sampled read."""
    _wait_for(url, "loss", [run], steps - 1)
    answers = [_series(url, "loss") for _ in range(times)]
    return {
        "whole_ms": [taken for taken, _ in answers],
        "whole_points": len(answers[-1][1][run]),
    }


def ask_board(url: str, logs: str, runs: list[str], tag: str, steps: int, times: int) -> Any:
    wanted = set(runs)
    _wait_for(url, tag, runs, steps - 1)
    answers = [_series(url, tag) for _ in range(times)]
    points = sum(len(rows) for run, rows in answers[-1][1].items() if run in wanted)
    return {"ms": [taken for taken, _ in answers], "points": points}


if __name__ == "__main__":
    commands.serve(write, write_long, read_long, ask_board)
