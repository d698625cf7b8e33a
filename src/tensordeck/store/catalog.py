"""The catalog in a relational database."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Final, TypeVar

from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, delete, func, select, update

from tensordeck import errors
from tensordeck.filters import Filter
from tensordeck.names import shown
from tensordeck.store.batches import batches
from tensordeck.store.board_views import count_view, monthly_views
from tensordeck.store.catalog_lists import list_page
from tensordeck.store.contract import Catalog, Links, MonthlyViews, Page, Tell
from tensordeck.store.creation import (
    UNIQUE_TITLES,
    add_resources,
    clear_other_defaults,
    microseconds,
    require_free_titles,
)
from tensordeck.store.database import Database
from tensordeck.store.links import add_links, find_links, remove_links
from tensordeck.store.logged_runs import LoggedRun, ParameterFilter, ParameterOrder, Scalar
from tensordeck.store.logged_runs_sql import logged_runs, logged_stamps, ranked_runs
from tensordeck.store.past_contexts import forget_past, keep_past, past_of
from tensordeck.store.resources import Context, Json, Resource, Tensorboard, TimeSeries
from tensordeck.store.rows import KINDS, READ_ONLY, Rows, rows_of
from tensordeck.store.schema import runs, time_series
from tensordeck.store.stamps import experiment_stamps

__all__ = ["SqlCatalog"]

R = TypeVar("R", bound=Resource)
T = TypeVar("T")


_CHANGE_RUNS: Final = (
    update(runs)
    .where(
        runs.c.pk.in_(
            select(time_series.c.parent_pk).where(
                time_series.c.name.in_(bindparam("names", expanding=True))
            )
        )
    )
    .values(revision=runs.c.revision + 1)
)
"""Says of the runs of some series that keys of their series may not hold any more."""


class SqlCatalog(Catalog):
    """Resources in the tables of `store.schema`.

    Args:
        database: The opened database; whoever opened it closes it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, resource: R) -> R:
        """See `Catalog.create`."""
        return self.create_many([resource])[0]

    def create_many(self, resources: Sequence[R]) -> list[R]:
        """See `Catalog.create_many`."""
        if not resources:
            return []

        def work(connection: Connection) -> list[R]:
            return [
                created
                for kind, group in groupby(resources, type)
                for created in add_resources(connection, rows_of(kind), list(group))
            ]

        return self._write(work)

    def find(self, kind: type[R], name: str) -> R | None:
        """See `Catalog.find`."""
        with self._read() as connection:
            return rows_of(kind).find(connection, name)

    def get(self, kind: type[R], name: str) -> R:
        """See `Catalog.get`."""
        with self._read() as connection:
            return _get(connection, rows_of(kind), name)

    def find_many(self, kind: type[R], names: Sequence[str]) -> dict[str, R]:
        """See `Catalog.find_many`."""
        rows = rows_of(kind)
        found: dict[str, R] = {}
        with self._read() as connection:
            for group in batches(names):
                selected = connection.execute(rows.by_names, {"names": group}).all()
                found.update((r.name, r) for r in rows.records(selected))
        return found

    def update(self, kind: type[R], name: str, change: Callable[[R], R]) -> R:
        """See `Catalog.update`."""
        rows = rows_of(kind)
        return self._write(lambda connection: _update(connection, rows, name, change))

    def submit_update(
        self, kind: type[R], name: str, change: Callable[[R], R], tell: Tell[R]
    ) -> None:
        """See `Catalog.submit_update`."""
        rows = rows_of(kind)

        def told(done: "Future[R]") -> None:
            try:
                with _valid_values():
                    outcome: R | BaseException = done.result()
            except BaseException as error:  # noqa: BLE001 -- told, whatever it is
                outcome = error
            tell(outcome)

        work = self._database.submit(lambda connection: _update(connection, rows, name, change))
        work.add_done_callback(told)

    def past_context(self, name: str, revision: int) -> Context | None:
        """See `Catalog.past_context`."""
        with self._read() as connection:
            return past_of(connection, name, revision)

    def forget_past_contexts(self) -> int:
        """See `Catalog.forget_past_contexts`."""
        return self._write(lambda connection: forget_past(connection, microseconds()))

    def count_children(self, kind: type[Resource], parents: Sequence[str]) -> dict[str, int]:
        """See `Catalog.count_children`."""
        if not kind.parent_kind:
            raise errors.InvalidArgument(f"{kind.kind} are below nothing.")
        table, above = rows_of(kind).table, rows_of(KINDS[kind.parent_kind]).table
        statement = (
            select(above.c.name, func.count(table.c.pk))
            .join(above, above.c.pk == table.c.parent_pk)
            .where(above.c.name.in_(bindparam("names", expanding=True)))
            .group_by(above.c.pk, above.c.name)
        )
        counts = dict.fromkeys(parents, 0)
        with self._read() as connection:
            for group in batches(parents):
                counts.update(
                    (row[0], row[1]) for row in connection.execute(statement, {"names": group})
                )
        return counts

    def count_values(
        self, kind: type[Resource], field: str, values: Collection[int]
    ) -> dict[int, int]:
        """See `Catalog.count_values`."""
        table = rows_of(kind).table
        column = table.c[field]
        statement = (
            select(column, func.count(table.c.pk))
            .where(column.in_([int(value) for value in values]))
            .group_by(column)
        )
        with self._read() as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}

    def stamps(self, experiments: Sequence[str]) -> dict[str, str]:
        """See `Catalog.stamps`."""
        with self._read() as connection:
            return experiment_stamps(connection, experiments)

    def logged_stamps(self, experiments: Sequence[str]) -> dict[str, str]:
        """See `Catalog.logged_stamps`."""
        with self._read() as connection:
            return logged_stamps(connection, experiments)

    def logged_runs(self, experiment: str) -> dict[int, LoggedRun]:
        """See `Catalog.logged_runs`."""
        with self._read() as connection:
            return logged_runs(connection, experiment)

    def ranked_runs(
        self,
        experiments: Sequence[str],
        *,
        given: Mapping[int, Mapping[str, Scalar]],
        filters: Sequence[ParameterFilter],
        order: Sequence[ParameterOrder],
    ) -> dict[int, tuple[int, ...]]:
        """See `Catalog.ranked_runs`."""
        with self._read() as connection:
            return ranked_runs(connection, experiments, given, filters, order)

    def delete(self, kind: type[R], name: str, *, check: Callable[[R], None] | None = None) -> None:
        """See `Catalog.delete`."""
        rows = rows_of(kind)

        def work(connection: Connection) -> None:
            if check is not None:
                check(_get(connection, rows, name))
            if kind is TimeSeries:
                connection.execute(_CHANGE_RUNS, {"names": [name]})
            statement = delete(rows.table).where(rows.table.c.name == name)
            if not connection.execute(statement).rowcount:
                raise _not_found(kind, name)

        self._write(work)
        self._database.give_back_space()

    def delete_many(self, kind: type[Resource], names: Sequence[str]) -> int:
        """See `Catalog.delete_many`."""
        if not names:
            return 0
        table = rows_of(kind).table

        def work(connection: Connection) -> int:
            if kind is TimeSeries:
                for group in batches(names):
                    connection.execute(_CHANGE_RUNS, {"names": group})
            return sum(
                connection.execute(delete(table).where(table.c.name.in_(group))).rowcount
                for group in batches(names)
            )

        removed = self._write(work)
        self._database.give_back_space()
        return removed

    def add_links(
        self, kind: str, source: str, targets: Sequence[str], note: Json | None = None
    ) -> None:
        """See `Catalog.add_links`."""
        self._write(lambda connection: add_links(connection, kind, source, targets, note or {}))

    def remove_links(self, kind: str, source: str, targets: Sequence[str]) -> None:
        """See `Catalog.remove_links`."""
        self._write(lambda connection: remove_links(connection, kind, source, targets))

    def links(self, kind: str, *, source: str = "", target: str = "") -> Links:
        """See `Catalog.links`."""
        with self._read() as connection:
            return find_links(connection, kind, source, target)

    def record_view(self, tensorboard: str, username: str) -> None:
        """See `Catalog.record_view`."""
        self._write(lambda connection: count_view(connection, tensorboard, username))

    def views(self, tensorboard: str) -> MonthlyViews:
        """See `Catalog.views`."""
        with self._read() as connection:
            return monthly_views(connection, tensorboard)

    def list(
        self,
        kind: type[R],
        parent: str,
        *,
        filter: Filter | None = None,  # noqa: A002 -- the API's own word
        order_by: str = "",
        page_size: int = 50,
        page_token: str = "",
        name_prefix: str = "",
        start_at: str = "",
    ) -> Page[R]:
        """See `Catalog.list`."""
        with self._read() as connection:
            return list_page(
                connection,
                rows_of(kind),
                parent,
                tree=filter,
                order_by=order_by,
                page_size=page_size,
                page_token=page_token,
                name_prefix=name_prefix,
                start_at=start_at,
            )

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with _valid_values(), self._database.read() as connection:
            yield connection

    def _write(self, work: Callable[[Connection], T]) -> T:
        with _valid_values():
            return self._database.write(work)


@contextmanager
def _valid_values() -> Iterator[None]:
    """Refuses what no database takes: half of a surrogate pair, an integer beyond 64 bits."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise errors.InvalidArgument(
            f"A text of this request is no valid Unicode (character {error.start + 1})."
        ) from error
    except OverflowError as error:
        raise errors.InvalidArgument("A number of this request does not fit 64 bits.") from error


def _get(connection: Connection, rows: Rows[R], name: str) -> R:
    found = rows.find(connection, name)
    if found is None:
        raise _not_found(rows.kind, name)
    return found


def _update(connection: Connection, rows: Rows[R], name: str, change: Callable[[R], R]) -> R:
    old = _get(connection, rows, name)
    now = max(microseconds(), old.update_time)
    changed: Any = change(old)
    kept: dict[str, Any] = {field: getattr(old, field) for field in READ_ONLY & _fields(rows)}
    new: Any = replace(
        changed,
        name=old.name,
        pk=old.pk,
        revision=old.revision + 1,
        create_time=old.create_time,
        update_time=now,
        **kept,
    )
    if rows.kind in UNIQUE_TITLES and new.display_name != old.display_name:  # type: ignore[attr-defined]  # both kinds have it
        parent_pk = select(rows.table.c.parent_pk).where(rows.table.c.pk == old.pk)
        key = connection.execute(parent_pk).scalar_one()
        require_free_titles(connection, rows, [(key, new.display_name)])
    if isinstance(old, Context):
        keep_past(connection, old, now)
    rows.change(connection, old, new)
    if isinstance(new, Tensorboard) and new.is_default:
        clear_other_defaults(connection, name)
    result: R = new
    return result


def _fields(rows: Rows[Any]) -> set[str]:
    return set(rows.kind.__struct_fields__)


def _not_found(kind: type[Resource], name: str) -> errors.NotFound:
    return errors.NotFound(f"{kind.__name__} {shown(name, 1024)} was not found.")
