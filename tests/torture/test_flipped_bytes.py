"""A byte of the database's file is another one, anywhere: no other points are ever read."""

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tensordeck import errors
from tensordeck.store.resources import TimeSeries, ValueType
from tests.store.points_place import EXPERIMENT, Place, open_place, payloads
from tests.torture.conftest import Tally

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]

RUNS, SERIES, POINTS = 6, 4, 40

Points = dict[str, list[tuple[int, float | bytes]]]


def fill(folder: Path) -> Points:
    """Makes a store with folded and fresh scalars, and tensors; returns them by series."""
    written: Points = {}
    with open_place(folder) as place:
        place.make_experiment()
        for run in range(RUNS):
            for number, key in enumerate(place.make_run(f"r{run}", SERIES)):
                values = [run * 100 + number + step / 3 for step in range(POINTS)]
                place.write(key, range(POINTS - 5), values[:-5])
                name = f"{EXPERIMENT}/runs/r{run}/timeSeries/{number}"
                written[name] = list(enumerate(values))
            (key,) = place.make_run(f"t{run}", 1, ValueType.TENSOR)
            tensors = {step: bytes((run, step)) * 90 for step in range(4)}
            place.points.append([payloads(key, tensors)])
            written[f"{EXPERIMENT}/runs/t{run}/timeSeries/0"] = list(tensors.items())
        place.points.fold()
        for name, points in written.items():
            if "/runs/r" in name:
                series = place.catalog.get(TimeSeries, name)
                steps, values = zip(*points[-5:], strict=True)
                place.write((series.run_pk, series.pk), steps, values)
    return written


def read(place: Place, name: str) -> list[tuple[int, float | bytes]]:
    series = place.catalog.get(TimeSeries, name)
    key = (series.run_pk, series.pk)
    if series.value_type is ValueType.TENSOR:
        columns = place.points.read_payloads([key])[series.pk]
        return list(zip(columns.steps.tolist(), columns.payloads, strict=True))
    return place.read(key)


def outcomes(folder: Path, written: Points) -> Counter[str]:
    """How reading of each series ends."""
    found: Counter[str] = Counter()
    try:
        with open_place(folder) as place:
            for name, points in written.items():
                try:
                    same = read(place, name) == points
                except errors.TensordeckError as error:
                    found[type(error).__name__] += 1
                else:
                    assert same, f"other points were read of {name}"
                    found["as written"] += 1
    except errors.FailedPrecondition:
        found["not opened"] += 1
    return found


def test_a_flipped_byte_never_becomes_a_point(
    tmp_path: Path, rounds: Callable[[int, int], int], tally: Tally
) -> None:
    written = fill(tmp_path)
    sound = (tmp_path / "tensordeck.db").read_bytes()
    assert not (tmp_path / "tensordeck.db-wal").exists()
    chance = random.Random(20261123)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    place = Path(tempfile.mkdtemp(prefix="tensordeck-", dir=memory))
    flips = rounds(3000, 100)
    ends: Counter[str] = Counter()
    for _ in range(flips):
        damaged = bytearray(sound)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        (place / "tensordeck.db").write_bytes(damaged)
        ends += outcomes(place, written)
        shutil.rmtree(place)
        place.mkdir()
    shutil.rmtree(place)
    tally(f"{flips} flipped bits of {len(sound)} bytes; how reading series ended: {dict(ends)}")
