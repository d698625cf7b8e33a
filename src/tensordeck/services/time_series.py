"""Time series: `{run}/timeSeries/S`. The display name is the tag.

Creating a series that is there already, with the same display name, value type and plugin,
returns the one that is there: the official uploader keeps no state and creates everything again
on each start, and over REST it can't tell the refusal of a duplicate from other errors.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import Aborted, AlreadyExists, InvalidArgument
from tensordeck.filters import Comparison, parse_filter
from tensordeck.names import shown
from tensordeck.services import masks, paging, rules
from tensordeck.services.call import Call
from tensordeck.services.collection import Collection
from tensordeck.services.etags import check_etag
from tensordeck.services.tensorboard_messages import series_message
from tensordeck.store.resources import TimeSeries, ValueType
from tensordeck.store.walk import walk

_WRITABLE: Final = masks.Writable(
    frozenset({"display_name", "description", "plugin_data"}),
    frozenset({"value_type", "plugin_name"}),
)
_ATTEMPTS: Final = 5
_FEW: Final = 20
"""Up to this many series of a run are looked up one by one, more by listing the run."""


class TimeSeriesCollection(Collection):
    """Calls on time series."""

    def create_tensorboard_time_series(self, request: Any, _call: Call) -> Any:
        """Creates a time series, or returns the same one that exists."""
        names.parse(request.parent, names.RUN, "parent")
        return self._messages(self._create([_new(request, request.parent, "")]))[0]

    def batch_create_tensorboard_time_series(self, request: Any, _call: Call) -> Any:
        """Creates up to 1000 series in runs of one experiment: all or none."""
        experiment = names.parse(request.parent, names.EXPERIMENT, "parent")
        rules.check_batch(len(request.requests), "requests")
        new = []
        for index, one in enumerate(request.requests):
            field = f"requests[{index}]."
            run = names.parse(one.parent, names.RUN, f"{field}parent")
            if run.parent != experiment:
                raise InvalidArgument(
                    f"`{field}parent` must be a run of the batch's `parent` {experiment}; "
                    f"it is {shown(one.parent, 512)}."
                )
            new.append(_new(one, one.parent, field))
        return protos.message("BatchCreateTensorboardTimeSeriesResponse")(
            tensorboard_time_series=self._messages(self._create(new))
        )

    def get_tensorboard_time_series(self, request: Any, _call: Call) -> Any:
        """Returns a time series."""
        name = str(names.parse(request.name, names.TIME_SERIES))
        return self._messages([self._catalog.get(TimeSeries, name)])[0]

    def list_tensorboard_time_series(self, request: Any, _call: Call) -> Any:
        """Lists the time series of a run."""
        masks.check_read_mask(request.read_mask, protos.message("TensorboardTimeSeries").DESCRIPTOR)
        page = self._catalog.list(
            TimeSeries,
            str(names.parse(request.parent, names.RUN, "parent")),
            filter=parse_filter(request.filter),
            order_by=request.order_by,
            page_size=paging.TENSORBOARD_CHILDREN.of(request.page_size),
            page_token=request.page_token,
        )
        messages = self._messages(page.items)
        masks.apply_read_mask(messages, request.read_mask)
        return protos.message("ListTensorboardTimeSeriesResponse")(
            tensorboard_time_series=messages, next_page_token=page.next_token
        )

    def update_tensorboard_time_series(self, request: Any, _call: Call) -> Any:
        """Changes a time series; value type and plugin name are immutable."""
        given = request.tensorboard_time_series
        name = str(names.parse(given.name, names.TIME_SERIES, "tensorboard_time_series.name"))

        def change(record: TimeSeries) -> TimeSeries:
            check_etag(record, given.etag)
            message = series_message(record)
            masks.merge(message, given, request.update_mask, _WRITABLE)
            _check(message, "")
            return replace(
                record,
                display_name=message.display_name,
                description=message.description,
                plugin_data=message.plugin_data,
            )

        return self._messages([self._catalog.update(TimeSeries, name, change)])[0]

    def delete_tensorboard_time_series(self, request: Any, _call: Call) -> Any:
        """Deletes a time series with its points and blobs."""
        name = names.parse(request.name, names.TIME_SERIES)
        self._catalog.get(TimeSeries, str(name))
        self._objects.remove(name)
        self._catalog.delete(TimeSeries, str(name))
        self._keys.forget(str(name))
        return protos.message("google.protobuf.Empty")()

    def _messages(self, records: Sequence[TimeSeries]) -> list[Any]:
        summaries = self._points.summaries([(record.run_pk, record.pk) for record in records])
        return [series_message(record, summaries[record.pk]) for record in records]

    def _create(self, wanted: Sequence[TimeSeries]) -> list[TimeSeries]:
        """Creates those that are missing; returns all in order."""
        twice = Counter((_run(series), series.display_name) for series in wanted)
        for (run, tag), count in twice.items():
            if count > 1:
                raise InvalidArgument(
                    f"The request holds {count} time series with the display name {shown(tag)} "
                    f"in {run}; the second would already exist."
                )
        existing: dict[tuple[str, str], TimeSeries] = {}
        missing = list(wanted)
        for _ in range(_ATTEMPTS):
            try:
                created = self._catalog.create_many(missing) if missing else []
            except AlreadyExists as error:
                # Only now are the existing ones looked up: the common case pays nothing.
                existing = self._existing(wanted)
                before = len(missing)
                missing = [s for s in wanted if (_run(s), s.display_name) not in existing]
                if len(missing) == before:
                    raise AlreadyExists(str(error)) from error  # the id, not the display name
                continue
            for series in created:
                existing[_run(series), series.display_name] = series
            return [existing[_run(series), series.display_name] for series in wanted]
        raise Aborted(
            "Others created and deleted the same time series at the same time; try again."
        )

    def _existing(self, wanted: Sequence[TimeSeries]) -> dict[tuple[str, str], TimeSeries]:
        """Those of the wanted series that exist, by run and display name.

        Raises:
            InvalidArgument: If one exists with another value type or plugin.
        """
        by_run: dict[str, dict[str, TimeSeries]] = {}
        for series in wanted:
            by_run.setdefault(_run(series), {})[series.display_name] = series
        found = {}
        for run, by_tag in by_run.items():
            for there in self._named(run, by_tag):
                if (same := by_tag.get(there.display_name)) is not None:
                    _check_same(there, same)
                    found[run, there.display_name] = there
        return found

    def _named(self, run: str, tags: Iterable[str]) -> Iterable[TimeSeries]:
        tags = list(tags)
        if len(tags) <= _FEW:
            for tag in tags:
                only = Comparison(("display_name",), "=", (tag,))
                yield from self._catalog.list(TimeSeries, run, filter=only, page_size=2).items
            return
        yield from walk(self._catalog, TimeSeries, run)


def _new(request: Any, run: str, field: str) -> TimeSeries:
    """The record of a create request; `field` is where the request lies in a batch."""
    given = request.tensorboard_time_series
    series_id = request.tensorboard_time_series_id
    if series_id:
        names.validate_id(series_id, "time_series", f"{field}tensorboard_time_series_id")
    else:
        series_id = rules.new_numeric_id()
    if given.value_type not in tuple(ValueType):
        raise InvalidArgument(
            f"`{field}tensorboard_time_series.value_type` must be SCALAR, TENSOR or BLOB_SEQUENCE."
        )
    _check(given, field)
    return TimeSeries(
        name=f"{run}/timeSeries/{series_id}",
        display_name=given.display_name,
        description=given.description,
        value_type=ValueType(given.value_type),
        plugin_name=given.plugin_name,
        plugin_data=given.plugin_data,
    )


def _check(message: Any, field: str) -> None:
    rules.check_display_name(
        message.display_name, f"{field}tensorboard_time_series.display_name", rules.TAG_LIMIT
    )
    rules.check_plugin_data(message.plugin_data, f"{field}tensorboard_time_series.plugin_data")


def _check_same(there: TimeSeries, wanted: TimeSeries) -> None:
    for what, left, right in (
        ("value type", there.value_type.name, wanted.value_type.name),
        ("plugin", there.plugin_name, wanted.plugin_name),
    ):
        if left != right:
            raise InvalidArgument(
                f"A time series with the display name {shown(there.display_name)} already "
                f"exists: {there.name}. Its {what} is {left or '(none)'}, "
                f"not {right or '(none)'}."
            )


def _run(series: TimeSeries) -> str:
    return series.name.rpartition("/timeSeries/")[0]
