"""Watches over folders that a job writes, against a real server, read back through the API."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tensordeck import protos
from tensordeck.errors import NotFound
from tensordeck.ingest.connection import Connection, Target
from tensordeck.jobs.watch import Watch
from tests.ingest.reading_back import Reader, create_instance, target_of
from tests.ingest.sample_logs import numbered, write

JOBS = itertools.count(1)
PATIENCE = 60


class Job:
    """A job's folder and its watch.

    Attributes:
        logs: What AIP_TENSORBOARD_LOG_DIR is.
        system: Where system metrics are.
        warnings: What the job's log was told.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self.id = str(next(JOBS))
        self.target = target
        self.folder = folder
        self.logs = folder / "gcs" / "bucket" / "logs"
        self.system = folder / "system"
        self.warnings: list[str] = []

    def watch(self, **options: object) -> Watch:
        return Watch(
            self.target,
            self.id,
            [self.logs, self.system],
            self.folder / "positions",
            self.warnings.append,
            **{"poll_seconds": 0.05, **options},
        )

    def has_experiment(self) -> bool:
        try:
            Reader(self.target).runs(self.id)
        except NotFound:
            return False
        return True

    def scalars(self) -> dict[str, dict[str, list[tuple[int, float]]]]:
        return Reader(self.target).scalars(self.id)


class Growing:
    """An event file that comes bit by bit."""

    def __init__(self, folder: Path, drafts: Path, values: list[float]) -> None:
        write(drafts, values)
        (draft,) = drafts.iterdir()
        self._content = draft.read_bytes()
        folder.mkdir(parents=True)
        self._file = folder / draft.name

    def grow(self, to: float) -> None:
        there = self._file.stat().st_size if self._file.exists() else 0
        with self._file.open("ab") as file:
            file.write(self._content[there : int(len(self._content) * to)])


@pytest.fixture
def job(tmp_path, server) -> Job:
    return Job(tmp_path, create_instance(target_of(server)))


@pytest.fixture
def running(job) -> Iterator[Callable[[], Watch]]:
    """Starts watches, and ends those that a failing test left."""
    started = []

    def start(**options: object) -> Watch:
        watch = job.watch(**options)
        watch.start()
        started.append(watch)
        return watch

    yield start
    for watch in started:
        watch.stop(0)


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread brings about."""
    pause = threading.Event()
    for _ in range(PATIENCE * 10):
        if condition():
            return
        pause.wait(0.1)
    raise AssertionError("it did not happen")


def test_runs_appear_while_they_grow(job, running):
    watch = running()
    until(job.has_experiment)  # before anything is logged

    growing = Growing(job.logs / "train", job.folder / "complete", [1.0, 0.5])
    growing.grow(to=0.9)  # the second value is not there whole
    until(lambda: job.scalars().get("train") == {"loss": [(0, 1.0)]})
    growing.grow(to=1)
    until(lambda: job.scalars()["train"] == {"loss": [(0, 1.0), (1, 0.5)]})
    write(job.system / "workerpool0-0", [7, 8], tag="system/cpu_percent")
    write(job.logs, [3])

    assert watch.stop()
    assert job.scalars() == {
        "train": {"loss": [(0, 1.0), (1, 0.5)]},
        "workerpool0-0": {"system/cpu_percent": [(0, 7.0), (1, 8.0)]},
        "default": {"loss": [(0, 3.0)]},
    }
    assert watch.progress.points == 5
    assert job.warnings == []


def test_a_restart_goes_on_where_it_stopped(job, running):
    write(job.logs / "train", range(10))
    assert running().stop()
    write(job.logs / "train", range(5), first_step=10, filename_suffix=".more")

    second = running()

    assert second.stop()
    assert second.progress.points == 5
    assert job.scalars() == {"train": {"loss": numbered([*range(10), *range(5)])}}


def test_a_corrupt_file_is_told_to_the_job_and_stops_no_other(job, running):
    write(job.logs / "bad", range(10))
    (bad,) = (job.logs / "bad").iterdir()
    content = bytearray(bad.read_bytes())
    content[len(content) // 2] ^= 0xFF
    bad.write_bytes(content)
    write(job.logs / "good", range(10))

    assert running().stop()

    assert job.scalars()["good"] == {"loss": numbered(range(10))}
    (warning,) = job.warnings
    assert str(bad) in warning
    assert "checksum" in warning


def test_links_are_not_followed(job, running, tmp_path):
    outside = tmp_path / "secret"
    write(outside, [42])
    (secret,) = outside.iterdir()
    job.logs.mkdir(parents=True)
    (job.logs / "folder").symlink_to(outside)
    (job.logs / secret.name).symlink_to(secret)
    write(job.logs / "own", [1])

    assert running().stop()

    assert job.scalars() == {"own": {"loss": [(0, 1.0)]}}


def test_it_waits_for_an_instance_that_is_not_there(job, running):
    job.target = Target(
        url=job.target.url,
        credentials=job.target.credentials,
        tensorboard="projects/p/locations/us-central1/tensorboards/12345",
    )
    watch = running()
    until(lambda: bool(job.warnings))

    assert not watch.stop()
    assert "tensorboards/12345" in job.warnings[0]
    assert len(job.warnings) == 2


def test_logs_of_an_experiment_run_go_to_that_run(job, running):
    write(job.logs, [1])
    write(job.logs / "validation", [2])
    write(job.system / "workerpool0-0", [3], tag="system/cpu_percent")

    assert running(run="run-1").stop()

    assert job.scalars() == {
        "run-1": {"loss": [(0, 1.0)]},
        "run-1/validation": {"loss": [(0, 2.0)]},
        "run-1/workerpool0-0": {"system/cpu_percent": [(0, 3.0)]},
    }


def test_a_server_that_comes_back_gets_everything(tmp_path, fresh_server):
    job = Job(tmp_path / "job", create_instance(target_of(fresh_server)))
    watch = job.watch()
    watch.start()
    write(job.logs / "train", range(10))
    until(lambda: watch.progress.points == 10)
    fresh_server.kill()
    write(job.logs / "train", range(10), first_step=10, filename_suffix=".more")
    fresh_server.start()

    until(lambda: watch.progress.points == 20)
    assert watch.stop()
    assert job.scalars() == {"train": {"loss": numbered([*range(10), *range(10)])}}


def test_stop_is_bounded_while_the_server_is_away(tmp_path, fresh_server):
    job = Job(tmp_path / "job", create_instance(target_of(fresh_server)))
    watch = job.watch()
    watch.start()
    until(job.has_experiment)
    fresh_server.kill()
    write(job.logs / "train", range(10))

    assert not watch.stop(seconds=1)

    fresh_server.start()
    again = job.watch()
    again.start()
    assert again.stop()
    assert job.scalars() == {"train": {"loss": numbered(range(10))}}


def test_an_experiment_that_is_deleted_while_the_job_runs_is_filled_again(job, running):
    write(job.logs / "train", range(3))
    watch = running()
    until(lambda: watch.progress.points == 3)
    request = protos.message("DeleteTensorboardExperimentRequest")(name=watch.progress.experiment)
    with Connection(job.target) as connection:
        connection.call("DeleteTensorboardExperiment", request, "google.longrunning.Operation")
    assert not job.has_experiment()

    write(job.logs / "train", range(3), first_step=3, filename_suffix=".more")
    until(job.has_experiment)
    assert watch.stop()

    assert job.scalars() == {"train": {"loss": numbered([*range(3), *range(3)])}}
    assert len(job.warnings) == 1
