"""The store's keys of runs and time series, by name: what a write needs and nothing else.

Writes name their series again in every request. Looking each up in the catalog would cost more
than storing the points, so that the keys are remembered. They are a hint: deletions here tell
`forget`, and those of another process show when the store refuses the points, for they change the
run's revision.
"""

import threading
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from tensordeck.errors import NotFound
from tensordeck.names import shown
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Run, TimeSeries, ValueType

CAPACITY: Final = 200_000
"""Series that are remembered at most: about 40 MB."""


class RunKeys(Struct):
    """The keys of one run.

    Attributes:
        pk: The run's.
        revision: The run's: another one says that these series may be gone.
        series: (pk, value type) by time series id; only of series that were asked for.
    """

    pk: int
    revision: int
    series: dict[str, tuple[int, ValueType]] = field(default_factory=dict)


class SeriesKeys:
    """Remembers keys. Thread-safe; `known` takes no lock.

    Args:
        catalog: Where they are looked up.
        capacity: How many series to remember; the runs that were added first are forgotten first.
    """

    def __init__(self, catalog: Catalog, capacity: int = CAPACITY) -> None:
        self._catalog = catalog
        self._capacity = capacity
        self._runs: dict[str, RunKeys] = {}
        self._count = 0
        self._generation = 0
        self._lock = threading.Lock()

    def known(self, run: str) -> RunKeys | None:
        """What is remembered of a run."""
        return self._runs.get(run)

    def load(self, run: str, series_ids: Iterable[str]) -> RunKeys:
        """Looks up a run and some of its series.

        Raises:
            NotFound: If one does not exist; the message holds its name.
        """
        generation = self._generation
        there = self._catalog.get(Run, run)  # first: a series that goes after this changes it
        prefix = f"{run}/timeSeries/"
        names = {prefix + series_id: series_id for series_id in series_ids}
        found = self._catalog.find_many(TimeSeries, list(names))
        for name in names:
            if name not in found:
                raise NotFound(
                    f"TensorboardTimeSeries {shown(name, 512)} does not exist; "
                    "create it before its points are written."
                )
        keys = RunKeys(
            there.pk,
            there.revision,
            {names[name]: (record.pk, record.value_type) for name, record in found.items()},
        )
        with self._lock:
            # What was read before a deletion must not be remembered after it.
            if generation == self._generation:
                self._remember(run, keys)
        return keys

    def forget(self, name: str) -> None:
        """Forgets a resource and all below it: an instance, experiment, run or time series."""
        run, _, series_id = name.partition("/timeSeries/")
        below = run + "/"
        with self._lock:
            self._generation += 1
            if series_id:
                if keys := self._runs.get(run):
                    self._count -= keys.series.pop(series_id, None) is not None
                return
            for known in [r for r in self._runs if r == run or r.startswith(below)]:
                self._count -= len(self._runs.pop(known).series)

    def _remember(self, run: str, keys: RunKeys) -> None:
        before = self._runs.pop(run, None)
        same = before is not None and (before.pk, before.revision) == (keys.pk, keys.revision)
        series = {**before.series, **keys.series} if before and same else keys.series
        self._count += len(series) - (len(before.series) if before else 0)
        self._runs[run] = RunKeys(keys.pk, keys.revision, series)
        while self._count > self._capacity and len(self._runs) > 1:
            oldest = next(iter(self._runs))
            self._count -= len(self._runs.pop(oldest).series)
