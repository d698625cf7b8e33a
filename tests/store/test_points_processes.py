"""Points and other processes: two on one store at once, and a disk that is full."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tensordeck import protos
from tensordeck.services.blob_points import join_profiles
from tensordeck.store.contract import NO_WALL_TIME, PayloadColumns, SeriesPoints
from tensordeck.store.resources import ValueType
from tests.store.points_place import EAGER, Place, open_place

TREE = Path(__file__).parents[2]

WRITER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tensordeck.settings import Settings
from tests.store.points_place import EAGER, open_place
where = Settings(data_dir=Path(sys.argv[2]), database_url=sys.argv[4])
with open_place(where, EAGER) as place:
    key = tuple(json.loads(sys.argv[3]))
    print("ready", flush=True)
    sys.stdin.readline()
    for step in range(1, 300, 2):
        place.write(key, [step], [step])
        place.write(key, [0], [-step])
    print(json.dumps(place.read(key)), flush=True)
"""

FULL = """
import json, resource, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np
from tests.store.points_place import EAGER, open_place
from tensordeck import errors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
rng = np.random.default_rng(0)
with open_place(Path(sys.argv[2]), EAGER, 4096) as place:
    key = tuple(json.loads(sys.argv[3]))
    written = 0
    def write():
        place.write(key, range(written * 500, written * 500 + 500), rng.normal(size=500))
    write()
    written += 1
    limit = 4 * 2**20
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    refused = 0
    for _ in range(4000):
        try:
            write()
        except errors.ResourceExhausted:
            refused += 1
            assert len(place.read(key)) == written * 500, "a refused write left points behind"
            assert place.points.summaries([key])[key[1]].count == written * 500
            if refused == 5:
                break
        else:
            written += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for _ in range(3):
        write()
        written += 1
    place.points.fold()
    steps = [step for step, _ in place.read(key)]
    assert steps == list(range(written * 500)), "points are missing after the disk had room again"
    print(json.dumps({"refused": refused, "written": written}))
"""


def test_two_processes_fold_and_write_one_series(settings):
    with open_place(settings, EAGER) as place:
        place.make_experiment()
        key = place.make_run("r", 1)[0]
        command = [sys.executable, "-c", WRITER, str(TREE), str(settings.data_dir)]
        command += [json.dumps(key), settings.database_url]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout.readline() == "ready\n"
            other.stdin.write("go\n")
            other.stdin.flush()
            for step in range(2, 300, 2):
                place.write(key, [step], [step])
            seen = {step: value for step, value in json.loads(other.stdout.readline()) if step % 2}
        assert seen == {step: step for step in range(1, 300, 2)}
        place.points.fold()
        points = place.read(key)
        assert points == [(0, -299), *((step, step) for step in range(1, 300))]
        assert place.points.summaries([key])[key[1]].count == 300


def test_a_full_disk_refuses_writes_and_recovers(tmp_path):
    """A limit on the size of files stands for the disk: the system calls fail the same way."""
    with open_place(tmp_path) as place:
        place.make_experiment()
        key = place.make_run("r", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(TREE), str(tmp_path), json.dumps(key)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["refused"] == 5
    with open_place(tmp_path) as place:
        assert place.points.summaries([key])[key[1]].count == told["written"] * 500


def test_two_servers_add_to_one_profile_session(settings):
    """Each adds to what the other has just written; neither may take anything away."""
    with open_place(settings) as one, open_place(settings) as other:
        one.make_experiment()
        (key,) = one.make_run("r", 1, ValueType.BLOB_SEQUENCE)
        together = threading.Barrier(2)

        def add(place: Place, host: str) -> None:
            together.wait()
            for number in range(30):
                session = protos.message("TensorboardBlobSequence")(
                    values=[{"id": f"{host}-{number}"}]
                )
                columns = PayloadColumns(
                    np.zeros(1, np.int64),
                    np.full(1, NO_WALL_TIME, np.int64),
                    [session.SerializeToString()],
                    versions=[0],
                    lengths=[1],
                )
                place.points.append([SeriesPoints(key[1], key[0], columns)], join_profiles)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(add, (one, other), ("a", "b")))
        for place in (one, other):
            (payload,) = place.points.read_payloads([key])[key[1]].payloads
            stored = protos.message("TensorboardBlobSequence").FromString(payload).values
            assert {blob.id for blob in stored} == {
                f"{host}-{number}" for host in "ab" for number in range(30)
            }
