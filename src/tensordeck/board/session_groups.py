"""Session groups: the rows that the HParams table shows, with the values of their metrics.

Runs with the same hyperparameters may be one group (Keras' callback makes it so); its metrics are
then those of its sessions together. Most groups are one session.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from msgspec import Struct

from tensordeck.board.sessions import MetricName, Session, Sessions
from tensordeck.store.contract import NO_WALL_TIME, Catalog, Points
from tensordeck.store.logged_runs import ParameterFilter, ParameterOrder, Scalar
from tensordeck.store.resources import TimeSeries

__all__ = [
    "Aggregation",
    "MetricFilter",
    "MetricOrder",
    "MetricValue",
    "SessionGroup",
    "ValuesByRun",
    "aggregated",
    "metric_values",
    "parameter_ranks",
    "session_groups",
]


class Aggregation(IntEnum):
    """How the sessions of a group make its metrics; numbers as in the proto's AggregationType."""

    UNSET = 0
    AVERAGE = 1
    MEDIAN = 2
    MINIMUM = 3
    MAXIMUM = 4


class MetricValue(NamedTuple):
    """A metric's value in a session.

    Attributes:
        value: The value; may be NaN or infinite.
        step: The step that it was measured at.
        wall_s: The time of that, in seconds since the epoch.
    """

    value: float
    step: int = 0
    wall_s: float = 0.0


class MetricFilter(Struct, frozen=True):
    """A condition on one metric.

    Attributes:
        name: The metric.
        values: The values that pass; None for any.
        interval: The smallest and the largest value that pass; None for any.
        missing: Whether a group without the metric passes.
    """

    name: MetricName
    values: tuple[float, ...] | None
    interval: tuple[float, float] | None
    missing: bool

    def passes(self, metrics: Mapping[MetricName, MetricValue]) -> bool:
        """Whether a group with these metrics passes."""
        found = metrics.get(self.name)
        if found is None:
            return self.missing
        if self.interval is not None:
            low, high = self.interval
            return low <= found.value <= high
        return self.values is None or found.value in self.values


class MetricOrder(Struct, frozen=True):
    """An order by one metric.

    Attributes:
        name: The metric.
        descending: Whether the largest comes first.
        missing_first: Whether groups without the metric, or with NaN, come first, not last.
    """

    name: MetricName
    descending: bool
    missing_first: bool

    def key(self, metrics: Mapping[MetricName, MetricValue]) -> tuple[float, float]:
        """Where a group with these metrics stands."""
        found = metrics.get(self.name)
        if found is None or math.isnan(found.value):
            return -1.0 if self.missing_first else 1.0, 0.0
        return 0.0, -found.value if self.descending else found.value


class SessionGroup(Struct, frozen=True):
    """Sessions with the same hyperparameters.

    Attributes:
        name: The group's name; of a group of one, its run's.
        sessions: At least one, by run name.
    """

    name: str
    sessions: tuple[Session, ...]

    @property
    def params(self) -> Mapping[str, Scalar]:
        """The hyperparameters."""
        return self.sessions[0].params


_NOTHING: Final = MetricValue(math.nan)

ValuesByRun = dict[str, dict[MetricName, MetricValue]]
"""Metrics of sessions, by run name."""


def session_groups(table: Sessions, statuses: Collection[int] | None = None) -> list[SessionGroup]:
    """Groups the sessions of a table, by name.

    Args:
        table: The table.
        statuses: Only sessions with one of these, if given.
    """
    groups: dict[str, list[Session]] = {}
    for session in table.rows.values():
        if statuses is None or session.status in statuses:
            groups.setdefault(session.group, []).append(session)
    return [SessionGroup(name, tuple(groups[name])) for name in sorted(groups)]


def parameter_ranks(
    catalog: Catalog,
    experiments: Sequence[str],
    table: Sessions,
    filters: Sequence[ParameterFilter],
    order: Sequence[ParameterOrder],
) -> dict[int, tuple[int, ...]] | None:
    """Lets the catalog choose and rank runs by parameters.

    Returns:
        As `Catalog.ranked_runs`; None where there is nothing to choose or rank by.
    """
    names = {one.name for one in filters} | {one.name for one in order}
    if not names:
        return None
    given = {
        row.run_pk: values
        for row in table.rows.values()
        if (values := {name: row.given[name] for name in names if name in row.given})
    }
    return catalog.ranked_runs(experiments, given=given, filters=filters, order=order)


def metric_values(
    points: Points, sessions: Iterable[Session], names: Sequence[MetricName]
) -> ValuesByRun:
    """Reads metrics of sessions: what was logged as such, else a curve's last value.

    No points are read, only the summaries of the series.

    Args:
        points: Where curves are.
        sessions: The sessions.
        names: The metrics; a session's come in this order.
    """
    values: ValuesByRun = {}
    curves: list[tuple[dict[MetricName, MetricValue], MetricName, TimeSeries]] = []
    for row in sessions:
        own = values[row.run] = {}
        for name in names:
            group, tag = name
            if not group and tag in row.metrics:
                own[name] = MetricValue(row.metrics[tag], 0, row.logged_s)
            elif (by_tag := row.curves.get(group)) and (series := by_tag.get(tag)):
                own[name] = _NOTHING  # keeps its place
                curves.append((own, name, series))
    summaries = points.summaries([(one.run_pk, one.pk) for _, _, one in curves]) if curves else {}
    for own, name, series in curves:
        found = summaries[series.pk]
        if found.count:
            wall_ns = found.max_wall_ns
            wall_s = 0.0 if wall_ns == NO_WALL_TIME else wall_ns / 1e9
            own[name] = MetricValue(found.last, found.max_step, wall_s)
        else:
            del own[name]
    return values


def aggregated(
    group: SessionGroup, values: ValuesByRun, how: Aggregation, by: MetricName
) -> dict[MetricName, MetricValue]:
    """A group's metrics.

    Args:
        group: The group.
        values: Metrics of its sessions.
        how: The average, or the metrics of one session: that with the median, the smallest or the
            largest value of `by`.
        by: A metric.
    """
    each = [values[session.run] for session in group.sessions]
    if len(each) == 1:
        return each[0]
    if how in (Aggregation.UNSET, Aggregation.AVERAGE):
        found: dict[MetricName, list[MetricValue]] = {}
        for one in each:
            for name, value in one.items():
                found.setdefault(name, []).append(value)
        return {name: _average(several) for name, several in found.items()}
    measured = sorted((one for one in each if by in one), key=lambda one: _sortable(one[by].value))
    if not measured:
        return {}
    position: Final = {
        Aggregation.MEDIAN: (len(measured) - 1) // 2,
        Aggregation.MINIMUM: 0,
        Aggregation.MAXIMUM: -1,
    }
    return measured[position[how]]


def _average(values: Sequence[MetricValue]) -> MetricValue:
    return MetricValue(
        sum(one.value for one in values) / len(values),
        sum(one.step for one in values) // len(values),
        sum(one.wall_s for one in values) / len(values),
    )


def _sortable(value: float) -> float:
    """NaN is smaller than everything, so that it is never the best."""
    return -math.inf if math.isnan(value) else value
