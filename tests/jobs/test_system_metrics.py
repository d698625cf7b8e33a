"""System metrics of real processes, read back from the event files."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tensordeck.ingest.event_files import EventFile
from tensordeck.ingest.log_directory import find_event_files
from tensordeck.ingest.summaries import SummaryDecoder
from tensordeck.jobs.process_use import ProcessTrees
from tensordeck.jobs.system_metrics import SystemMetrics

PATIENCE_LOOKS = 600


@contextlib.contextmanager
def process(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that says a line when it has come to its work."""
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)  # its children have its group
        started.communicate()


def recorded(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag."""
    found: dict[str, list[tuple[int, float]]] = {}
    for _, path in find_event_files(folder):
        for point in EventFile(path).points(SummaryDecoder("run")):
            found.setdefault(point.series.tag, []).append((point.step, point.value))
    return found


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(PATIENCE_LOOKS):
        if condition():
            return
        pause.wait(0.1)
    raise AssertionError("it did not happen")


def test_a_busy_process_and_its_children_are_recorded(tmp_path):
    busy = (
        "import os\n"
        "ballast = bytearray(50_000_000)\n"
        "ballast[::4096] = b'x' * len(ballast[::4096])\n"
        "if os.fork(): print('ready', flush=True)\n"
        "while True: sum(range(10_000))\n"
    )
    folder = tmp_path / "workerpool0-0"
    with process(busy) as job:
        assert job.stdout.readline() == "ready\n"
        metrics = SystemMetrics(folder, lambda: [job.pid], period_seconds=0.2)
        metrics.start()
        until(lambda: any(n == 2 for _, n in recorded(folder).get("system/processes", ())))
        until(lambda: any(v > 1 for _, v in recorded(folder).get("system/cpu_percent", ())))
        metrics.stop()

    found = recorded(folder)
    assert {
        "system/cpu_percent",
        "system/memory_bytes",
        "system/processes",
        "system/threads",
        "system/disk_free_bytes",
    } <= set(found)
    assert found["system/memory_bytes"][0][1] > 50_000_000
    assert all(step >= 0 and math.isfinite(v) for points in found.values() for step, v in points)


def test_tags_say_what_they_mean(tmp_path):
    metrics = SystemMetrics(tmp_path, lambda: [os.getpid()], period_seconds=0.01)
    metrics.start()
    until(lambda: len(recorded(tmp_path).get("system/threads", ())) > 1)
    metrics.stop()

    ((_, path),) = find_event_files(tmp_path)
    series = {point.series for point in EventFile(path).points(SummaryDecoder("run"))}
    described = {one.tag: one.description for one in series}
    assert "100 is one core" in described["system/cpu_percent"]
    assert {one.plugin_name for one in series} == {"scalars"}


def test_processes_that_never_were_or_have_ended_count_for_nothing(tmp_path):
    with process("pass") as ended:
        ended.wait()
        metrics = SystemMetrics(tmp_path, lambda: [ended.pid, 2**22 + 1], period_seconds=0.01)
        metrics.start()
        until(lambda: len(recorded(tmp_path).get("system/processes", ())) > 2)
        metrics.stop()

    assert {value for _, value in recorded(tmp_path)["system/processes"]} == {0.0}


def test_trouble_costs_points_and_nothing_else(tmp_path, caplog):
    calls = iter(range(1_000_000))

    def pids() -> list[int]:
        if next(calls) % 2 == 0:
            raise RuntimeError("no pids now")
        return [os.getpid()]

    metrics = SystemMetrics(tmp_path, pids, period_seconds=0.01)
    metrics.start()
    until(lambda: len(recorded(tmp_path).get("system/processes", ())) > 2)
    metrics.stop()

    assert sum("have a gap" in message for message in caplog.messages) == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path, caplog):
    (tmp_path / "file").touch()
    metrics = SystemMetrics(tmp_path / "file" / "folder", lambda: [os.getpid()])
    metrics.start()
    metrics.stop()

    assert any("System metrics end" in message for message in caplog.messages)


def test_stopping_what_never_started(tmp_path):
    SystemMetrics(tmp_path, list).stop()
    assert list(tmp_path.iterdir()) == []


def test_processor_time_of_children_between_two_looks_counts():
    code = (
        "import os, sys, time\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "if os.fork() == 0:\n"
        "    while time.process_time() < 0.5: sum(range(10_000))\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print('done', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with process(code) as job:
        job.stdout.readline()
        trees = ProcessTrees()
        first = trees.look([job.pid])
        began = os.times().elapsed
        job.stdin.write("\n")
        job.stdin.flush()
        job.stdout.readline()
        second = trees.look([job.pid])
        seconds = os.times().elapsed - began

    assert first.cpu_percent is None
    assert (second.processes, second.threads) == (1, 1)
    assert second.cpu_percent / 100 * seconds > 0.4


def test_a_child_that_ends_is_not_counted_twice():
    code = (
        "import os, sys, time\n"
        "if (child := os.fork()) == 0:\n"
        "    while time.process_time() < 0.5: sum(range(10_000))\n"
        "    print('worked', flush=True)\n"
        "    time.sleep(600)\n"
        "sys.stdin.readline()\n"
        "os.kill(child, 9)\n"
        "os.wait()\n"
        "print('done', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with process(code) as job:
        job.stdout.readline()
        trees = ProcessTrees()
        assert trees.look([job.pid]).processes == 2
        began = os.times().elapsed
        job.stdin.write("\n")
        job.stdin.flush()
        job.stdout.readline()
        after = trees.look([job.pid])
        seconds = os.times().elapsed - began

    assert after.processes == 1
    assert after.cpu_percent / 100 * seconds < 0.3


def test_an_orphan_still_belongs_to_its_tree():
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        print('grandchild', flush=True)\n"
        "        time.sleep(600)\n"
        "    sys.stdin.readline()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print('orphaned', flush=True)\n"
        "time.sleep(600)\n"
    )
    with process(code) as job:
        job.stdout.readline()
        trees = ProcessTrees()
        assert trees.look([job.pid]).processes == 3
        job.stdin.write("\n")
        job.stdin.flush()
        job.stdout.readline()
        assert trees.look([job.pid]).processes == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count otherwise")
def test_bytes_that_are_written_count(tmp_path):
    code = (
        "import os, sys\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        f"with open({str(tmp_path / 'out')!r}, 'wb') as out:\n"
        "    out.write(os.urandom(8_000_000)); out.flush(); os.fsync(out.fileno())\n"
        "print('done', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with process(code) as job:
        job.stdout.readline()
        trees = ProcessTrees()
        trees.look([job.pid])
        job.stdin.write("\n")
        job.stdin.flush()
        job.stdout.readline()
        use = trees.look([job.pid])

    assert use.written_bytes_per_second > 0
