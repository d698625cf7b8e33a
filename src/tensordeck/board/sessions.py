"""The sessions of a board: the rows and columns of TensorBoard's HParams table.

A session is a run with parameters: from summaries of the hparams plugin in event files, from the
official client's `log_params` and `log_metrics`, or both. Its metrics are what `log_metrics` wrote
and the last values of its curves, those of runs below it (`run/validation`) included; a metric that
is a text is shown as a parameter, for the web app's metrics are numbers. Where there are such
sessions, every other run with curves is one too, without parameters, unless it merely holds
sessions, as PyTorch's `add_hparams` makes a run below that with the curves.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from msgspec import Struct

from tensordeck.board.hparams_summaries import (
    PLUGIN,
    EventSession,
    declared_experiment,
    event_session,
    scalars_only,
    texts_of,
)
from tensordeck.board.listing import Listing, SeriesByTag
from tensordeck.board.parameter_values import as_text
from tensordeck.board.scalars import scalar_series
from tensordeck.names import ROOT_RUN
from tensordeck.store.logged_runs import LoggedRun, Scalar
from tensordeck.store.resources import TimeSeries, ValueType

__all__ = [
    "MetricColumn",
    "MetricName",
    "ParameterColumn",
    "ParameterValues",
    "Session",
    "Sessions",
    "sessions_of",
]

MetricName = tuple[str, str]
"""A metric's group, which is the part of a run's name below its session's, and its tag."""

RUN_NAME: Final = "run"
"""The only parameter where runs have metrics but none: the web app shows no table without one."""

SUCCESS: Final = 1
FAILURE: Final = 2
RUNNING: Final = 3
"""Numbers of the proto's `Status`; 0 is unknown."""
_STATUSES: Final = {"COMPLETE": SUCCESS, "FAILED": FAILURE, "RUNNING": RUNNING}


@dataclass(slots=True)
class Session:
    """A row.

    Attributes:
        run: The run's name on the board.
        run_pk: Its key in the store.
        event: What event files say of it.
        logged: What the official client logged for it; None if nothing ever.
        given: Those of its parameters that the catalog can't choose and order runs by itself.
        params: All of its parameters.
        metrics: What `log_metrics` wrote.
        curves: The series of its own run, and of the runs below it by what follows its name.
    """

    run: str
    run_pk: int
    event: EventSession | None = None
    logged: LoggedRun | None = None
    given: Mapping[str, Scalar] = field(init=False)
    params: Mapping[str, Scalar] = field(init=False)
    metrics: Mapping[str, float] = field(init=False, default_factory=dict)
    curves: dict[str, Mapping[str, TimeSeries]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.given = self.event.params if self.event else {}
        self.params = self.given
        if self.logged:
            self.given = {**self.given, **texts_of(self.logged)}
            self.params = {**self.given, **scalars_only(self.logged.params)}
            self.metrics = {
                name: float(value)
                for name, value in self.logged.metrics.items()
                if isinstance(value, int | float)
            }

    @property
    def group(self) -> str:
        """The name of its session group."""
        return (self.event.group if self.event else "") or self.run

    @property
    def status(self) -> int:
        """The proto's `Status` number."""
        if self.event and self.event.status:
            return self.event.status
        return _STATUSES.get(self.logged.state, 0) if self.logged else 0

    @property
    def logged_s(self) -> float:
        """Seconds since the epoch at which the official client logged last; 0 if it never did."""
        return self.logged.update_time / 1e6 if self.logged else 0.0

    @property
    def end_s(self) -> float:
        """Seconds since the epoch at which it ended; 0 if nobody said."""
        if self.event and self.event.end_s:
            return self.event.end_s
        return self.logged_s if self.status in (SUCCESS, FAILURE) else 0.0

    @property
    def model_uri(self) -> str:
        """Where its model is; empty if nobody said."""
        return self.event.model_uri if self.event else ""

    @property
    def monitor_url(self) -> str:
        """Where it can be watched; empty if nobody said."""
        return self.event.monitor_url if self.event else ""

    @property
    def start_s(self) -> float:
        """Seconds since the epoch at which it began; 0 if nobody said."""
        if self.event and self.event.start_s:
            return self.event.start_s
        return self.logged.create_time / 1e6 if self.logged else 0.0


@dataclass(slots=True)
class ParameterValues:
    """All values of a parameter, each once; apart by type, as True equals 1."""

    numbers: set[float] = field(default_factory=set)
    flags: set[bool] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Scalar]:
        return chain(self.numbers, self.flags, self.texts)

    def of(self, kind: type) -> set[Any]:
        """The values of a type."""
        return self.texts if kind is str else self.flags if kind is bool else self.numbers


class ParameterColumn(Struct, frozen=True):
    """A parameter of some sessions.

    Attributes:
        name: What it is called.
        kind: `float`, `bool` or `str`; of mixed values `str`.
        domain: The smallest and the largest number, or all values; of mixed values as texts.
        differs: Whether it has more than one value.
        title: What its owner wants it to be called.
        description: What it means.
    """

    name: str
    kind: type
    domain: tuple[Scalar, ...]
    differs: bool
    title: str = ""
    description: str = ""


class MetricColumn(Struct, frozen=True):
    """A metric of some sessions.

    Attributes:
        name: Group and tag.
        title: What its owner wants it to be called.
        description: What it means.
        dataset: The proto's `DatasetType` number.
    """

    name: MetricName
    title: str = ""
    description: str = ""
    dataset: int = 0


class Sessions(Struct, frozen=True):
    """The table; never changes.

    Attributes:
        rows: By run name.
        parameters: Those that differ first, then by name.
        metrics: Declared ones first, then by tag and group.
        values: The values of each parameter.
    """

    rows: dict[str, Session]
    parameters: tuple[ParameterColumn, ...]
    metrics: tuple[MetricColumn, ...]
    values: dict[str, ParameterValues]


def sessions_of(listing: Listing) -> Sessions:
    """Reads a board's sessions; empty where nobody gave parameters or summary metrics."""
    summaries = listing.series(PLUGIN, (ValueType.TENSOR,))
    rows: dict[str, Session] = {}
    for name, run in listing.runs.items():
        event = event_session(summaries.get(name, {}))
        logged = listing.logged.get(name)
        if event or logged:
            rows[name] = Session(name, run.pk, event, logged)
    if not any(row.params or row.metrics for row in rows.values()):
        return Sessions({}, (), (), {})
    _add_curves(listing, rows)
    if not any(row.params for row in rows.values()):
        for row in rows.values():
            row.given = row.params = {RUN_NAME: row.run}
    values = _values(rows.values())
    declared = [found for s in summaries.values() if (found := declared_experiment(s))]
    return Sessions(
        dict(sorted(rows.items())), _parameters(values, declared), _metrics(rows, declared), values
    )


def _add_curves(listing: Listing, rows: dict[str, Session]) -> None:
    """Gives each curve to its session, and runs that belong to none a row of their own."""
    curves: SeriesByTag = scalar_series(listing)
    sessions = dict(rows)
    above = {""}
    for name in rows:
        while name:
            name = name.rpartition("/")[0]  # noqa: PLW2901 -- from a run up to the first folder
            above.add(name)
    for name, by_tag in curves.items():
        session = _nearest(sessions, name)
        if session is None:
            if _folder(name) in above:
                continue
            session = rows[name] = Session(name, listing.runs[name].pk)
        session.curves[name[len(session.run) + 1 :]] = by_tag


def _nearest(rows: Mapping[str, Session], name: str) -> Session | None:
    """The session that a run is or lies below."""
    while name not in rows:
        name = name.rpartition("/")[0]
        if not name:
            return None
    return rows[name]


def _folder(run: str) -> str:
    """The folder of a run's event files; the log directory's own has no name to go by."""
    head, _, tail = run.rpartition("/")
    return head if tail in (".", ROOT_RUN) else run


def _values(rows: Iterable[Session]) -> dict[str, ParameterValues]:
    values: dict[str, ParameterValues] = {}
    for row in rows:
        for name, value in row.params.items():
            found = values.get(name)
            if found is None:
                found = values[name] = ParameterValues()
            found.of(value.__class__).add(value)
    return values


def _parameters(
    values: Mapping[str, ParameterValues], declared: Iterable[Any]
) -> tuple[ParameterColumn, ...]:
    titles: dict[str, Any] = {}
    for experiment in declared:
        for info in experiment.hparam_infos:
            titles.setdefault(info.name, info)
    columns = []
    for name, found in values.items():
        info = titles.get(name)
        columns.append(
            ParameterColumn(
                name,
                *_domain(found),
                info.display_name if info else "",
                info.description if info else "",
            )
        )
    return tuple(sorted(columns, key=lambda column: (not column.differs, column.name)))


def _domain(values: ParameterValues) -> tuple[type, tuple[Scalar, ...], bool]:
    numbers, flags, texts = values.numbers, values.flags, values.texts
    if not flags and not texts:
        return float, (min(numbers), max(numbers)), len(numbers) > 1
    if not numbers and not texts:
        return bool, tuple(sorted(flags)), len(flags) > 1
    found = {as_text(value) for value in values}
    return str, tuple(sorted(found)), len(numbers) + len(flags) + len(texts) > 1


def _metrics(rows: Mapping[str, Session], declared: Iterable[Any]) -> tuple[MetricColumn, ...]:
    columns: dict[MetricName, MetricColumn] = {}
    for experiment in declared:
        for info in experiment.metric_infos:
            name = (info.name.group, info.name.tag)
            columns.setdefault(
                name, MetricColumn(name, info.display_name, info.description, info.dataset_type)
            )
    tags: dict[str, set[str]] = {"": set()}
    for row in rows.values():
        tags[""] |= row.metrics.keys()
        # Who declares metrics in event files means these, of all that is written there.
        if not (columns and row.event):
            for group, by_tag in row.curves.items():
                tags.setdefault(group, set()).update(by_tag)
    found = {(group, tag) for group, several in tags.items() for tag in several}
    further = sorted(found - columns.keys(), key=lambda name: (name[1], name[0]))
    return (*columns.values(), *(MetricColumn(name) for name in further))
