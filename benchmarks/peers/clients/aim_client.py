"""Aim's client: `track` a dictionary a step into the repository on this machine's disk, which is
many times as fast as its server; reads by the SDK and by the call that its page makes."""

import time
import urllib.parse
import urllib.request
from typing import Any

import commands
import values
from aim import Repo, Run
from aim.storage.context import Context

CHART_POINTS = 50
"""What the page asks for of each curve."""


def _run(repo: str, name: str) -> Run:
    return Run(
        repo=repo,
        experiment=name,
        system_tracking_interval=None,
        log_system_params=False,
        capture_terminal_logs=False,
    )


def write(
    url: str,
    repo: str,
    name: str,
    runs: int,
    clients: int,
    series: int,
    steps: int,
    per_step: bool,
) -> Any:
    """Clients share runs; a call a step is what `track` is anyway."""

    def connect(own: list[tuple[int, str]]) -> Any:
        return _run(repo, name), [values.rows(number, series, steps) for number, _ in own]

    def work(connected: Any) -> list[str]:
        run, own = connected
        made = []
        for rows in own:
            run = run or _run(repo, name)
            for step, row in enumerate(rows):
                run.track(row, step=step)
            made.append(run.hash)
            run.close()
            run = None
        return made

    done = commands.crowd(commands.shares([""] * runs, clients), connect, work)
    return {"seconds": done["seconds"], "runs": [name for own in done["results"] for name in own]}


def write_long(url: str, repo: str, steps: int) -> Any:
    """One client logs one series."""
    curve = values.curve(0, steps)

    def work(run: Run) -> str:
        for step, value in enumerate(curve):
            run.track(value, name="loss", step=step)
        name = run.hash
        run.close()
        return str(name)

    done = commands.crowd(["long"], lambda name: _run(repo, name), work)
    return {"seconds": done["seconds"], "run": done["results"][0]}


def read_long(url: str, repo: str, run: str, steps: int, times: int) -> Any:
    counts: dict[str, int] = {}
    metric = Repo(repo).get_run(run).get_metric("loss", Context({}))

    def whole() -> None:
        counts["whole"] = len(metric.values.sparse_numpy()[1])

    return {
        "whole_ms": commands.milliseconds(whole, min(times, 2)),
        "sampled_ms": [_search(url, 'metric.name == "loss"', 1_000)[0] for _ in range(times)],
        **{f"{kind}_points": count for kind, count in counts.items()},
    }


def _search(url: str, query: str, points: int) -> tuple[float, int]:
    """Milliseconds and bytes of the page's search for metrics, thinned to so many points each."""
    form = {"q": query, "p": points, "report_progress": "false"}
    began = time.perf_counter()
    path = f"{url}/api/runs/search/metric/?{urllib.parse.urlencode(form)}"
    with urllib.request.urlopen(path) as reply:
        body = reply.read()
    return (time.perf_counter() - began) * 1000, len(body)


def ask_board(url: str, repo: str, runs: list[str], tag: str, steps: int, times: int) -> Any:
    query = f'metric.name == "{tag}" and run.experiment == "board"'
    answers = [_search(url, query, CHART_POINTS) for _ in range(times)]
    return {"ms": [taken for taken, _ in answers], "bytes": answers[-1][1]}


if __name__ == "__main__":
    commands.serve(write, write_long, read_long, ask_board)
