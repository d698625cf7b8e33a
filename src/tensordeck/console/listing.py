"""What the pages list: resources with the numbers beside them, fetched per page, never per row."""

import re
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from tensordeck.board.address import path_of
from tensordeck.filters import Any_, Comparison, Filter
from tensordeck.names import ResourceName, board_id
from tensordeck.store.contract import Page, Store
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

PAGE_SIZE: Final = 50


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
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


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance with the number of its experiments."""

    resource: Tensorboard
    name: ResourceName
    experiment_count: int

    @property
    def path(self) -> str:
        """The address of its page."""
        return page_path(self.name)


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """An experiment with the number of its runs."""

    resource: Experiment
    name: ResourceName
    run_count: int

    @property
    def path(self) -> str:
        """The address of its page."""
        return page_path(self.name)

    @property
    def board(self) -> str:
        """The address of its board."""
        return board_path(self.name)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run and what is in it.

    Attributes:
        resource: The run.
        name: Its name, parsed.
        series_count: Number of time series.
        size: Bytes that its points take.
        last_logged: Wall time of its latest point, microseconds since the epoch; 0 for none.
    """

    resource: Run
    name: ResourceName
    series_count: int
    size: int
    last_logged: int

    @property
    def path(self) -> str:
        """The address below which its deletion lies."""
        return page_path(self.name)

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
    page = _newest_first(store, Tensorboard, "", query, token)
    counts = store.catalog.count_children(Experiment, [item.name for item in page.items])
    rows = [
        InstanceRow(item, ResourceName.parse(item.name), counts[item.name]) for item in page.items
    ]
    return Listing(rows, page.next_token, query, first=not token)


def experiments(
    store: Store, parent: str, query: str = "", token: str = ""
) -> Listing[ExperimentRow]:
    """Lists the experiments of an instance, newest first.

    Raises:
        NotFound: If the instance does not exist.
        InvalidArgument: If the token is not ours.
    """
    page = _newest_first(store, Experiment, parent, query, token)
    counts = store.catalog.count_children(Run, [item.name for item in page.items])
    rows = [
        ExperimentRow(item, ResourceName.parse(item.name), counts[item.name]) for item in page.items
    ]
    return Listing(rows, page.next_token, query, first=not token)


def runs(store: Store, parent: str, query: str = "", token: str = "") -> Listing[RunRow]:
    """Lists the runs of an experiment, newest first.

    Raises:
        NotFound: If the experiment does not exist.
        InvalidArgument: If the token is not ours.
    """
    page = _newest_first(store, Run, parent, query, token)
    counts = store.catalog.count_children(TimeSeries, [item.name for item in page.items])
    keys = [item.pk for item in page.items]
    sizes = store.points.size_bytes(keys)
    logged = store.points.last_logged(keys)
    rows = [
        RunRow(
            item,
            ResourceName.parse(item.name),
            counts[item.name],
            sizes[item.pk],
            max(0, logged[item.pk] // 1000),
        )
        for item in page.items
    ]
    return Listing(rows, page.next_token, query, first=not token)


def page_path(name: ResourceName) -> str:
    """The address of a resource's page here."""
    return "/" + quote(str(name), safe="/:@")


def board_path(experiment: ResourceName) -> str:
    """The address of an experiment's board, which the client prints in this form, too."""
    return path_of("experiment", board_id(str(experiment)))


def _newest_first(store: Store, kind: type[R], parent: str, query: str, token: str) -> Page[R]:
    return store.catalog.list(
        kind,
        parent,
        filter=_search(query),
        order_by="create_time desc",
        page_size=PAGE_SIZE,
        page_token=token,
    )


def _search(query: str) -> Filter | None:
    if not query:
        return None
    return Any_(
        (Comparison(("display_name",), ":", (query,)), Comparison(("name",), ":", (query,)))
    )
