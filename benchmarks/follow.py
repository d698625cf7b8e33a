"""What following costs: training jobs that write event files, watched into the server.

    python benchmarks/follow.py [runs] [jobs] [--count 50] [--tags 10] [--rate 10] [--seconds 30]

`runs`: one job's watch with 50 runs below it. `jobs`: 50 watches of one run each. A process of its
own plays the training: each run logs `--tags` scalars a step, `--rate` steps a second, and flushes
once a second. The watches are in a process of their own here, to be measured apart; in production
they are threads of the server. Processor time is counted from a warm start to the end, of both.

Then the same goes on while one point after the other is timed: from the flush of the file to the
first read of the series that has it, asked for every 20 ms.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from tensorboard.compat.proto import event_pb2

from ingest import free_port, wait_for
from tensordeck import protos
from tensordeck.ingest.connection import Connection, Target
from tensordeck.ingest.tfrecord import framed
from tensordeck.jobs.watch import Watch

PARENT = "projects/p/locations/us-central1"
PROBES = 10


def write(folder: Path, count: int, tags: int, rate: int) -> None:
    """Plays the training, until it is killed."""
    files = []
    for number in range(count):
        run = folder / f"run-{number}"
        run.mkdir(parents=True)
        file = (run / f"events.out.tfevents.{int(time.time())}.host").open("ab", buffering=0)
        file.write(framed(event_pb2.Event(file_version="brain.Event:2").SerializeToString()))
        files.append(file)
    print("ready", flush=True)
    step, began = 0, time.monotonic()
    while True:
        records = []
        for _ in range(rate):
            event = event_pb2.Event(wall_time=time.time(), step=step)
            for tag in range(tags):
                event.summary.value.add(tag=f"tag-{tag}", simple_value=1 / (step + tag + 1))
            records.append(framed(event.SerializeToString()))
            step += 1
        for number, file in enumerate(files):  # over the second, as 50 programs would
            file.write(b"".join(records))
            pause = began + step / rate - 1 + number / count - time.monotonic()
            time.sleep(max(0.0, pause))


def watch(target: dict[str, str], logs: Path, count: int, together: bool) -> None:
    """Watches, until it is told to stop."""
    door = Target(
        url=target["url"],
        credentials=Path(target["credentials"]),
        tensorboard=target["tensorboard"],
    )
    folders = [logs] if together else [logs / f"run-{number}" for number in range(count)]
    watches = [
        Watch(door, str(1000 + number), [folder], logs.parent / f"positions-{number}", print)
        for number, folder in enumerate(folders)
    ]
    for one in watches:
        one.start()
    print("ready", flush=True)
    sys.stdin.readline()
    for one in watches:
        one.stop()
    print(sum(one.progress.points for one in watches), flush=True)


class Setting:
    """A server, the watching process, and the training process."""

    def __init__(self, folder: Path, options: argparse.Namespace, *, together: bool) -> None:
        self.options = options
        self.logs = folder / "logs"
        port = free_port()
        self.target = {
            "url": f"http://127.0.0.1:{port}",
            "credentials": str(folder / "data" / "credentials" / "owner.json"),
            "tensorboard": "",
        }
        serve = (
            "-m",
            "tensordeck",
            "serve",
            "--data-dir",
            str(folder / "data"),
            "--port",
            str(port),
        )
        self.server = subprocess.Popen([sys.executable, *serve], stdout=subprocess.DEVNULL)
        wait_for(f"{self.target['url']}/healthz", self.server)
        self.connection = Connection(self._door())
        request = protos.message("CreateTensorboardRequest")(
            parent=PARENT, tensorboard={"display_name": "follow"}
        )
        done = self.connection.call("CreateTensorboard", request, "google.longrunning.Operation")
        self.target["tensorboard"] = (
            protos.message("Tensorboard").FromString(done.response.value).name
        )
        self.writer = self._part("write", options.count, options.tags, options.rate)
        self.watcher = self._part("watch", json.dumps(self.target), options.count, int(together))

    def _door(self) -> Target:
        return Target(url=self.target["url"], credentials=Path(self.target["credentials"]))

    def _part(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "--part", str(self.logs), *map(str, arguments)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        return process

    def cpu(self) -> tuple[float, float]:
        """Processor seconds of the watching process and of the server so far."""
        times = [psutil.Process(p.pid).cpu_times() for p in (self.watcher, self.server)]
        return tuple(one.user + one.system for one in times)

    def end(self) -> int:
        """Stops all; returns how many points have arrived."""
        self.writer.kill()
        points = int(self.watcher.communicate("\n")[0].splitlines()[-1])
        self.connection.close()
        self.server.send_signal(signal.SIGTERM)
        self.server.wait()
        return points


@contextlib.contextmanager
def setting(options: argparse.Namespace, *, together: bool) -> Iterator[Setting]:
    with tempfile.TemporaryDirectory() as folder:
        one = Setting(Path(folder), options, together=together)
        try:
            yield one
        finally:
            for process in (one.writer, one.watcher, one.server):
                process.kill()


def until(found: Callable[[], bool]) -> None:
    while not found():
        time.sleep(0.02)


def series_of(connection: Connection, experiment: str, run: str) -> dict[str, str]:
    """Full names of a run's series by tag."""
    request = protos.message("ListTensorboardRunsRequest")(parent=experiment, page_size=1000)
    for page in connection.pages("ListTensorboardRuns", request):
        for found in page.tensorboard_runs:
            if found.display_name == run:
                parent = protos.message("ListTensorboardTimeSeriesRequest")(parent=found.name)
                return {
                    series.display_name: series.name
                    for part in connection.pages("ListTensorboardTimeSeries", parent)
                    for series in part.tensorboard_time_series
                }
    return {}


def latency(setting: Setting, *, together: bool) -> list[float]:
    """Seconds from the flush of a point to the first read that has it."""
    run = "run-0" if together else "default"
    experiment = f"{setting.target['tensorboard']}/experiments/1000"
    (file,) = (setting.logs / "run-0").iterdir()
    seconds = []
    with file.open("ab", buffering=0) as events:
        for step in range(PROBES):
            event = event_pb2.Event(wall_time=time.time(), step=step)
            event.summary.value.add(tag="probe", simple_value=step)
            events.write(framed(event.SerializeToString()))
            flushed = time.monotonic()

            def is_there(step: int = step) -> bool:
                name = series_of(setting.connection, experiment, run).get("probe")
                if name is None:
                    return False
                request = protos.message("ReadTensorboardTimeSeriesDataRequest")(
                    tensorboard_time_series=name, max_data_points=-1
                )
                reply = setting.connection.call(
                    "ReadTensorboardTimeSeriesData",
                    request,
                    "ReadTensorboardTimeSeriesDataResponse",
                )
                return any(point.step == step for point in reply.time_series_data.values)

            until(is_there)
            seconds.append(time.monotonic() - flushed)
    return seconds


def measure(options: argparse.Namespace, *, together: bool) -> dict[str, Any]:
    with setting(options, together=together) as one:
        time.sleep(5)
        before, began = one.cpu(), time.monotonic()
        time.sleep(options.seconds)
        used = [now - then for now, then in zip(one.cpu(), before, strict=True)]
        elapsed = time.monotonic() - began
        delays = latency(one, together=together)
        points = one.end()
    return {
        "points a second": options.count * options.tags * options.rate,
        "cores, watching": used[0] / elapsed,
        "cores, server": used[1] / elapsed,
        "cores, together": sum(used) / elapsed,
        "seconds to be visible, median": statistics.median(delays),
        "seconds to be visible, worst": max(delays),
        "points arrived": points,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["runs", "jobs"])
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--tags", type=int, default=10)
    parser.add_argument("--rate", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    for what in options.what:
        print(f"{what}: {options.count} x {options.tags} tags x {options.rate} steps a second")
        for name, value in measure(options, together=what == "runs").items():
            print(f"  {name}: {value:,.3g}" if isinstance(value, float) else f"  {name}: {value:,}")


if __name__ == "__main__":
    os.environ.pop("TENSORDECK_DATA_DIR", None)
    if sys.argv[1:2] == ["--part"]:
        logs, part, *rest = sys.argv[2:]
        if part == "write":
            write(Path(logs), *map(int, rest))
        else:
            watch(json.loads(rest[0]), Path(logs), int(rest[1]), bool(int(rest[2])))
    else:
        main()
