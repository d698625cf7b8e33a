"""How fast points go in, and what that costs: through gRPC, against a null server and MLflow.

    python benchmarks/ingest.py [requests] [steps] [mlflow] [--seconds N] [--clients N]

`requests`: 16 clients send WriteTensorboardExperimentData with 1,000 points each (100 series x 10)
over TLS, to our server and to a null server: the same grpcio server that decodes with the protobuf
library and answers. `steps`: the same with one step of 20 scalars a call. `mlflow`: 16 clients send
`log_batch` with 1,000 metrics each to MLflow's own server on SQLite (a virtual environment of its
own is made for it, in the user's cache). All at once without a name. CPU time is that of the
server's processes, folding included: the clock runs until the journal is empty.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np

from tensordeck import protos

PARENT = "projects/p/locations/us-central1"
SERVICE = "/google.cloud.aiplatform.v1.TensorboardService/"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living children."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid or int(stat.parent.name) == pid:
                total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


class Server:
    """Our server as a process; `options` are further ones of `serve`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tensordeck",
                "serve",
                "--data-dir",
                folder,
                "--port",
                str(self.port),
                *options,
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_for(f"http://127.0.0.1:{self.port}/healthz", self.process)
        owner = json.loads((folder / "credentials" / "owner.json").read_text())
        form = "&".join(
            f"{key}={owner[key]}" for key in ("client_id", "client_secret", "refresh_token")
        )
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/token", f"grant_type=refresh_token&{form}".encode()
        ) as reply:
            self.metadata = [("authorization", f"Bearer {json.load(reply)['access_token']}")]

    def channel(self) -> grpc.Channel:
        return channel(f"localhost:{self.port}", self.folder / "tls" / "ca.pem")

    def wait_until_folded(self) -> None:
        database = sqlite3.connect(f"file:{self.folder / 'tensordeck.db'}?mode=ro", uri=True)
        with contextlib.closing(database):
            while database.execute("SELECT count(*) FROM journal").fetchone()[0]:
                time.sleep(0.25)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


NULL_SERVER = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import grpc
from tensordeck import protos
port, key, certificate = sys.argv[1:]
request = protos.message("WriteTensorboardExperimentDataRequest").FromString
reply = protos.message("WriteTensorboardExperimentDataResponse")
class Handlers(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(
            lambda data, context: reply(), request, reply.SerializeToString)
server = grpc.server(ThreadPoolExecutor(64), handlers=(Handlers(),))
pair = (open(key, "rb").read(), open(certificate, "rb").read())
server.add_secure_port(f"localhost:{port}", grpc.ssl_server_credentials([pair]))
server.start()
print("ready", flush=True)
threading.Event().wait()
"""


class NullServer:
    """Decodes and answers, with our certificate; stores nothing."""

    metadata = (("authorization", "Bearer none"),)

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        tls = folder / "tls"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                NULL_SERVER,
                str(self.port),
                tls / "server-key.pem",
                tls / "server.pem",
            ],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def channel(self) -> grpc.Channel:
        return channel(f"localhost:{self.port}", self.folder / "tls" / "ca.pem")

    def wait_until_folded(self) -> None:
        """Nothing is stored."""

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def channel(address: str, ca: Path) -> grpc.Channel:
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection a client, as processes have
    return grpc.secure_channel(
        address, grpc.ssl_channel_credentials(ca.read_bytes()), options=options
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):  # noqa: S310 -- our own address
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"{url} did not answer")


def make_runs(server: Server, clients: int, series: int, name: str) -> list[str]:
    """Makes an experiment with one run a client; returns the runs' names."""
    with server.channel() as connection:

        def call(method: str, request: str, reply: str, **fields: object) -> object:
            made = connection.unary_unary(
                SERVICE + method,
                protos.message(request).SerializeToString,
                protos.message(reply).FromString,
            )
            return made(protos.message(request)(**fields), metadata=server.metadata, timeout=60)

        call(
            "CreateTensorboard",
            "CreateTensorboardRequest",
            "google.longrunning.Operation",
            parent=PARENT,
            tensorboard={"display_name": "bench"},
        )
        board = call(
            "ListTensorboards",
            "ListTensorboardsRequest",
            "ListTensorboardsResponse",
            parent=PARENT,
        ).tensorboards[0]
        experiment = f"{board.name}/experiments/{name}"
        call(
            "CreateTensorboardExperiment",
            "CreateTensorboardExperimentRequest",
            "TensorboardExperiment",
            parent=board.name,
            tensorboard_experiment_id=name,
        )
        runs = [f"{experiment}/runs/run-{number}" for number in range(clients)]
        for number, run in enumerate(runs):
            call(
                "CreateTensorboardRun",
                "CreateTensorboardRunRequest",
                "TensorboardRun",
                parent=experiment,
                tensorboard_run_id=f"run-{number}",
                tensorboard_run={"display_name": f"run-{number}"},
            )
            call(
                "BatchCreateTensorboardTimeSeries",
                "BatchCreateTensorboardTimeSeriesRequest",
                "BatchCreateTensorboardTimeSeriesResponse",
                parent=experiment,
                requests=[
                    {
                        "parent": run,
                        "tensorboard_time_series_id": str(10**6 + tag),
                        "tensorboard_time_series": {
                            "display_name": f"tag/{tag}",
                            "value_type": "SCALAR",
                        },
                    }
                    for tag in range(series)
                ],
            )
        return runs


def requests_of(run: str, series: int, points: int, count: int, seed: int) -> list[bytes]:
    """Write requests as a training loop makes them: millisecond times, float32 values.

    They are laid out all at once, so that making them takes less time than sending them: steps and
    times are chosen such that every point takes 31 bytes.
    """
    rng = np.random.default_rng(seed)
    steps = 2**14 + np.arange(count * points).reshape(count, 1, points)
    wall_ms = 1_760_000_000_000 + steps * 100 + rng.integers(0, 20, steps.shape)
    wall_ms = wall_ms - wall_ms % 1000 + 270 + wall_ms % 1000 * 7 // 10
    shape = (count, series, points)
    values = (np.exp(-steps / 1e4) + rng.normal(0, 0.05, shape)).astype(np.float32)
    body = np.zeros((*shape, 31), np.uint8)
    body[..., :5] = (0x1A, 29, 0x0A, 12, 0x08)
    body[..., 5:10] = varint(wall_ms // 1000, 5)
    body[..., 10] = 0x10
    body[..., 11:16] = varint(wall_ms % 1000 * 10**6, 5)
    body[..., 16] = 0x10
    body[..., 17:20] = varint(steps, 3)
    body[..., 20:23] = (0x1A, 9, 9)
    body[..., 23:] = values.astype(np.float64)[..., None].view(np.uint8)
    heads = [
        protos.message("TimeSeriesData")(
            tensorboard_time_series_id=str(10**6 + tag), value_type="SCALAR"
        ).SerializeToString()
        for tag in range(series)
    ]
    experiment = field(1, run.rpartition("/runs/")[0].encode())
    name = field(1, run.encode())
    return [
        experiment
        + field(
            2,
            name + b"".join(field(2, h + p.tobytes()) for h, p in zip(heads, request, strict=True)),
        )
        for request in body
    ]


def varint(numbers: np.ndarray, length: int) -> np.ndarray:
    """Varints that take exactly so many bytes."""
    groups = [numbers >> 7 * place & 0x7F | 0x80 * (place < length - 1) for place in range(length)]
    return np.stack(groups, -1).astype(np.uint8)


def field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    length, head = len(data), [number << 3 | 2]
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*head, length]) + data


def send(
    server: Server | NullServer, prepared: list[list[bytes]], seconds: float
) -> tuple[int, float]:
    """Sends until the time is over or all is sent; returns the number of calls and the time."""
    stop = threading.Event()
    ready = threading.Barrier(len(prepared) + 1)

    def client(requests: list[bytes]) -> int:
        with server.channel() as connection:
            call = connection.unary_unary(SERVICE + "WriteTensorboardExperimentData")
            grpc.channel_ready_future(connection).result(30)
            ready.wait()
            for number, request in enumerate(requests):
                if stop.is_set():
                    return number
                call(request, metadata=server.metadata, timeout=60)
            return len(requests)

    with ThreadPoolExecutor(len(prepared)) as pool:
        futures = [pool.submit(client, requests) for requests in prepared]
        ready.wait()
        began = time.perf_counter()
        timer = threading.Timer(seconds, stop.set)
        timer.start()
        calls = sum(future.result() for future in futures)
        took = time.perf_counter() - began
        timer.cancel()
    return calls, took


def measure(
    server: Server | NullServer, prepared: list[list[bytes]], points: int, seconds: float, name: str
) -> float:
    """Prints one line; returns points a second."""
    pid = server.process.pid
    before = cpu_seconds(pid)
    calls, took = send(server, prepared, seconds)
    server.wait_until_folded()
    cpu = cpu_seconds(pid) - before
    rate = calls * points / took
    print(
        f"  {name:<22} {calls / took:8.0f} calls/s {rate:10,.0f} points/s "
        f"{cpu / (calls * points) * 1e6:6.2f} CPU-s/M points {cpu / calls * 1e3:6.2f} CPU-ms/call "
        f"{memory_mb(pid):5.0f} MB",
        flush=True,
    )
    return rate


@contextlib.contextmanager
def our_server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        server = Server(Path(folder) / "data")
        try:
            yield server
        finally:
            server.stop()


def compare(series: int, points: int, count: int, seconds: float, clients: int, name: str) -> float:
    """Our server and the null server on the same requests; returns our points a second."""
    with our_server() as server:
        runs = make_runs(server, clients, series, name)
        prepared = [requests_of(run, series, points, count, seed) for seed, run in enumerate(runs)]
        null = NullServer(server.folder)
        try:
            nothing = measure(null, prepared, series * points, seconds, "null server")
        finally:
            null.stop()
        ours = measure(server, prepared, series * points, seconds, "tensordeck")
        print(f"  tensordeck / null server: {ours / nothing:.2f}")
        size = sum(path.stat().st_size for path in server.folder.glob("tensordeck.db*"))
        print(f"  files: {size / 1e6:.0f} MB (benchmarks/bytes_per_point.py has the bytes a point)")
    return ours


MLFLOW_CLIENTS = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from mlflow import MlflowClient
from mlflow.entities import Metric
url, clients, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
client = MlflowClient(url)
experiment = client.create_experiment("bench")
runs = [client.create_run(experiment).info.run_id for _ in range(clients)]
stop = time.monotonic() + seconds
def work(run):
    calls = 0
    while time.monotonic() < stop:
        now = int(time.time() * 1000)
        client.log_batch(run, [Metric(f"tag/{tag}", 0.5 + step, now + step, calls * 10 + step)
                               for tag in range(100) for step in range(10)])
        calls += 1
    return calls
began = time.monotonic()
with ThreadPoolExecutor(clients) as pool:
    calls = sum(pool.map(work, runs))
print(calls, time.monotonic() - began)
"""


def mlflow(seconds: float, clients: int) -> float:
    """MLflow's points a second."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tensordeck-bench"
    python = Path(os.environ.get("BENCH_MLFLOW", home / "mlflow")) / "bin" / "python"
    if not python.exists():
        print("  installing mlflow ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "mlflow"], check=True)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        port = free_port()
        server = subprocess.Popen(
            [
                python,
                "-m",
                "mlflow",
                "server",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--workers",
                "1",
                "--backend-store-uri",
                f"sqlite:///{folder}/mlflow.db",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server)
            done = subprocess.run(
                [
                    python,
                    "-c",
                    MLFLOW_CLIENTS,
                    f"http://127.0.0.1:{port}",
                    str(clients),
                    str(seconds),
                ],
                stdout=subprocess.PIPE,
                check=True,
            )
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    calls, took = map(float, done.stdout.split())
    print(f"  {'mlflow':<22} {calls / took:8.1f} calls/s {calls * 1000 / took:10,.0f} points/s")
    return calls * 1000 / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", choices=["requests", "steps", "mlflow", []])
    parser.add_argument("--seconds", type=float, default=15, help="at most, of each server")
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    what = options.what or ["requests", "steps", "mlflow"]
    parts: dict[str, Callable[[], float]] = {
        "requests": lambda: compare(100, 10, 400, options.seconds, options.clients, "requests"),
        "steps": lambda: compare(20, 1, 5_000, options.seconds, options.clients, "steps"),
        "mlflow": lambda: mlflow(options.seconds, options.clients),
    }
    titles = {
        "requests": "1,000 points a call",
        "steps": "20 points a call",
        "mlflow": "MLflow, 1,000 points a call",
    }
    rates = {}
    for part in what:
        print(f"{titles[part]}, {options.clients} clients:", flush=True)
        rates[part] = parts[part]()
    if "requests" in rates and "mlflow" in rates:
        print(f"tensordeck / mlflow: {rates['requests'] / rates['mlflow']:.0f}")


if __name__ == "__main__":
    main()
