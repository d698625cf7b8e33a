"""What the points of a run, an experiment or an instance come to, without reading a point.

Sums run over the series' summaries, found by their runs: a large instance costs a look-up a run
and some 0.4 µs a series. What is not folded yet counts with the bytes of its journal.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from tensordeck.store.contract import NO_WALL_TIME, PointTotals
from tensordeck.store.keyed_queries import select
from tensordeck.store.resources import Experiment, Resource, Run, Tensorboard

__all__ = ["totals"]

_RUNS_OF: Final[dict[type[Resource], tuple[str, str]]] = {
    Run: ("runs r", "r.pk"),
    Experiment: ("runs r", "r.parent_pk"),
    Tensorboard: ("experiments e JOIN runs r ON r.parent_pk = e.pk", "e.parent_pk"),
}
"""Where a kind's runs are, and the column that holds the kind's own key."""


def totals(
    connection: Connection, kind: type[Resource], pks: Sequence[int]
) -> dict[int, PointTotals]:
    """Adds up the points of runs, experiments or instances, by their keys; see `Points.totals`."""
    runs, pk = _RUNS_OF[kind]
    size = dict.fromkeys(pks, 0)
    last = dict.fromkeys(pks, NO_WALL_TIME)
    folded = (
        f"SELECT {pk}, sum(s.byte_count), max(s.max_wall_ns) FROM {runs} "  # noqa: S608
        f"JOIN summaries s ON s.run_pk = r.pk WHERE {pk} IN (%s) GROUP BY {pk}"
    )
    fresh = (
        f"SELECT {pk}, sum(length(j.payload)) FROM {runs} "  # noqa: S608
        f"JOIN journal j ON j.run_pk = r.pk WHERE {pk} IN (%s) GROUP BY {pk}"
    )
    for one, bytes_, wall_ns in select(connection, folded, size):
        size[one], last[one] = int(bytes_), wall_ns
    for one, bytes_ in select(connection, fresh, size):
        size[one] += int(bytes_)
    return {one: PointTotals(size[one], last[one]) for one in size}
