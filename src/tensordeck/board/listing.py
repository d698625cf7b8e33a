"""What there is to show on a board: experiments, runs and time series, without their points.

Listing an experiment costs microseconds a series, and one page load needs the list a dozen times.
It is therefore kept until the catalog's stamp says that something changed. What the official client
logged for runs has a stamp of its own: it changes often, and the many series do not change with it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Final, Generic, TypeVar

from msgspec import Struct

from tensordeck.board.address import BoardAddress
from tensordeck.errors import NotFound
from tensordeck.store.contract import Catalog
from tensordeck.store.logged_runs import LoggedRun
from tensordeck.store.resources import Experiment, Run, TimeSeries, ValueType
from tensordeck.store.walk import walk

__all__ = ["Listing", "Listings", "SeriesByTag"]

KEPT_SERIES: Final = 200_000
"""Time series that are kept in lists at most, by all experiments together: about 120 MB."""
KEPT_LOGGED: Final = 10_000
"""Runs whose logged values are kept at most: at 50 values a run about 60 MB."""
_PAGE: Final = 20_000

T = TypeVar("T")

SeriesByTag = dict[str, dict[str, TimeSeries]]
"""Time series by run name and tag."""


class _ExperimentList(Struct, frozen=True):
    """One experiment, as it was when the catalog gave `stamp`."""

    stamp: str
    experiment: Experiment
    runs: tuple[Run, ...]
    plugins: dict[str, SeriesByTag]
    size: int


LoggedReader = Callable[[str], dict[int, LoggedRun]]


class Listing:
    """What a board shows. Never changes; run names are those on the screen.

    Attributes:
        experiments: In the address' order.
        runs: By name, in order of creation, an experiment after the other.
        stamp: Changes whenever anything here would.
    """

    def __init__(
        self,
        address: BoardAddress,
        lists: Sequence[_ExperimentList],
        logged_stamps: Sequence[str],
        read_logged: LoggedReader,
    ) -> None:
        self._parts = [(address.prefix(i), part) for i, part in enumerate(lists)]
        self._read_logged = read_logged
        self.experiments = [part.experiment for part in lists]
        self.runs: dict[str, Run] = {
            prefix + run_name(run): run for prefix, part in self._parts for run in part.runs
        }
        self.stamp = "/".join((address.text, *(part.stamp for part in lists), *logged_stamps))

    @property
    def plugins(self) -> frozenset[str]:
        """The plugins that have series here."""
        return frozenset(name for _, part in self._parts for name in part.plugins)

    @cached_property
    def logged(self) -> dict[str, LoggedRun]:
        """What the official client logged, by run name; read when it is first asked for."""
        names = {run.pk: name for name, run in self.runs.items()}
        return {
            names[pk]: logged
            for experiment in self.experiments
            for pk, logged in self._read_logged(experiment.name).items()
            if pk in names
        }

    def series(
        self,
        plugin: str,
        types: Collection[ValueType],
        runs: Collection[str] | None = None,
        tags: Collection[str] | None = None,
    ) -> SeriesByTag:
        """Finds series.

        Args:
            plugin: Their plugin's name.
            types: Their value types.
            runs: Only of these runs, if given.
            tags: Only with these tags, if given.

        Returns:
            By run and tag; runs without any are left out.
        """
        found: SeriesByTag = {}
        for name, by_tag in self._of(plugin, runs):
            chosen = (
                by_tag.items() if tags is None else ((t, by_tag[t]) for t in tags if t in by_tag)
            )
            matching = {tag: series for tag, series in chosen if series.value_type in types}
            if matching:
                found[name] = matching
        return found

    def _of(
        self, plugin: str, runs: Collection[str] | None
    ) -> Iterator[tuple[str, dict[str, TimeSeries]]]:
        for prefix, part in self._parts:
            for name, by_tag in part.plugins.get(plugin, {}).items():
                if runs is None or prefix + name in runs:
                    yield prefix + name, by_tag


class _Kept(Generic[T]):
    """What was read of experiments, while its stamp holds. Thread-safe.

    Args:
        capacity: The size of all that is kept together.
        size: Of one experiment.
    """

    def __init__(self, capacity: int, size: Callable[[T], int]) -> None:
        self._capacity = capacity
        self._size = size
        self._kept: OrderedDict[str, tuple[str, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, stamp: str, read: Callable[[], T]) -> T:
        """Returns what is kept, or reads and keeps it.

        What changes after the stamp was given is read now, and again with the next stamp.
        """
        with self._lock:
            kept = self._kept.get(name)
            if kept and kept[0] == stamp:
                self._kept.move_to_end(name)
                return kept[1]
        fresh = read()
        with self._lock:
            self._kept[name] = (stamp, fresh)
            self._kept.move_to_end(name)
            while (
                len(self._kept) > 1
                and sum(self._size(one) for _, one in self._kept.values()) > self._capacity
            ):
                self._kept.popitem(last=False)
        return fresh


class Listings:
    """Lists boards, and keeps the lists. Thread-safe.

    Args:
        catalog: Where resources are.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lists: _Kept[_ExperimentList] = _Kept(KEPT_SERIES, lambda part: 1 + part.size)
        self._logged: _Kept[dict[int, LoggedRun]] = _Kept(KEPT_LOGGED, lambda runs: 1 + len(runs))

    def of(self, address: BoardAddress) -> Listing:
        """Lists a board as it is now.

        Raises:
            NotFound: If an experiment does not exist; the message holds its name.
        """
        names = [member.experiment for member in address.members]
        stamps = self._catalog.stamps(names)
        logged_stamps = self._catalog.logged_stamps(names)

        def read_logged(name: str) -> dict[int, LoggedRun]:
            if not logged_stamps[name]:
                return {}
            return self._logged.get(
                name, logged_stamps[name], lambda: self._catalog.logged_runs(name)
            )

        lists = [self._experiment(name, stamps.get(name)) for name in names]
        return Listing(address, lists, list(logged_stamps.values()), read_logged)

    def _experiment(self, name: str, stamp: str | None) -> _ExperimentList:
        if stamp is None:
            raise NotFound(f"There is no experiment {name}.")
        return self._lists.get(name, stamp, lambda: self._read(name, stamp))

    def _read(self, name: str, stamp: str) -> _ExperimentList:
        experiment = self._catalog.get(Experiment, name)
        runs = tuple(walk(self._catalog, Run, name, _PAGE))
        names = {run.pk: run_name(run) for run in runs}
        plugins: dict[str, SeriesByTag] = {}
        size = 0
        for series in walk(self._catalog, TimeSeries, f"{name}/runs/-", _PAGE):
            # A run that was made after the list of runs has its turn with the next stamp.
            if run := names.get(series.run_pk):
                tags = plugins.setdefault(_plugin_of(series), {}).setdefault(run, {})
                tags[series.display_name or series.name.rpartition("/")[2]] = series
                size += 1
        return _ExperimentList(stamp, experiment, runs, plugins, size + len(runs))


def run_name(run: Run) -> str:
    """A run's name on a board: what its owner called it, for the uploader mangles ids."""
    return run.display_name or run.name.rpartition("/")[2]


def _plugin_of(series: TimeSeries) -> str:
    # Made by hand, a scalar series often has no plugin; it is meant for the scalars' tabs.
    if not series.plugin_name and series.value_type is ValueType.SCALAR:
        return "scalars"
    return series.plugin_name
