"""A store that is written while it is moved, and what was acknowledged."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import google_crc32c
import numpy as np

from tensordeck import errors
from tensordeck.settings import Settings
from tensordeck.store import Store, open_store
from tensordeck.store.blobs import new_key
from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.resources import (
    Bucket,
    Experiment,
    Run,
    StoredObject,
    Tensorboard,
    TimeSeries,
)
from tests.store.samples import PLACE

EXPERIMENT = f"{PLACE}/tensorboards/1/experiments/e"
POINTS = 5
RUNS = 3
DEADLINE_SECONDS = 60


@dataclass
class Writing:
    """Writers at work.

    Attributes:
        store: The store that they write to.
        acknowledged: So many points of each run are.
        objects: The content of each acknowledged object by its name.
        faults: What writers did not expect.
        threads: The writers.
    """

    store: Store
    acknowledged: dict[str, int] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    threads: list[threading.Thread] = field(default_factory=list)

    def snapshot(self) -> tuple[dict[str, int], dict[str, bytes]]:
        """What is acknowledged now."""
        with self._changed:
            return dict(self.acknowledged), dict(self.objects)

    def wait_for_a_beginning(self) -> None:
        """Waits until every run has points and there are objects."""
        with self._changed:
            begun = self._changed.wait_for(
                lambda: len(self.acknowledged) == RUNS and len(self.objects) > 1, DEADLINE_SECONDS
            )
        assert begun, self.faults

    def stop(self) -> None:
        self._stop.set()
        for thread in self.threads:
            thread.join()

    def write_run(self, number: int) -> None:
        """Writes a run's steps in their order, until it is told to stop or refused."""
        store = self.store
        try:
            run = store.catalog.create(
                Run(name=f"{EXPERIMENT}/runs/{number}", display_name=f"r{number}")
            )
            series = store.catalog.create(
                TimeSeries(name=f"{run.name}/timeSeries/1", display_name="loss")
            )
            step = 0
            while not self._stop.is_set():
                steps = np.arange(step, step + POINTS)
                columns = ScalarColumns(steps, steps * 1000, steps + number / 10)
                store.points.append([SeriesPoints(series.pk, run.pk, columns)])
                step += POINTS
                with self._changed:
                    self.acknowledged[run.name] = step
                    self._changed.notify_all()
        except errors.Unavailable:  # the store was moved
            return
        except BaseException as error:  # noqa: BLE001 -- the test looks at it
            self.faults.append(error)

    def write_objects(self) -> None:
        """Makes and deletes objects, as a service does: bytes before rows, rows gone before bytes.

        The first one stays.
        """
        number = 0
        try:
            while not self._stop.is_set():
                content = b"%d" % number * 500
                key, name = new_key(), f"bucket/{number}"
                self.store.blobs.write(key, iter((content,)))
                self.store.catalog.create(
                    StoredObject(
                        name=name,
                        generation=1,
                        size=len(content),
                        crc32c=google_crc32c.value(content),
                        blob_key=key,
                    )
                )
                with self._changed:
                    self.objects[name] = content
                    self._changed.notify_all()
                number += 1
                old = f"bucket/{number - 3}"
                if number > 3 and (found := self.store.catalog.find(StoredObject, old)):
                    with self._changed:
                        del self.objects[old]
                    self.store.catalog.delete(StoredObject, old)
                    self.store.blobs.delete([found.blob_key])
        except errors.Unavailable:
            return
        except BaseException as error:  # noqa: BLE001 -- the test looks at it
            self.faults.append(error)


@contextlib.contextmanager
def written(place: Settings) -> Iterator[Writing]:
    """Writes to a store while the block runs."""
    store = open_store(place)
    store.catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/1"))
    store.catalog.create(Experiment(name=EXPERIMENT))
    store.catalog.create(Bucket(name="bucket"))
    writing = Writing(store)
    writing.threads = [
        *(threading.Thread(target=writing.write_run, args=(number,)) for number in range(RUNS)),
        threading.Thread(target=writing.write_objects),
    ]
    for thread in writing.threads:
        thread.start()
    try:
        yield writing
    finally:
        writing.stop()
        store.close()


def runs_of(place: Settings) -> dict[str, list[float]]:
    """The values of each run in a store, which must be a beginning of what its writer wrote."""
    store = open_store(place)
    result: dict[str, list[float]] = {}
    try:
        for number in range(RUNS):
            series = store.catalog.find(TimeSeries, f"{EXPERIMENT}/runs/{number}/timeSeries/1")
            if series is not None:
                columns = store.points.read_scalars([(series.run_pk, series.pk)])[series.pk]
                steps = np.arange(len(columns.steps))
                assert (columns.steps == steps).all(), "not the beginning of what was written"
                assert (columns.values == steps + number / 10).all()
                result[f"{EXPERIMENT}/runs/{number}"] = columns.values.tolist()
    finally:
        store.close()
    return result


def objects_of(place: Settings) -> dict[str, bytes]:
    """The content of each object in a store."""
    from tensordeck.store.walk import walk

    store = open_store(place)
    try:
        return {
            found.name: b"".join(store.blobs.read(found.blob_key))
            for found in walk(store.catalog, StoredObject, "bucket")
        }
    finally:
        store.close()
