"""Our store as TensorBoard's plugins read data: `tensorboard.data.provider.DataProvider`.

The plugins call it with an experiment id that is a board's address text, once `board.app` has
let the caller pass; a request's own board travels beside it (`BOARD`), for blobs.
"""

# ruff: noqa: ARG002 -- every method takes the context, as TensorBoard calls it

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NotRequired, TypedDict, TypeVar, Unpack

from tensorboard import context, errors
from tensorboard.data import provider

from tensordeck.board.address import BoardAddress, parse_address
from tensordeck.board.blob_keys import BlobKey
from tensordeck.board.board_auth import BOARD
from tensordeck.board.columns import displayed, wall_seconds
from tensordeck.board.descriptions import readable
from tensordeck.board.hyperparameters import described_parameters, read_groups
from tensordeck.board.listing import Listing, Listings, SeriesByTag
from tensordeck.board.payload_data import blob_sequence_data, tensor_data
from tensordeck.board.scalars import read_columns
from tensordeck.board.sessions import sessions_of
from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.services.blob_objects import BlobObjects
from tensordeck.store.contract import NO_WALL_TIME, PayloadColumns, SeriesSummary, Store
from tensordeck.store.resources import TimeSeries, ValueType

__all__ = ["StoreDataProvider"]

T = TypeVar("T")
Nested = dict[str, dict[str, T]]


class SeriesRequest(TypedDict):
    """What TensorBoard asks a provider for, by keyword.

    Attributes:
        experiment_id: A board's address text.
        plugin_name: Whose series.
        downsample: At most this many points of each; only of reads.
        run_tag_filter: Which runs and tags; all when missing or None.
    """

    experiment_id: str
    plugin_name: str
    downsample: NotRequired[int | None]
    run_tag_filter: NotRequired[provider.RunTagFilter | None]


class StoreDataProvider(provider.DataProvider):  # type: ignore[misc]  # TensorBoard has no types
    """Reads boards for TensorBoard's plugins. Thread-safe.

    Args:
        store: Where points and blobs are.
        listings: Lists boards.
    """

    def __init__(self, store: Store, listings: Listings) -> None:
        self._catalog = store.catalog
        self._points = store.points
        self._blobs = BlobObjects(store)
        self._listings = listings

    def experiment_metadata(
        self, ctx: context.RequestContext | None = None, *, experiment_id: str
    ) -> provider.ExperimentMetadata:
        """See `DataProvider`."""
        experiment = self._list(experiment_id).experiments[0]
        return provider.ExperimentMetadata(
            data_location=experiment.name,
            experiment_name=experiment.display_name,
            experiment_description=experiment.description,
            creation_time=experiment.create_time / 1e6,
        )

    def list_plugins(
        self, ctx: context.RequestContext | None = None, *, experiment_id: str
    ) -> frozenset[str]:
        """See `DataProvider`."""
        return self._list(experiment_id).plugins

    def list_runs(
        self, ctx: context.RequestContext | None = None, *, experiment_id: str
    ) -> list[provider.Run]:
        """See `DataProvider`."""
        return [
            provider.Run(run_id=run.name, run_name=name, start_time=run.create_time / 1e6)
            for name, run in self._list(experiment_id).runs.items()
        ]

    def list_scalars(
        self, ctx: context.RequestContext | None = None, **request: Unpack[SeriesRequest]
    ) -> "Nested[provider.ScalarTimeSeries]":
        """See `DataProvider`."""
        return self._listed(
            request, ValueType.SCALAR, provider.ScalarTimeSeries, lambda s: {"last_value": s.last}
        )

    def read_scalars(
        self, ctx: context.RequestContext | None = None, **request: Unpack[SeriesRequest]
    ) -> "Nested[list[provider.ScalarDatum]]":
        """See `DataProvider`; keeps the shape instead of sampling at random."""
        limit = request.get("downsample")
        result: Nested[list[provider.ScalarDatum]] = {}
        found = self._find(request, ValueType.SCALAR)
        for run, by_tag in read_columns(self._points, found).items():
            result[run] = {}
            for tag, whole in by_tag.items():
                columns = displayed(whole, max(2, limit or len(whole.steps)))
                result[run][tag] = [
                    provider.ScalarDatum(step, wall, value)
                    for step, wall, value in zip(
                        columns.steps.tolist(),
                        wall_seconds(columns.wall_ns).tolist(),
                        columns.values.tolist(),
                        strict=True,
                    )
                ]
        return result

    def read_last_scalars(
        self, ctx: context.RequestContext | None = None, **request: Unpack[SeriesRequest]
    ) -> "Nested[provider.ScalarDatum]":
        """See `DataProvider`; the value at the largest step, without reading any points."""
        found = self._find(request, ValueType.SCALAR)
        summaries = self._points.summaries(_keys(found))
        kept = _where(found, lambda s: summaries[s.pk].count > 0)
        return _mapped(
            kept,
            lambda s: provider.ScalarDatum(
                summaries[s.pk].max_step,
                _seconds(summaries[s.pk].max_wall_ns),
                summaries[s.pk].last,
            ),
        )

    def list_tensors(
        self, ctx: context.RequestContext | None = None, **request: Unpack[SeriesRequest]
    ) -> "Nested[provider.TensorTimeSeries]":
        """See `DataProvider`."""
        return self._listed(request, ValueType.TENSOR, provider.TensorTimeSeries, lambda _: {})

    def read_tensors(
        self, ctx: context.RequestContext | None = None, **request: Unpack[SeriesRequest]
    ) -> "Nested[list[provider.TensorDatum]]":
        """See `DataProvider`; points that are no tensors are left out."""
        return self._read(request, ValueType.TENSOR, lambda _, columns: tensor_data(columns))

    def list_blob_sequences(
        self, ctx: context.RequestContext | None = None, **request: Unpack[SeriesRequest]
    ) -> "Nested[provider.BlobSequenceTimeSeries]":
        """See `DataProvider`."""
        return self._listed(
            request,
            ValueType.BLOB_SEQUENCE,
            provider.BlobSequenceTimeSeries,
            lambda s: {"max_length": s.max_blob_length},
        )

    def read_blob_sequences(
        self, ctx: context.RequestContext | None = None, **request: Unpack[SeriesRequest]
    ) -> "Nested[list[provider.BlobSequenceDatum]]":
        """See `DataProvider`."""
        return self._read(request, ValueType.BLOB_SEQUENCE, blob_sequence_data)

    def read_blob(self, ctx: context.RequestContext | None = None, *, blob_key: str) -> bytes:
        """See `DataProvider`; only of the experiments on the request's own board."""
        with _public_errors():
            key = BlobKey.parse(blob_key)
            board: BoardAddress = (ctx or context.RequestContext()).auth.get(BOARD)
            if key.experiment not in {member.experiment for member in board.members}:
                raise errors.NotFoundError("This board has no such blob.")
            ((_, data),) = self._blobs.read(key.series, [key.blob_id])
        return data

    def list_hyperparameters(
        self,
        ctx: context.RequestContext | None = None,
        *,
        experiment_ids: Collection[str],
        limit: int | None = None,
    ) -> provider.ListHyperparametersResult:
        """See `DataProvider`; of one board, which may hold several experiments."""
        return described_parameters(sessions_of(self._list(_only(experiment_ids))), limit)

    def read_hyperparameters(
        self,
        ctx: context.RequestContext | None = None,
        *,
        experiment_ids: Collection[str],
        filters: Collection[provider.HyperparameterFilter] | None = None,
        sort: Sequence[provider.HyperparameterSort] | None = None,
        hparams_to_include: Collection[str] | None = None,
    ) -> list[provider.HyperparameterSessionGroup]:
        """See `DataProvider`; the database chooses and sorts."""
        listing = self._list(_only(experiment_ids))
        with _public_errors():
            return read_groups(
                self._catalog,
                [experiment.name for experiment in listing.experiments],
                sessions_of(listing),
                filters=filters,
                sort=sort,
                included=hparams_to_include,
            )

    def _list(self, experiment_id: str) -> Listing:
        kind = "compare" if ":" in experiment_id else "experiment"
        with _public_errors():
            return self._listings.of(parse_address(kind, experiment_id))

    def _find(self, request: SeriesRequest, kind: ValueType) -> SeriesByTag:
        plugin = request["plugin_name"]
        chosen = request.get("run_tag_filter") or provider.RunTagFilter()
        found = self._list(request["experiment_id"]).series(
            plugin, (kind,), chosen.runs, chosen.tags
        )
        return _where(found, lambda s: readable(plugin, s.plugin_data))

    def _listed(
        self,
        request: SeriesRequest,
        kind: ValueType,
        make: Callable[..., T],
        more: Callable[[SeriesSummary], dict[str, Any]],
    ) -> Nested[T]:
        """Describes series by their summaries: what all kinds have, and what only this one has."""
        found = self._find(request, kind)
        summaries = self._points.summaries(_keys(found))
        return _mapped(
            found, lambda s: make(**_description(s, summaries[s.pk]), **more(summaries[s.pk]))
        )

    def _read(
        self,
        request: SeriesRequest,
        kind: ValueType,
        make: Callable[[TimeSeries, PayloadColumns], T],
    ) -> Nested[T]:
        found = self._find(request, kind)
        payloads = self._points.read_payloads(_keys(found), limit=request.get("downsample"))
        return _mapped(found, lambda s: make(s, payloads[s.pk]))


@contextmanager
def _public_errors() -> Iterator[None]:
    """Says what is wrong with a request by TensorBoard's own errors."""
    try:
        yield
    except InvalidArgument as error:
        raise errors.InvalidArgumentError(error.message) from error
    except NotFound as error:
        raise errors.NotFoundError(error.message) from error


def _only(experiment_ids: Collection[str]) -> str:
    """The board that is meant: plugins always ask for one."""
    if len(experiment_ids) != 1:
        raise errors.InvalidArgumentError("A board has one address.")
    return next(iter(experiment_ids))


def _keys(series: SeriesByTag) -> list[tuple[int, int]]:
    return [(s.run_pk, s.pk) for by_tag in series.values() for s in by_tag.values()]


def _mapped(series: SeriesByTag, make: Callable[[TimeSeries], T]) -> Nested[T]:
    return {
        run: {tag: make(record) for tag, record in by_tag.items()} for run, by_tag in series.items()
    }


def _where(series: SeriesByTag, wanted: Callable[[TimeSeries], bool]) -> SeriesByTag:
    kept = {
        run: {tag: record for tag, record in by_tag.items() if wanted(record)}
        for run, by_tag in series.items()
    }
    return {run: by_tag for run, by_tag in kept.items() if by_tag}


def _description(series: TimeSeries, summary: SeriesSummary) -> dict[str, Any]:
    return {
        "max_step": summary.max_step,
        "max_wall_time": _seconds(summary.max_wall_ns),
        "plugin_content": series.plugin_data,
        "description": series.description,
        "display_name": "",
    }


def _seconds(wall_ns: int) -> float:
    return 0.0 if wall_ns == NO_WALL_TIME else wall_ns / 1e9
