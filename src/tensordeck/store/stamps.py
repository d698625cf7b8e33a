"""Whether an experiment, its runs and time series are as they were: a few numbers for all of them.

Keys are never used again and revisions only grow, so that no mix of additions, changes and
removals can bring the same numbers back.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from tensordeck.store.batches import batches
from tensordeck.store.schema import experiments, runs, time_series

__all__ = ["experiment_stamps"]

_OWN: Final = select(experiments.c.pk, experiments.c.name, experiments.c.revision).where(
    experiments.c.name.in_(bindparam("names", expanding=True))
)
_RUNS: Final = (
    select(runs.c.parent_pk, func.count(), func.max(runs.c.pk), func.sum(runs.c.revision))
    .where(runs.c.parent_pk.in_(bindparam("keys", expanding=True)))
    .group_by(runs.c.parent_pk)
)
_SERIES: Final = (
    select(
        runs.c.parent_pk,
        func.count(),
        func.max(time_series.c.pk),
        func.sum(time_series.c.revision),
    )
    .join(runs, runs.c.pk == time_series.c.parent_pk)
    .where(runs.c.parent_pk.in_(bindparam("keys", expanding=True)))
    .group_by(runs.c.parent_pk)
)


def experiment_stamps(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """Reads the stamps; arguments and result as `Catalog.stamps`."""
    stamps: dict[str, str] = {}
    for group in batches(names):
        own = {row.pk: row for row in connection.execute(_OWN, {"names": group})}
        if not own:
            continue
        keys = {"keys": list(own)}
        below: dict[int, list[str]] = {pk: [] for pk in own}
        for statement in (_RUNS, _SERIES):
            for pk, count, newest, revisions in connection.execute(statement, keys):
                below[pk].append(f"{count}.{newest}.{revisions}")
        for pk, row in own.items():
            stamps[row.name] = "-".join((f"{pk}.{row.revision}", *below[pk]))
    return stamps
