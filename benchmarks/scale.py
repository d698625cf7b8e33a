"""That lists, tables and pages cost nothing in proportion to the points ever logged.

    python benchmarks/scale.py [--few 10000] [--many 100000000] [--rounds 15] [--data DIR]

Two stores of one shape (an experiment of 100 runs with 10 parameters, 10 logged metrics and 10
curves each) hold 10,000 and 100,000,000 points. Both are served at once and asked in turn for what
people and clients look at. Before each round something is logged to both, so that nothing is
answered from a cache of answers. Each answer may take 1.3 times the server's processor time at
most, which other work on the machine disturbs less than the clock; the clock's time is shown, too.

`--data` keeps the stores (about 8 bytes a point) for the next time; making the large one takes
minutes. `tensordeck exec` starts the official client for the data frames.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
from hparams import fill_store, log_more, questions

from board import BROWSER, EXPERIMENT, INSTANCE, free_port, patiently, process
from tensordeck.access import open_access
from tensordeck.names import board_id
from tensordeck.settings import Settings
from tensordeck.store import open_store

RUNS, PARAMS, METRICS = 100, 10, 20
SERIES = RUNS * METRICS // 2
"""Half of the metrics are curves."""
RUN = f"{EXPERIMENT}/runs/run-0000"
BOARD = f"/experiment/{board_id(EXPERIMENT)}"
WANTED = 1.3

PAGES = {
    "list runs": f"/v1/{EXPERIMENT}/runs?pageSize=1000",
    "list a run's time series": f"/v1/{RUN}/timeSeries?pageSize=1000",
    "list all runs' time series": f"/v1/{EXPERIMENT}/runs/-/timeSeries?pageSize=1000",
    "ReadTensorboardSize": f"/v1/{INSTANCE}:readSize",
    "ReadTensorboardUsage": f"/v1/{INSTANCE}:readUsage",
    "page of all instances": "/",
    "page of an instance": f"/{INSTANCE}",
    "page of an experiment": f"/{EXPERIMENT}",
    "board: page": f"{BOARD}/",
    "board: runs": f"{BOARD}/data/runs",
    "board: plugins": f"{BOARD}/data/plugins_listing",
    "board: tags of curves": f"{BOARD}/data/plugin/timeseries/tags",
    "board: tags of scalars": f"{BOARD}/data/plugin/scalars/tags",
}
HPARAMS = ("columns", "first 100 rows", "sorted by a curve")

CLIENT = """
import sys
answers, sys.stdout = sys.stdout, sys.stderr  # the client's log goes where this leads at first
from google.cloud import aiplatform
aiplatform.init(project="bench", location="us-central1", api_transport="grpc")
for line in sys.stdin:
    frame = aiplatform.get_experiment_df("curves", include_time_series=False)
    assert frame.shape[0] == int(line), frame.shape
    print("answered", file=answers, flush=True)
"""


def make_store(data_dir: Path, points: int) -> None:
    """Fills a store through its own write path, and folds it; one that is there is kept."""
    done = data_dir / f"filled-{points}"
    if done.exists():
        return
    data_dir.mkdir(parents=True)
    began = time.monotonic()
    print(f"making a store of {points:,} points ...", flush=True)
    store = open_store(Settings(data_dir=data_dir))
    fill_store(store, RUNS, PARAMS, METRICS, points // SERIES)
    store.close()
    done.touch()
    print(f"  took {time.monotonic() - began:.0f} s", flush=True)


class Served:
    """A server on a store, its pages' client, and Google's."""

    def __init__(self, data_dir: Path, stack: contextlib.ExitStack) -> None:
        settings = Settings(data_dir=data_dir)
        store = open_store(settings)
        access = open_access(store.catalog, settings)
        owner = next(one.id for one in access.list_credentials() if one.kind == "owner")
        headers = {**BROWSER, "Authorization": f"Bearer {access.access_token(owner)}"}
        store.close()
        at = ("--data-dir", str(data_dir), "--port", str(free_port()))
        module = (sys.executable, "-m", "tensordeck")
        self.server = stack.enter_context(process(*module, "serve", *at))
        base = f"http://127.0.0.1:{at[-1]}"
        self.pages = stack.enter_context(httpx.Client(base_url=base, headers=headers, timeout=60))
        self.board = stack.enter_context(
            httpx.Client(base_url=f"{base}{BOARD}/", headers=headers, timeout=60)
        )
        patiently(self.pages, "/healthz")
        self._frames = stack.enter_context(frames(*module, "exec", *at, "--"))
        self._step = 10**9

    def log(self, number: int) -> None:
        """Logs a metric and a point, which every answer then has to take account of."""
        log_more(self.board, number)
        self._step += 1
        point = {"step": self._step, "scalar": {"value": number}}
        point["wallTime"] = "2026-01-01T00:00:00Z"
        series = {"tensorboardTimeSeriesId": "0", "valueType": "SCALAR", "values": [point]}
        reply = self.pages.post(f"/v1/{RUN}:write", json={"timeSeriesData": [series]})
        reply.raise_for_status()

    def get(self, path: str) -> None:
        self.pages.get(path).raise_for_status().read()

    def ask(self, path: str, request: dict) -> None:
        body = json.dumps(request)
        self.board.post(f"data/plugin/hparams/{path}", content=body).raise_for_status().read()

    def frame(self) -> None:
        """Calls `get_experiment_df` in a client that runs already."""
        self._frames()


@contextlib.contextmanager
def frames(*command: str) -> Iterator[Callable[[], None]]:
    client = subprocess.Popen(
        [*command, sys.executable, "-c", CLIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None

    def frame() -> None:
        print(RUNS, file=client.stdin, flush=True)
        if not client.stdout.readline():
            raise SystemExit("the client of the data frames has ended")

    try:
        yield frame
    finally:
        client.stdin.close()
        client.wait()


def cpu_milliseconds(pid: int) -> float:
    """Processor time of a process so far, to the nanosecond; psutil counts in hundredths."""
    total = 0
    for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has ended
            total += int(stat.read_text().split()[0])
    return total / 1e6


def one_round(served: Served, number: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of every answer: of the server's processors, and on the clock."""
    served.log(number)
    asked = questions(PARAMS, METRICS, number)
    work: dict[str, Callable[[], object]] = {
        **{name: partial(served.get, path) for name, path in PAGES.items()},
        **{f"HParams: {name}": partial(served.ask, *asked[name]) for name in HPARAMS},
        "get_experiment_df": served.frame,
    }
    times = {}
    for name, answer in work.items():
        used, began = cpu_milliseconds(served.server.pid), time.perf_counter()
        answer()
        took = (time.perf_counter() - began) * 1000
        times[name] = (cpu_milliseconds(served.server.pid) - used, took)
    return times


def median_of(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    cpu, clock = zip(*pairs, strict=True)
    return statistics.median(cpu), statistics.median(clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--few", type=int, default=10**4)
    parser.add_argument("--many", type=int, default=10**8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--data", type=Path, help="folder to keep the stores in")
    options = parser.parse_args()
    sizes = (options.few, options.many)
    with contextlib.ExitStack() as stack:
        folder = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for points in sizes:
            make_store(folder / str(points), points)
        served = [Served(folder / str(points), stack) for points in sizes]
        times: list[dict[str, list[tuple[float, float]]]] = [defaultdict(list), defaultdict(list)]
        for number in range(options.rounds + 1):
            turn = (0, 1) if number % 2 else (1, 0)
            for at in turn:
                for name, took in one_round(served[at], number).items():
                    if number:  # the first round imports and connects
                        times[at][name].append(took)
    print(f"Medians of {options.rounds} rounds, ms of the server's processors (on the clock):")
    print(f"{'':30} {sizes[0]:>20,} {sizes[1]:>20,}   ratio")
    worst = 0.0
    for name, few in times[0].items():
        low, high = (median_of(pairs) for pairs in (few, times[1][name]))
        ratio = high[0] / low[0]
        worst = max(worst, ratio)
        columns = " ".join(f"{cpu:10.1f} ({clock:6.1f})" for cpu, clock in (low, high))
        print(f"{name:30} {columns}   {ratio:5.2f}")
    print(f"the largest ratio is {worst:.2f} (wanted: {WANTED})")


if __name__ == "__main__":
    main()
