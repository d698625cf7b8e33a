"""The power goes at any moment: whatever part of what was not synced is on the disk, the store
opens and has all that was acknowledged.

A real server runs under strace while clients write; each moment between two of its operations is
then a power cut, replayed by `crash_images`.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import text

from tensordeck.access import open_access
from tensordeck.front.tls import ensure_certificates
from tensordeck.settings import Settings
from tensordeck.store.blobs import open_blobs
from tensordeck.store.catalog import SqlCatalog
from tensordeck.store.database import open_database
from tensordeck.store.points import SqlPoints
from tensordeck.store.resources import Run, StoredObject, TimeSeries
from tests.conftest import Server, make_server
from tests.store.points_place import NEVER
from tests.torture.conftest import Tally
from tests.torture.crash_images import Disk, Operation, recorded, strace
from tests.torture.load import BUCKET, PARENT, POINTS, Api, content_of, value_at

pytestmark = [pytest.mark.torture, pytest.mark.timeout(7200)]


@dataclass
class Acknowledged:
    """What was acknowledged, with the moments.

    Attributes:
        runs: (moment, name).
        points: (moment, run's name, its number, points of its series).
        objects: (moment, name).
    """

    runs: list[tuple[float, str]] = field(default_factory=list)
    points: list[tuple[float, str, int, int]] = field(default_factory=list)
    objects: list[tuple[float, str]] = field(default_factory=list)


@dataclass
class Recording:
    """A server's operations, and what clients heard meanwhile."""

    folder: Path
    operations: list[Operation]
    acknowledged: Acknowledged


@pytest.fixture
def recording(tmp_path: Path, rounds: Callable[[int, int], int]) -> Recording:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (tools/install_system_packages.sh)")
    server = make_server(tmp_path / "data", "--run-jobs", "false")
    log = tmp_path / "strace"
    start_traced(server, strace(log))
    acknowledged = Acknowledged()
    seconds = rounds(40, 20)  # what waits in the journal is folded after 15 seconds
    try:
        drive(server, acknowledged, seconds)
    finally:
        os.killpg(server.process.pid, signal.SIGTERM)
        server.process.wait(60)
        server.process.stdout.close()
    return Recording(server.data_dir, recorded(log, server.data_dir), acknowledged)


def start_traced(server: Server, prefix: list[str]) -> None:
    """As `Server.start`, under another command."""
    popen = subprocess.Popen

    def traced(command: list[str], **options: object) -> subprocess.Popen[str]:
        return popen([*prefix, *command], **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.conftest.subprocess.Popen", traced)
        server.start()


def drive(server: Server, acknowledged: Acknowledged, seconds: float) -> None:
    """Several clients write for a while."""
    token = server.token
    api = Api(server, lambda: token)
    board = json.loads(api.rest("POST", f"/v1/{PARENT}/tensorboards", {"displayName": "cut"}))
    board = board["response"]["name"]
    api.rest("POST", f"/v1/{board}/experiments?tensorboardExperimentId=e", {})
    api.rest("POST", "/storage/v1/b?project=torture", {"name": BUCKET})
    end = time.monotonic() + seconds
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        own = Api(server, lambda: token)
        number = thread
        try:
            while time.monotonic() < end:
                one_round(own, f"{board}/experiments/e", number, acknowledged)
                number += 3
        except BaseException as error:  # noqa: BLE001 -- told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    api.close()
    assert not failures, failures


def one_round(api: Api, experiment: str, number: int, acknowledged: Acknowledged) -> None:
    """Makes a run with a series, writes to it, and uploads an object."""
    run = f"{experiment}/runs/r{number}"
    api.grpc(
        "CreateTensorboardRun",
        parent=experiment,
        tensorboard_run_id=f"r{number}",
        tensorboard_run={"display_name": f"r{number}"},
    )
    api.grpc(
        "CreateTensorboardTimeSeries",
        parent=run,
        tensorboard_time_series_id="0",
        tensorboard_time_series={"display_name": "tag", "value_type": 1},
    )
    acknowledged.runs.append((time.time(), run))
    for written in range(0, 12 * POINTS, POINTS):
        values = [
            {"step": step, "scalar": {"value": value_at(number, 0, step)}}
            for step in range(written, written + POINTS)
        ]
        series = {"tensorboard_time_series_id": "0", "value_type": 1, "values": values}
        api.grpc("WriteTensorboardRunData", tensorboard_run=run, time_series_data=[series])
        acknowledged.points.append((time.time(), run, number, written + POINTS))
    name = f"object-{number}"
    path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
    api.rest("POST", path, content_of(name))
    acknowledged.objects.append((time.time(), name))


def test_no_power_cut_loses_what_was_acknowledged(
    recording: Recording,
    rounds: Callable[[int, int], int],
    tally: Tally,
) -> None:
    operations, acknowledged = recording.operations, recording.acknowledged
    chance = random.Random(20261123)
    moments = min(len(operations), rounds(400, 25))
    chosen = set(chance.sample(range(len(operations)), moments))
    disk = Disk(recording.folder)
    images = 0
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # what is synced there costs nothing
    place = Path(tempfile.mkdtemp(prefix="tensordeck-", dir=memory))
    for number, operation in enumerate(operations):
        disk.apply(operation)
        if number not in chosen:
            continue
        next_began = min((o.began for o in operations[number + 1 : number + 20]), default=2e10)
        for image in disk.images(chance, 4):
            images += 1
            shutil.rmtree(place)
            lay_out(place, image)
            check(place, acknowledged, next_began)
    shutil.rmtree(place)
    kinds = {kind: sum(o.kind == kind for o in operations) for kind in ("write", "sync", "rename")}
    folded = sum(o.kind == "write" and o.path.endswith(".db") for o in operations)
    assert folded, "the log never moved into the database: the recording is too short"
    tally(
        f"{images} images of {moments} moments of {len(operations)} operations ({kinds}), with "
        f"{len(acknowledged.points)} writes of points, {len(acknowledged.runs)} runs and "
        f"{len(acknowledged.objects)} objects acknowledged; lost 0, all opened"
    )


def lay_out(place: Path, image: dict[str, bytes | None]) -> None:
    place.mkdir()
    for name, content in sorted(image.items()):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)


def check(place: Path, acknowledged: Acknowledged, moment: float) -> None:
    """Opens the store as a server does and reads all that was acknowledged before a moment."""
    settings = Settings(data_dir=place)
    database = open_database(settings)
    points = SqlPoints(database, schedule=NEVER)
    try:
        catalog = SqlCatalog(database)
        with database.read() as connection:
            assert connection.execute(text("PRAGMA quick_check")).scalar() == "ok"
        open_access(catalog, settings)
        ensure_certificates(settings)
        runs = [name for when, name in acknowledged.runs if when < moment]
        found = catalog.find_many(Run, runs)
        assert not set(runs) - found.keys(), "an acknowledged run is gone"
        counts: dict[str, tuple[int, int]] = {}
        for when, name, number, count in acknowledged.points:
            if when < moment:
                counts[name] = (number, max(count, counts.get(name, (0, 0))[1]))
        series = catalog.find_many(TimeSeries, [f"{name}/timeSeries/0" for name in counts])
        columns = points.read_scalars([(one.run_pk, one.pk) for one in series.values()])
        for name, (number, count) in counts.items():
            read = columns[series[f"{name}/timeSeries/0"].pk]
            steps = read.steps.tolist()
            assert steps == list(range(len(steps)))
            assert count <= len(steps) <= count + POINTS
            assert read.values.tolist() == [value_at(number, 0, step) for step in steps]
        names = [f"{BUCKET}/{name}" for when, name in acknowledged.objects if when < moment]
        objects = catalog.find_many(StoredObject, names)
        assert not set(names) - objects.keys(), "an acknowledged object is gone"
        blobs = open_blobs(settings)
        for name, stored in objects.items():
            content = b"".join(blobs.read(stored.blob_key))
            assert content == content_of(name.partition("/")[2])
    finally:
        points.close()
        database.close()
