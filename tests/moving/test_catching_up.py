"""A move that was cut off takes up whatever happened to the source since."""

import numpy as np
import pytest
from msgspec.structs import replace

from tensordeck import errors
from tensordeck.moving.migration import migrate
from tensordeck.moving.progress import Step
from tensordeck.settings import Settings
from tensordeck.store import Store, open_store
from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.resources import (
    Artifact,
    Bucket,
    Context,
    Experiment,
    MetadataStore,
    Run,
    StoredObject,
    Tensorboard,
    TimeSeries,
)
from tests.moving.conftest import NewPlace
from tests.moving.inventory import inventory
from tests.store.samples import PLACE, changed

EXPERIMENT = f"{PLACE}/tensorboards/1/experiments/e"
STORE = f"{PLACE}/metadataStores/default"
PLACES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.heavy)]


class CutOffError(Exception):
    """What ends the first run."""


def _cut_off(step: Step) -> None:
    if step.doing == "Comparing":
        raise CutOffError


def _fill(place: Settings) -> None:
    store = open_store(place)
    store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/1", is_default=True))
    store.catalog.create(Experiment(name=EXPERIMENT))
    for letter in "abc":
        run = store.catalog.create(Run(name=f"{EXPERIMENT}/runs/{letter}", display_name=letter))
        series = store.catalog.create(TimeSeries(name=f"{run.name}/timeSeries/1"))
        _write(store, series, range(50), 1.0)
    store.points.fold()
    store.catalog.create(MetadataStore(name=STORE))
    for letter in "ab":
        store.catalog.create(Context(name=f"{STORE}/contexts/{letter}"))
        store.catalog.create(Artifact(name=f"{STORE}/artifacts/{letter}"))
    store.catalog.add_links("member", f"{STORE}/contexts/a", [f"{STORE}/artifacts/a"])
    store.catalog.create(Bucket(name="bucket"))
    for number in range(3):
        _put(store, f"bucket/{number}", b"first")
    store.close()


def _change(place: Settings) -> None:
    """Everything that could trip a copy over its own earlier half."""
    store = open_store(place)
    catalog, points = store.catalog, store.points
    # Two runs swap their names, which are unique at any moment.
    for letter, title in (("a", "x"), ("b", "a"), ("a", "b")):
        catalog.update(Run, f"{EXPERIMENT}/runs/{letter}", changed(display_name=title))
    # A run is made again under the same names.
    catalog.delete(Run, f"{EXPERIMENT}/runs/c")
    run = catalog.create(Run(name=f"{EXPERIMENT}/runs/c", display_name="c"))
    series = catalog.create(TimeSeries(name=f"{run.name}/timeSeries/1"))
    _write(store, series, range(7), 3.0)
    # As many points at the same steps, with other values; and more, that are not folded.
    series = catalog.get(TimeSeries, f"{EXPERIMENT}/runs/a/timeSeries/1")
    _write(store, series, range(50), 2.0)
    points.fold()
    _write(store, catalog.get(TimeSeries, f"{EXPERIMENT}/runs/b/timeSeries/1"), range(60), 4.0)
    catalog.remove_links("member", f"{STORE}/contexts/a", [f"{STORE}/artifacts/a"])
    catalog.add_links("member", f"{STORE}/contexts/b", [f"{STORE}/artifacts/b"])
    catalog.add_links("child", f"{STORE}/contexts/a", [f"{STORE}/contexts/b"])
    catalog.delete(Artifact, f"{STORE}/artifacts/a")
    catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/2", is_default=True))
    _put(store, "bucket/3", b"new")
    catalog.delete(StoredObject, "bucket/0")
    catalog.update(StoredObject, "bucket/1", changed(metadata={"a": "b"}))
    store.blobs.write("cd/" + "9" * 30, iter((b"second",)))
    catalog.update(
        StoredObject,
        "bucket/2",
        lambda found: replace(found, blob_key="cd/" + "9" * 30, size=6, crc32c=_crc32c(b"second")),
    )
    store.close()


def _write(store: Store, series: TimeSeries, steps: range, value: float) -> None:
    array = np.array(steps)
    columns = ScalarColumns(array, array * 10, array + value)
    store.points.append([SeriesPoints(series.pk, series.run_pk, columns)])


def _put(store: Store, name: str, content: bytes) -> None:
    key = f"ab/{name[-1]}".ljust(33, "0")
    store.blobs.write(key, iter((content,)))
    store.catalog.create(
        StoredObject(
            name=name, generation=1, size=len(content), crc32c=_crc32c(content), blob_key=key
        )
    )


def _crc32c(content: bytes) -> int:
    import google_crc32c

    return int(google_crc32c.value(content))


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("to", PLACES)
def test_what_changed_since_a_move_was_cut_off_is_moved_too(
    new_place: NewPlace, kind: str, to: str
) -> None:
    source, target = new_place(kind), new_place(to)
    _fill(source)
    with pytest.raises(CutOffError):
        migrate(source, target, progress=_cut_off)
    _change(source)
    content = inventory(source)

    done = migrate(source, target)

    assert done.resumed
    assert done.blobs == 2  # those of the new object and of the overwritten one
    assert done.losses.told() == ""
    assert inventory(target) == content


@pytest.mark.heavy
def test_a_target_that_was_altered_meanwhile_is_put_right(new_place: NewPlace) -> None:
    import sqlite3

    source, target = new_place("sqlite"), new_place("sqlite")
    _fill(source)
    with pytest.raises(CutOffError):
        migrate(source, target, progress=_cut_off)
    with sqlite3.connect(target.data_dir / "tensordeck.db") as connection:
        connection.execute("DELETE FROM runs WHERE display_name = 'b'")
    connection.close()

    migrate(source, target)

    assert inventory(target) == inventory(source)


def test_a_copy_that_is_not_alike_is_never_opened(new_place: NewPlace) -> None:
    import sqlite3

    source, target = new_place("sqlite"), new_place("sqlite")
    _fill(source)

    with pytest.raises(CutOffError):
        migrate(source, target, progress=_cut_off)
    with sqlite3.connect(target.data_dir / "tensordeck.db") as connection:
        connection.execute("UPDATE segments SET last_step = 48 WHERE series_pk = 1")
    connection.close()

    with pytest.raises(errors.DataLoss, match=r"segments; 1 runs, e\.g\. .*/runs/a\. "):
        migrate(source, target)

    with pytest.raises(errors.FailedPrecondition, match="holds a part of a store"):
        open_store(target)
    store = open_store(source)
    store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/3"))
    store.close()
