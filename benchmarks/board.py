"""How fast charts are answered: our board against TensorBoard with its Rust data server.

    python benchmarks/board.py [--runs 100] [--tags 20] [--steps 2000] [--rounds 3]

The same points lie in event files for TensorBoard (`--load_fast=true`) and in a store for
`tensordeck serve`; each server answers `timeSeries` for one tag in all runs, tag after tag, with
the other at rest. "First" is the first time that we are asked for a tag; "again" the same question
about unchanged data. TensorBoard's clock starts when all its points are loaded. Also: time from
the start of our process to the first such answer, and both servers' memory.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import httpx
import numpy as np

from tensordeck.access import SESSION_COOKIE, open_access
from tensordeck.names import board_id
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.resources import Experiment, Run, Tensorboard, TimeSeries

INSTANCE = "projects/bench/locations/us-central1/tensorboards/1"
EXPERIMENT = f"{INSTANCE}/experiments/curves"
BROWSER = {"Accept-Encoding": "gzip, deflate, br, zstd"}  # Chromium's
# Where TensorFlow is installed, TensorBoard would load it first: a minute and 400 MB against it.
TENSORBOARD = (
    "import sys, types; name = 'tensorboard.compat.notf'; "
    "sys.modules[name] = types.ModuleType(name); "
    "from tensorboard.main import run_main; run_main()"
)
CHART = "data/plugin/timeseries/timeSeries"


def curve(run: int, tag: int, steps: int) -> np.ndarray:
    """A noisy curve, rounded to float32 as event files keep it."""
    rng = np.random.default_rng(run * 1000 + tag)
    x = np.arange(steps)
    values = np.exp(-x / (200 + run)) + rng.normal(0, 0.05, steps)
    return values.astype(np.float32).astype(np.float64)


def record(event: bytes) -> bytes:
    """A TFRecord."""
    head = struct.pack("<Q", len(event))
    return head + checksum(head) + event + checksum(event)


def checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def write_event_files(logdir: Path, runs: int, tags: int, steps: int) -> None:
    """One file a run and one event a scalar, as SummaryWriter writes them."""
    names = [f"tag_{tag}".encode() for tag in range(tags)]
    heads = [b"\x0a" + varint(len(name)) + name + b"\x15" for name in names]
    for run in range(runs):
        folder = logdir / f"run_{run:03}"
        folder.mkdir(parents=True)
        columns = [curve(run, tag, steps).tolist() for tag in range(tags)]
        pieces = [record(b"\x09" + struct.pack("<d", 1e9) + b"\x1a\x0dbrain.Event:2")]
        for step in range(steps):
            start = b"\x09" + struct.pack("<d", 1e9 + step) + b"\x10" + varint(step)
            for head, column in zip(heads, columns, strict=True):
                value = head + struct.pack("<f", column[step])
                summary = b"\x0a" + varint(len(value)) + value
                pieces.append(record(start + b"\x2a" + varint(len(summary)) + summary))
        (folder / "events.out.tfevents.1000000000.bench").write_bytes(b"".join(pieces))


def fill_store(data_dir: Path, runs: int, tags: int, steps: int) -> str:
    """Puts the same points into a store; returns a session cookie for its server."""
    data_dir.mkdir(parents=True)
    settings = Settings(data_dir=data_dir)
    store = open_store(settings)
    store.catalog.create(Tensorboard(name=INSTANCE))
    store.catalog.create(Experiment(name=EXPERIMENT, display_name="curves"))
    walls = ((1e9 + np.arange(steps)) * 1e9).astype(np.int64)
    for run in range(runs):
        name = f"{EXPERIMENT}/runs/run-{run:03}"
        made = store.catalog.create(Run(name=name, display_name=f"run_{run:03}"))
        series = store.catalog.create_many(
            [
                TimeSeries(
                    name=f"{name}/timeSeries/{tag}",
                    display_name=f"tag_{tag}",
                    plugin_name="scalars",
                )
                for tag in range(tags)
            ]
        )
        store.points.append(
            [
                SeriesPoints(
                    one.pk, made.pk, ScalarColumns(np.arange(steps), walls, curve(run, tag, steps))
                )
                for tag, one in enumerate(series)
            ]
        )
    while store.points.fold():
        pass
    access = open_access(store.catalog, settings)
    cookie = access.open_session(access.sign_in_link("http://x").partition("token=")[2])
    store.close()
    return cookie


@contextlib.contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield child
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait()


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            if int(status.parent.name) == pid or f"\nPPid:\t{pid}\n" in text:
                total += int(text.split("VmRSS:")[1].split()[0]) if "VmRSS:" in text else 0
    return total / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(client: httpx.Client, tag: int, path: str = CHART) -> tuple[float, bytes]:
    """Asks for a chart as the browser does; returns milliseconds and the body as it came."""
    request = json.dumps([{"plugin": "scalars", "tag": f"tag_{tag}"}])
    form = {"requests": (None, request)}
    began = time.perf_counter()
    with client.stream("POST", path, files=form) as response:
        body = b"".join(response.iter_raw())
    took = (time.perf_counter() - began) * 1000
    response.raise_for_status()
    return took, body


def patiently(client: httpx.Client, path: str, seconds: float = 120) -> httpx.Response:
    """Asks until a server that starts takes the question."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return client.get(path)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def loaded(client: httpx.Client, runs: int, tags: int, steps: int) -> bool:
    """Whether TensorBoard has read every file to its end."""
    series = json.dumps([{"plugin": "scalars", "tag": f"tag_{tags - 1}"}])
    reply = client.post(CHART, data={"requests": series}).json()[0].get("runToSeries", {})
    return len(reply) == runs and all(s[-1]["step"] == steps - 1 for s in reply.values())


def figures(name: str, times: list[float]) -> float:
    middle = statistics.median(times)
    print(f"{name:34} median {middle:8.1f} ms   max {max(times):8.1f} ms   ({len(times)} answers)")
    return middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--tags", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    shape = (options.runs, options.tags, options.steps)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        print(f"{options.runs} runs x {options.tags} tags x {options.steps} steps ...")
        write_event_files(place / "logs", *shape)
        cookie = fill_store(place / "data", *shape)

        port = free_port()
        server = (sys.executable, "-m", "tensordeck", "serve", "--port", str(port))
        began = time.monotonic()
        with process(*server, "--data-dir", str(place / "data")) as child:
            base = f"http://127.0.0.1:{port}/experiment/{board_id(EXPERIMENT)}/"
            with httpx.Client(
                base_url=base, cookies={SESSION_COOKIE: cookie}, headers=BROWSER, timeout=60
            ) as client:
                patiently(client, "/healthz")
                _, _ = ask(client, 0)
                start_seconds = time.monotonic() - began
                start_cpu = cpu_seconds(child.pid)
                first = [ask(client, tag)[0] for tag in range(1, options.tags)]
                again = [
                    ask(client, tag)[0]
                    for _ in range(options.rounds)
                    for tag in range(options.tags)
                ]
                ours_mb = memory_mb(child.pid)
        mine = figures("Tensordeck, first", first)
        kept = figures("Tensordeck, again", again)
        print(
            f"from process start to first answer: {start_seconds:.2f} s, {start_cpu:.2f} s of CPU"
        )

        port = free_port()
        tensorboard = (sys.executable, "-c", TENSORBOARD, "--load_fast=true", "--port", str(port))
        began = time.monotonic()
        with (
            process(*tensorboard, "--logdir", str(place / "logs")) as child,
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}/", headers=BROWSER, timeout=120
            ) as client,
        ):
            patiently(client, "data/runs")
            while not loaded(client, *shape):
                time.sleep(0.5)
            load_seconds = time.monotonic() - began
            theirs = [
                ask(client, tag)[0] for _ in range(options.rounds) for tag in range(options.tags)
            ]
            theirs_mb = memory_mb(child.pid)
        other = figures("TensorBoard, Rust data server", theirs)
        print(f"TensorBoard had loaded everything after {load_seconds:.1f} s")

    print(f"ratio: {other / mine:.1f} first, {other / kept:.1f} again (wanted: 10)")
    print(f"memory: TensorBoard {theirs_mb:.0f} MB, Tensordeck {ours_mb:.0f} MB (wanted: 300)")


if __name__ == "__main__":
    main()
