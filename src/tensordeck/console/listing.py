"""What the pages list: resources with the numbers beside them, fetched per page, never per row."""

import re
from collections.abc import Callable
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from tensordeck.board.address import path_of
from tensordeck.filters import Any_, Comparison, Filter
from tensordeck.names import ResourceName, board_id
from tensordeck.services.paired_contexts import run_states
from tensordeck.store.contract import PointTotals, Store
from tensordeck.store.resources import Experiment, Resource, Run, Tensorboard, TimeSeries

__all__ = [
    "ExperimentRow",
    "InstanceRow",
    "Listing",
    "RunRow",
    "board_path",
    "experiments",
    "instances",
    "page_path",
    "runs",
]

Row = TypeVar("Row")
R = TypeVar("R", bound=Resource)
P = TypeVar("P", Tensorboard, Experiment, Run)

PAGE_SIZE: Final = 50


class Listing(Struct, Generic[Row], frozen=True):
    """One page of a list.

    Attributes:
        rows: What it shows.
        next_token: Leads to the next page; empty on the last.
        query: What the visitor searches for.
        first: Whether this is the first page.
    """

    rows: list[Row]
    next_token: str
    query: str
    first: bool


class ListedRow(Struct, Generic[R], frozen=True):
    """A resource and what is in it.

    Attributes:
        resource: The resource.
        name: Its name, parsed.
        child_count: Number of what is directly below it.
        points: What the points in it come to.
    """

    resource: R
    name: ResourceName
    child_count: int
    points: PointTotals

    @property
    def path(self) -> str:
        """The address of its page, and below that of its deletion."""
        return page_path(self.name)

    @property
    def last_logged(self) -> int:
        """Wall time of the latest point in it, microseconds since the epoch; 0 for none."""
        return max(0, self.points.last_logged // 1000)


class InstanceRow(ListedRow[Tensorboard], frozen=True):
    """An instance with the number of its experiments."""


class ExperimentRow(ListedRow[Experiment], frozen=True):
    """An experiment with the number of its runs."""

    @property
    def board(self) -> str:
        """The address of its board."""
        return board_path(self.name)


class RunRow(ListedRow[Run], frozen=True):
    """A run with the number of its time series.

    Attributes:
        state: What was said of it where it was tracked: RUNNING, COMPLETE, FAILED; empty for a run
            that is nobody's experiment run.
    """

    state: str = ""

    @property
    def board(self) -> str:
        """The address of its experiment's board, with only this run shown."""
        shown = re.escape(self.resource.display_name or self.name.id)
        return f"{board_path(self.name.parent)}?runFilter={quote(f'^{shown}$', safe='')}"


def instances(store: Store, query: str = "", token: str = "") -> Listing[InstanceRow]:
    """Lists the instances of all projects and regions, newest first.

    Raises:
        InvalidArgument: If the token is not ours.
    """
    return _listed(store, Tensorboard, Experiment, InstanceRow, "", query, token)


def experiments(
    store: Store, parent: str, query: str = "", token: str = ""
) -> Listing[ExperimentRow]:
    """Lists the experiments of an instance, newest first.

    Raises:
        NotFound: If the instance does not exist.
        InvalidArgument: If the token is not ours.
    """
    return _listed(store, Experiment, Run, ExperimentRow, parent, query, token)


def runs(store: Store, parent: str, query: str = "", token: str = "") -> Listing[RunRow]:
    """Lists the runs of an experiment, newest first.

    Raises:
        NotFound: If the experiment does not exist.
        InvalidArgument: If the token is not ours.
    """
    found = _listed(store, Run, TimeSeries, RunRow, parent, query, token)
    states = run_states(store.catalog, [row.resource.name for row in found.rows])
    rows = [replace(row, state=states.get(row.resource.name, "")) for row in found.rows]
    return replace(found, rows=rows)


def page_path(name: ResourceName) -> str:
    """The address of a resource's page here."""
    return "/" + quote(str(name), safe="/:@")


def board_path(experiment: ResourceName) -> str:
    """The address of an experiment's board, which the client prints in this form, too."""
    return path_of("experiment", board_id(str(experiment)))


def _listed(
    store: Store,
    kind: type[P],
    children: type[Resource],
    row: Callable[[P, ResourceName, int, PointTotals], Row],
    parent: str,
    query: str,
    token: str,
) -> Listing[Row]:
    page = store.catalog.list(
        kind,
        parent,
        filter=_search(query),
        order_by="create_time desc",
        page_size=PAGE_SIZE,
        page_token=token,
    )
    counts = store.catalog.count_children(children, [item.name for item in page.items])
    totals = store.points.totals(kind, [item.pk for item in page.items])
    rows = [
        row(item, ResourceName.parse(item.name), counts[item.name], totals[item.pk])
        for item in page.items
    ]
    return Listing(rows, page.next_token, query, first=not token)


def _search(query: str) -> Filter | None:
    if not query:
        return None
    return Any_(
        (Comparison(("display_name",), ":", (query,)), Comparison(("name",), ":", (query,)))
    )
