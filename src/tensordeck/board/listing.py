"""What there is to show on a board: experiments, runs and time series, without their points.

Listing an experiment costs microseconds a series, and one page load needs the list a dozen times.
It is therefore kept until the catalog's stamp says that something changed.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from tensordeck.board.address import BoardAddress
from tensordeck.errors import NotFound
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Experiment, Run, TimeSeries, ValueType
from tensordeck.store.walk import walk

__all__ = ["Listing", "Listings", "SeriesByTag"]

KEPT_SERIES: Final = 200_000
"""Time series that are kept in lists at most, by all experiments together: about 120 MB."""
_PAGE: Final = 20_000

SeriesByTag = dict[str, dict[str, TimeSeries]]
"""Time series by run name and tag."""


@dataclass(frozen=True, slots=True)
class _ExperimentList:
    """One experiment, as it was when the catalog gave `stamp`."""

    stamp: str
    experiment: Experiment
    runs: tuple[Run, ...]
    plugins: dict[str, SeriesByTag]
    size: int


class Listing:
    """What a board shows. Never changes; run names are those on the screen.

    Attributes:
        experiments: In the address' order.
        runs: By name, in order of creation, an experiment after the other.
        stamp: Changes whenever anything here would.
    """

    def __init__(self, address: BoardAddress, lists: list[_ExperimentList]) -> None:
        self._parts = [(address.prefix(i), part) for i, part in enumerate(lists)]
        self.experiments = [part.experiment for part in lists]
        self.runs: dict[str, Run] = {
            prefix + run_name(run): run for prefix, part in self._parts for run in part.runs
        }
        self.stamp = "/".join((address.text, *(part.stamp for part in lists)))

    @property
    def plugins(self) -> frozenset[str]:
        """The plugins that have series here."""
        return frozenset(name for _, part in self._parts for name in part.plugins)

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


class Listings:
    """Lists boards, and keeps the lists. Thread-safe.

    Args:
        catalog: Where resources are.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: OrderedDict[str, _ExperimentList] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, address: BoardAddress) -> Listing:
        """Lists a board as it is now.

        Raises:
            NotFound: If an experiment does not exist; the message holds its name.
        """
        names = [member.experiment for member in address.members]
        stamps = self._catalog.stamps(names)
        return Listing(address, [self._experiment(name, stamps.get(name)) for name in names])

    def _experiment(self, name: str, stamp: str | None) -> _ExperimentList:
        if stamp is None:
            raise NotFound(f"There is no experiment {name}.")
        with self._lock:
            kept = self._kept.get(name)
            if kept and kept.stamp == stamp:
                self._kept.move_to_end(name)
                return kept
        # Read after the stamp: what changes in between is read now, and again with the next stamp.
        fresh = self._read(name, stamp)
        with self._lock:
            self._kept[name] = fresh
            self._kept.move_to_end(name)
            while len(self._kept) > 1 and sum(p.size for p in self._kept.values()) > KEPT_SERIES:
                self._kept.popitem(last=False)
        return fresh

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
