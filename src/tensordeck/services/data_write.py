"""Writing points: the hot path of the service.

Plain scalars, nearly all that is ever written, go through `services.scalar_writes`; what else a
request may hold is decoded here by `ingest.wire`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tensordeck import names, protos
from tensordeck.errors import NotFound
from tensordeck.ingest.wire import RunWrite, decode_experiment_write, decode_run_write
from tensordeck.ingest.wire_group import Request
from tensordeck.services.blob_points import join_profiles, store_inline_blobs
from tensordeck.services.call import Call
from tensordeck.services.collection import Backing, Collection
from tensordeck.services.scalar_writes import ScalarWrites
from tensordeck.services.series_keys import RunKeys
from tensordeck.services.write_rules import check_count, check_kind, check_within
from tensordeck.store.contract import Join, SeriesPoints
from tensordeck.store.resources import Experiment, ValueType


class DataWrite(Collection):
    """Calls that write points. They take the request's wire bytes."""

    def __init__(self, backing: Backing) -> None:
        super().__init__(backing)
        self._scalars = ScalarWrites(self._points, self._keys)

    def write_tensorboard_experiment_data(self, data: bytes, call: Call) -> Any:
        """Writes points of several runs of one experiment, all or none.

        Raises:
            InvalidArgument: If the request is malformed, a run is not of the experiment, a series
                holds another kind of value, or a run has more than 5000 points.
            NotFound: If a run or time series does not exist.
        """
        if not self._scalars.write(Request(data, whole_experiment=True), call):
            experiment, runs = decode_experiment_write(data)
            names.parse(experiment, names.EXPERIMENT, "tensorboard_experiment")
            call.authorize(experiment)
            if not runs:  # nothing to write to, but the name must be right all the same
                self._catalog.get(Experiment, experiment)
            for run in runs:
                check_within(experiment, run.run_name)
            self._write(runs, "WriteTensorboardExperimentDataRequest", data)
        return protos.message("WriteTensorboardExperimentDataResponse")()

    def write_tensorboard_run_data(self, data: bytes, call: Call) -> Any:
        """Writes points of one run, all or none. Raises as the call for an experiment."""
        if not self._scalars.write(Request(data, whole_experiment=False), call):
            run = decode_run_write(data)
            names.parse(run.run_name, names.RUN, "tensorboard_run")
            call.authorize(run.run_name)
            self._write([run], "WriteTensorboardRunDataRequest", data)
        return protos.message("WriteTensorboardRunDataResponse")()

    def begin_write_tensorboard_experiment_data(
        self, data: bytes, call: Call, tell: Callable[[bytes | BaseException | None], None]
    ) -> None:
        """Begins a write whose caller does not wait in a thread.

        Args:
            data: The request.
            call: The call.
            tell: Told the reply's bytes, what is wrong, or None if the request must go the general
                way; nothing was written then.
        """
        self._begin(Request(data, whole_experiment=True), call, tell)

    def begin_write_tensorboard_run_data(
        self, data: bytes, call: Call, tell: Callable[[bytes | BaseException | None], None]
    ) -> None:
        """As the call for an experiment."""
        self._begin(Request(data, whole_experiment=False), call, tell)

    def _begin(
        self, request: Request, call: Call, tell: Callable[[bytes | BaseException | None], None]
    ) -> None:
        def told(outcome: bool | BaseException) -> None:
            # An empty message: both replies have no fields.
            tell(outcome if isinstance(outcome, BaseException) else b"" if outcome else None)

        self._scalars.submit(request, call, told)

    def _write(self, runs: Sequence[RunWrite], message: str, data: bytes) -> None:
        batch, has_blobs = self._batch(runs)
        if not has_blobs:
            self._append(runs, batch, None)
            return
        request = protos.parse(message, data)
        requests = getattr(request, "write_run_data_requests", [request])
        runs = store_inline_blobs(self._objects, runs, requests)
        self._append(runs, self._batch(runs)[0], join_profiles)

    def _append(
        self, runs: Sequence[RunWrite], batch: Sequence[SeriesPoints], join: Join | None
    ) -> None:
        try:
            self._points.append(batch, join)
        except NotFound:
            # Deleted, and perhaps made again, by another process since the keys were remembered.
            for run in runs:
                self._keys.forget(run.run_name)
            self._points.append(self._batch(runs)[0], join)

    def _batch(self, runs: Sequence[RunWrite]) -> tuple[list[SeriesPoints], bool]:
        """The points with the store's keys, and whether there are blob sequences among them."""
        batch: list[SeriesPoints] = []
        blobs = False
        for run in runs:
            keys = self._keys.known(run.run_name) or self._load(run)
            try:
                blobs |= _add(batch, run, keys)
            except KeyError:
                blobs |= _add(batch, run, self._load(run))
        return batch, blobs

    def _load(self, run: RunWrite) -> RunKeys:
        names.parse(run.run_name, names.RUN, "tensorboard_run")
        return self._keys.load(run.run_name, {series.time_series_id for series in run.series})


def _add(batch: list[SeriesPoints], run: RunWrite, keys: RunKeys) -> bool:
    """Adds one run's points to a batch.

    Returns:
        Whether there are blob sequences among them.

    Raises:
        KeyError: If a series is not among the keys; nothing was added then.
    """
    known = keys.series
    run_pk = keys.pk
    added: list[SeriesPoints] = []
    total = 0
    blobs = False
    for series in run.series:
        pk, value_type = known[series.time_series_id]
        columns = series.columns
        count = len(columns.steps)
        if not count:
            continue
        check_kind(run.run_name, series.time_series_id, value_type, series.value_type)
        blobs |= value_type is ValueType.BLOB_SEQUENCE
        total += count
        added.append(SeriesPoints(pk, run_pk, columns, keys.revision))
    check_count(run.run_name, total)
    batch.extend(added)
    return blobs
