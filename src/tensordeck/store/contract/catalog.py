"""Where resources rest. The rules for all of the store stand in `store.contract`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from msgspec import Struct

from tensordeck.store.logged_runs import LoggedRun, ParameterFilter, ParameterOrder, Scalar
from tensordeck.store.resources import (
    Context,
    Json,
    Resource,
)

if TYPE_CHECKING:
    from tensordeck.filters import Filter

__all__ = ["Catalog", "Link", "Links", "MonthlyViews", "Page", "Tell"]

R = TypeVar("R", bound=Resource)

Tell = Callable[[R | BaseException], None]
"""Takes a result or what is wrong, in some thread; neither waits nor raises."""

MonthlyViews = dict[str, list[tuple[str, int]]]
"""(username, number of views) pairs by month `YYYYMM`."""


class Link(NamedTuple):
    """A link between metadata resources.

    Attributes:
        source: The full name it goes out from.
        target: The full name it goes to.
        note: What is kept with it.
    """

    source: str
    target: str
    note: Json


Links = list[Link]
"""An alias because `Catalog.list` hides the type inside the class."""


class Page(Struct, Generic[R], frozen=True):
    """One page of a list.

    Attributes:
        items: The records.
        next_token: Opaque; empty on the last page.
    """

    items: list[R]
    next_token: str


class Catalog(ABC):
    """Resources: records of `store.resources`, by full name.

    - Names are unique in a kind. `display_name` is unique among the runs of an experiment and
      among the time series of a run.
    - A child needs its parent; deleting a parent deletes all below it, points included, in the
      same transaction.
    - `pk` values are never reused.
    - Making an instance the default clears the flag on the others of its project and region.
    - Deleting a time series changes its run's revision: who remembers keys of a run's series, in
      whatever process, can tell by it that they may not hold any more.
    - Lists page by key, not by offset: a row added or removed between two pages neither repeats
      nor hides another. A token only fits the query that made it.
    - No list costs time in proportion to the points ever logged.
    """

    @abstractmethod
    def create(self, resource: R) -> R:
        """Adds one resource; returns it with `pk` and times filled in.

        Raises:
            NotFound: If the parent does not exist.
            AlreadyExists: If the name is taken, or the display name where that must be unique.
                The message holds `already exists`.
        """

    @abstractmethod
    def create_many(self, resources: Sequence[R]) -> list[R]:
        """Adds several in one transaction: all or none, parents first. Raises as `create`.

        They may be of several kinds; many of one kind in a row are added together.
        """

    @abstractmethod
    def find(self, kind: type[R], name: str) -> R | None:
        """Returns a resource, or None."""

    @abstractmethod
    def get(self, kind: type[R], name: str) -> R:
        """Returns a resource.

        Raises:
            NotFound: If it does not exist; the message holds its kind and name.
        """

    @abstractmethod
    def find_many(self, kind: type[R], names: Sequence[str]) -> dict[str, R]:
        """Returns those of the named resources that exist, by name."""

    @abstractmethod
    def update(self, kind: type[R], name: str, change: Callable[[R], R]) -> R:
        """Reads a resource, applies `change`, and writes the result, in one transaction.

        `change` may raise (nothing is written), and may be called more than once. `revision` and
        `update_time` are set by the store; `pk`, `name`, `create_time` and read-only fields stay.

        Raises:
            NotFound: If it does not exist.
            AlreadyExists: If a new display name is taken.
        """

    @abstractmethod
    def submit_update(
        self, kind: type[R], name: str, change: Callable[[R], R], tell: Tell[R]
    ) -> None:
        """As `update`, without waiting: `tell` gets what that returns or raises."""

    @abstractmethod
    def past_context(self, name: str, revision: int) -> Context | None:
        """Returns a context as it was at an earlier revision.

        Returns:
            None if that was not replaced within the last minutes, or never was.
        """

    @abstractmethod
    def forget_past_contexts(self) -> int:
        """Removes states of contexts that were replaced long ago; returns how many."""

    @abstractmethod
    def list(
        self,
        kind: type[R],
        parent: str,
        *,
        filter: "Filter | None" = None,  # noqa: A002 -- the API's own word
        order_by: str = "",
        page_size: int = 50,
        page_token: str = "",
        name_prefix: str = "",
        start_at: str = "",
    ) -> Page[R]:
        """Lists the children of a resource, in order of creation unless told otherwise.

        Args:
            kind: What to list.
            parent: The parent's full name. For kinds without a parent kind: the
                `projects/P/locations/L` that names start with, or empty for all.
                `tensorboards/-`, `experiments/-` and `runs/-` are wildcards.
            filter: A parsed AIP-160 filter.
            order_by: `field [desc], ...`, snake_case or camelCase.
            page_size: At most this many.
            page_token: From the last page.
            name_prefix: Only names that start with this, below the parent (objects); ordered
                by name when given. Always so for objects, also with an empty prefix. The order
                is that of code points (SQLite BINARY, PostgreSQL COLLATE "C"), and it and the
                prefix are taken literally (no LIKE wildcards, case counts).
            start_at: Only names not before this one, below the parent (objects): a listing with
                a delimiter jumps past a whole folder with it. An index seek, not a scan.

        Raises:
            NotFound: If the parent does not exist.
            InvalidArgument: If the filter or the order names an unknown field, or the token is
                not ours or belongs to another query.
        """

    @abstractmethod
    def count_children(self, kind: type[Resource], parents: Sequence[str]) -> dict[str, int]:
        """Counts the direct children of some kind, by the parent's name; 0 where none."""

    @abstractmethod
    def count_values(
        self, kind: type[Resource], field: str, values: Collection[int]
    ) -> dict[int, int]:
        """Counts a kind's resources by a field that is a number.

        Args:
            kind: The kind, anywhere.
            field: The field; one with an index of its own.
            values: The values to look for.

        Returns:
            How many have each value; a value that none has may be missing.
        """

    @abstractmethod
    def stamps(self, experiments: Sequence[str]) -> dict[str, str]:
        """Tells whether what was read of experiments still holds, without reading it again.

        Returns:
            For each experiment that exists a text that changes whenever the experiment, one of its
            runs or one of their time series is added, changed or removed.
        """

    @abstractmethod
    def logged_stamps(self, experiments: Sequence[str]) -> dict[str, str]:
        """As `stamps`, of what `logged_runs` returns; empty where there is no such context."""

    @abstractmethod
    def logged_runs(self, experiment: str) -> dict[int, LoggedRun]:
        """Returns what the official client logged for the runs of a TensorBoard experiment.

        Returns:
            By the run's pk; runs that no context belongs to are left out.
        """

    @abstractmethod
    def ranked_runs(
        self,
        experiments: Sequence[str],
        *,
        given: Mapping[int, Mapping[str, Scalar]],
        filters: Sequence[ParameterFilter],
        order: Sequence[ParameterOrder],
    ) -> dict[int, tuple[int, ...]]:
        """Chooses and ranks the runs of TensorBoard experiments by their parameters.

        Args:
            experiments: The experiments' full names.
            given: Parameters that the catalog can't read, by run pk and name: those in event
                files. What the official client logged goes before them.
            filters: All of them must hold.
            order: What to rank by.

        Returns:
            The pk of each run that passes, with its rank by each order: 1 for the first, the
            same for equal values.
        """

    @abstractmethod
    def delete(self, kind: type[R], name: str, *, check: Callable[[R], None] | None = None) -> None:
        """Removes a resource and all below it; returns when the deletion is durable.

        The disk space of what was deleted is given back before the return or soon after it.

        Args:
            kind: What it is.
            name: Its full name.
            check: Called with the resource in the same transaction; when it raises, nothing is
                deleted and the caller gets what it raised (preconditions of objects).

        Raises:
            NotFound: If it does not exist.
        """

    @abstractmethod
    def delete_many(self, kind: type[Resource], names: Sequence[str]) -> int:
        """Removes several resources of a kind with all below them, in one transaction.

        Returns:
            How many there were; a name that does not exist is no error.
        """

    @abstractmethod
    def add_links(
        self, kind: str, source: str, targets: Sequence[str], note: Json | None = None
    ) -> None:
        """Adds links between metadata resources; one that exists stays as it is.

        Args:
            kind: `child` (context to child context), `member` (context to artifact or execution),
                `input` (artifact to execution) or `output` (execution to artifact).
            source: The full name it goes out from.
            targets: The full names it goes to. Links die with either end.
            note: What to keep with each of them; nothing when None.

        Raises:
            NotFound: If an end does not exist.
            InvalidArgument: If contexts would form a circle of children.
        """

    @abstractmethod
    def remove_links(self, kind: str, source: str, targets: Sequence[str]) -> None:
        """Removes links; one that is not there is no error."""

    @abstractmethod
    def links(self, kind: str, *, source: str = "", target: str = "") -> Links:
        """Returns the links out of, or into, a resource, oldest targets first."""

    @abstractmethod
    def record_view(self, tensorboard: str, username: str) -> None:
        """Counts one view of a board of this instance, in the present month (UTC)."""

    @abstractmethod
    def views(self, tensorboard: str) -> MonthlyViews:
        """Returns, for each month `YYYYMM`, the users and their numbers of views."""
