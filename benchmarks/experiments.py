"""What tracking experiments costs the server, with the official client on the other side.

    python benchmarks/experiments.py [--runs 1000] [--metrics 20] [--calls 200] [--curves]

An experiment of `--runs` runs, each with `--metrics` parameters and as many metrics, is read as a
data frame; then one run logs a parameter and a metric `--calls` times. The client is a process of
its own, started by `tensordeck exec`. The server's processor time is that of its process from
before to after; an empty call (GetMetadataStore, on a connection that is kept) says what a call
costs that does nothing, and one on a connection of its own, as the official client makes them, what
that adds.

`--curves` reads the data frame with time series too: the client starts a thread for each run, all
at once, and makes four calls in each, on connections of their own.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
from google.cloud import aiplatform, aiplatform_v1
from google.cloud.aiplatform import initializer, utils

from ingest import free_port, wait_for

PROJECT, REGION = "bench", "us-central1"
STORE = f"projects/{PROJECT}/locations/{REGION}/metadataStores/default"
WRITERS = 16


def fill(runs: int, metrics: int, board: str) -> None:
    """Makes the experiment, with the calls that the client makes for one."""
    client = initializer.global_config.create_client(utils.MetadataClientWithOverride)
    values = {f"name-{number}": number / 7 for number in range(metrics)}
    backing = {"backing_tensorboard_resource": board} if board else {}
    client.create_context(
        parent=STORE,
        context_id="exp",
        context=aiplatform_v1.Context(
            display_name="exp",
            schema_title="system.Experiment",
            schema_version="0.0.1",
            metadata={"experiment_deleted": False, **backing},
        ),
    )

    def make(number: int) -> str:
        context = aiplatform_v1.Context(
            display_name=f"run-{number}",
            schema_title="system.ExperimentRun",
            schema_version="0.0.1",
            metadata={"_params": values, "_metrics": values, "_state": "COMPLETE"},
        )
        made = client.create_context(parent=STORE, context_id=f"exp-run-{number}", context=context)
        return made.name

    with ThreadPoolExecutor(WRITERS) as writers:
        children = list(writers.map(make, range(runs)))
    client.add_context_children(context=f"{STORE}/contexts/exp", child_contexts=children)


class Meter:
    """The server's processor time and memory."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    def cpu_s(self) -> float:
        """Seconds so far, its own and the system's for it."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        """Resident memory now."""
        return float(self._process.memory_info().rss) / 2**20

    def of(self, work: Callable[[], Any]) -> dict[str, float]:
        """What a piece of work costs: seconds on the clock, seconds of the server's processor."""
        began, before = time.monotonic(), self.cpu_s()
        work()
        return {
            "clock_s": round(time.monotonic() - began, 3),
            "server_cpu_s": round(self.cpu_s() - before, 3),
        }


async def serve_floor(folder: Path) -> None:
    """A server that answers any call with an empty message; tells its port and process."""

    async def answer(_request: bytes, _context: Any) -> bytes:
        return b""

    class Handlers(grpc.GenericRpcHandler):
        def service(self, _call: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server(handlers=(Handlers(),))
    pair = ((folder / "server-key.pem").read_bytes(), (folder / "server.pem").read_bytes())
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def measure(
    pid: int, floor: tuple[int, int], runs: int, metrics: int, calls: int, curves: bool
) -> None:
    """The client's part; `floor` is the port and the process of the bare server."""
    aiplatform.init(project=PROJECT, location=REGION, api_transport="grpc")
    board = aiplatform.Tensorboard.create(display_name="board") if curves else None
    fill(runs, metrics, board.resource_name if board else "")
    meter = Meter(pid)
    result: dict[str, Any] = {"runs": runs, "metrics": metrics, "calls": calls}

    def read(series: bool = False) -> None:
        frame = aiplatform.get_experiment_df("exp", include_time_series=series)
        assert frame.shape[0] == runs, frame.shape
        assert f"metric.name-{metrics - 1}" in frame

    read()  # what is made once, the parser of filters for one
    result["memory_before_mb"] = round(meter.memory_mb())
    result["data_frame"] = meter.of(read)
    result["memory_after_mb"] = round(meter.memory_mb())

    client = aiplatform_v1.MetadataServiceClient(
        client_options={"api_endpoint": f"{REGION}-aiplatform.googleapis.com"}
    )
    client.get_metadata_store(name=STORE)

    def kept() -> None:
        for _ in range(calls):
            client.get_metadata_store(name=STORE)

    wrapped = initializer.global_config.create_client(utils.MetadataClientWithOverride)

    def not_kept() -> None:
        for _ in range(calls):
            wrapped.get_metadata_store(name=STORE)

    run = aiplatform.ExperimentRun.create("logged", experiment="exp")

    def log() -> None:
        for number in range(calls):
            run.log_params({f"p{number % metrics}": number})
            run.log_metrics({f"m{number % metrics}": number})

    bare = initializer.global_config.create_client(
        utils.MetadataClientWithOverride, api_path_override=f"localhost:{floor[0]}"
    )
    sent = aiplatform.metadata.context.Context("exp-logged").gca_resource

    def to_floor() -> None:
        for _ in range(calls):
            bare.update_context(context=sent)

    log()
    to_floor()
    bare_meter = Meter(floor[1])
    for name, work, count, of in (
        ("empty_call", kept, calls, meter),
        ("empty_call_and_connection", not_kept, calls, meter),
        ("log_call", log, 2 * calls, meter),
        ("floor", to_floor, calls, bare_meter),
    ):
        cost = of.of(work)
        result[name] = {
            "server_cpu_ms": round(1000 * cost["server_cpu_s"] / count, 2),
            "clock_ms": round(1000 * cost["clock_s"] / count, 2),
        }
    result["log_call_to_floor"] = round(
        result["log_call"]["server_cpu_ms"] / result["floor"]["server_cpu_ms"], 1
    )
    if curves:
        runs += 1  # that which has just been logged to
        result["data_frame_with_curves"] = meter.of(lambda: read(series=True))
        result["data_frame_with_curves_again"] = meter.of(lambda: read(series=True))
        result["memory_after_curves_mb"] = round(meter.memory_mb())
    print("RESULT", json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--metrics", type=int, default=20)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--curves", action="store_true")
    parser.add_argument("--part", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--floor", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        asyncio.run(serve_floor(options.floor))
        return
    if options.part:
        pid, port, bare = options.part
        measure(pid, (port, bare), options.runs, options.metrics, options.calls, options.curves)
        return
    with tempfile.TemporaryDirectory() as folder:
        place = ["--data-dir", str(Path(folder) / "data"), "--port", str(free_port())]
        tensordeck = [sys.executable, "-m", "tensordeck"]
        server = subprocess.Popen([*tensordeck, "serve", *place], stdout=subprocess.DEVNULL)
        processes = [server]
        try:
            wait_for(f"http://127.0.0.1:{place[-1]}/healthz", server)
            floor = subprocess.Popen(
                [sys.executable, __file__, "--floor", str(Path(folder) / "data" / "tls")],
                stdout=subprocess.PIPE,
                text=True,
            )
            processes.append(floor)
            part = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--part"]
            numbers = [str(server.pid), floor.stdout.readline().strip(), str(floor.pid)]
            done = subprocess.run(
                [*tensordeck, "exec", *place, "--", *part, *numbers],
                check=False,
                capture_output=True,
                text=True,
            )
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not results:
        sys.exit(done.stderr[-4000:])
    result = json.loads(results[0].removeprefix("RESULT"))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
