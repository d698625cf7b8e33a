"""`verify` finds whatever is not as it was written, and says whose it is."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from tensordeck.moving.verification import verify
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.contract import PayloadColumns, ScalarColumns, SeriesPoints
from tensordeck.store.resources import (
    Bucket,
    Experiment,
    Run,
    StoredObject,
    Tensorboard,
    TimeSeries,
    ValueType,
)
from tests.store.samples import PLACE

EXPERIMENT = f"{PLACE}/tensorboards/1/experiments/e"
SCALARS, TENSORS = f"{EXPERIMENT}/runs/r/timeSeries/1", f"{EXPERIMENT}/runs/r/timeSeries/2"
KEY = "ab/" + "0" * 30


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    """A store with folded and fresh scalars, tensors, and an object."""
    place = Settings(data_dir=tmp_path / "data")
    store = open_store(place)
    store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/1"))
    store.catalog.create(Experiment(name=EXPERIMENT))
    run = store.catalog.create(Run(name=f"{EXPERIMENT}/runs/r"))
    scalars = store.catalog.create(TimeSeries(name=SCALARS, display_name="s"))
    tensors = store.catalog.create(
        TimeSeries(name=TENSORS, display_name="t", value_type=ValueType.TENSOR)
    )
    steps = np.arange(100)
    payloads = PayloadColumns(steps[:3], steps[:3], [b"a", b"b", b"c"], [1, 1, 1], [0, 0, 0])
    store.points.append([SeriesPoints(tensors.pk, run.pk, payloads)])
    columns = ScalarColumns(steps, steps, np.sqrt(steps))
    store.points.append([SeriesPoints(scalars.pk, run.pk, columns)])
    store.points.fold()
    store.points.append([SeriesPoints(scalars.pk, run.pk, columns)])
    store.catalog.create(Bucket(name="bucket"))
    store.blobs.write(KEY, iter((b"123456789",)))
    store.catalog.create(
        StoredObject(name="bucket/a", generation=1, size=9, crc32c=0xE3069283, blob_key=KEY)
    )
    store.close()
    return place


def _altered(place: Settings, statement: str) -> list[tuple[str, str]]:
    connection = sqlite3.connect(place.data_dir / "tensordeck.db")
    connection.execute(statement)
    connection.commit()
    connection.close()
    return [(damage.where, damage.what) for damage in verify(place).damage]


def test_a_sound_store_is_read_whole(place: Settings) -> None:
    found = verify(place)

    assert found.damage == []
    assert found.points == 203
    assert (found.blobs, found.blob_bytes) == (1, 9)


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        (
            (
                "UPDATE segments SET data = "
                "CAST(substr(data, 1, 20) || x'01' || substr(data, 22) AS BLOB)"
            ),
            SCALARS,
        ),
        ("UPDATE segments SET last_step = 98", SCALARS),
        ("DELETE FROM segments", SCALARS),
        ("DELETE FROM payloads WHERE step = 1", TENSORS),
        ("UPDATE payloads SET step = 7 WHERE step = 1", TENSORS),
        ("UPDATE summaries SET point_count = 99 WHERE point_count = 100", SCALARS),
        (
            (
                "UPDATE journal SET payload = "
                "CAST(substr(payload, 1, 60) || x'ee' || substr(payload, 62) AS BLOB)"
            ),
            f"{EXPERIMENT}/runs/r",
        ),
        ("UPDATE objects SET crc32c = 1", "gs://bucket/a"),
        ("UPDATE objects SET blob_key = 'ab/lost'", "gs://bucket/a"),
        ("UPDATE runs SET parent_pk = 77", "row 1 of runs"),
    ],
)
def test_damage_is_found_and_named(place: Settings, statement: str, where: str) -> None:
    damage = _altered(place, statement)

    assert where in [named for named, _ in damage]


def test_points_without_a_summary_are_found(place: Settings) -> None:
    assert _altered(place, "DELETE FROM summaries") == [
        (SCALARS, "it has points that no summary counts"),
        (TENSORS, "it has points that no summary counts"),
    ]


def test_content_that_was_altered_is_found(place: Settings) -> None:
    (place.data_dir / "blobs" / KEY).write_bytes(b"123456780")

    assert [damage.where for damage in verify(place).damage] == ["gs://bucket/a"]


def test_a_page_of_the_file_that_was_altered_is_found(place: Settings) -> None:
    from tensordeck import errors

    path = place.data_dir / "tensordeck.db"
    content = bytearray(path.read_bytes())
    at = content.index(b"bucket/a")
    page = at - at % 4096
    content[page + 3 : page + 8] = b"\xff" * 5
    path.write_bytes(content)

    try:
        damage = verify(place).damage
    except errors.DataLoss:
        return
    assert damage
