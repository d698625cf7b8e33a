"""Writing points: the hot path of the service.

A request is decoded to columns by `ingest.wire`, its series are found by remembered keys, and the
columns go to the store as they are: no message object is made for a scalar point.
"""

import threading
from collections.abc import Sequence
from typing import Any, Final

from tensordeck import names, protos
from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.ingest.wire import RunWrite, decode_experiment_write, decode_run_write
from tensordeck.names import shown
from tensordeck.services.blob_points import merge_profiles, store_inline_blobs
from tensordeck.services.call import Call
from tensordeck.services.collection import Backing, Collection
from tensordeck.services.series_keys import RunKeys
from tensordeck.store.contract import SeriesPoints
from tensordeck.store.resources import Experiment, ValueType

POINTS_LIMIT: Final = 5000
"""Points that one WriteTensorboardRunDataRequest may hold (public reference)."""


class DataWrite(Collection):
    """Calls that write points. They take the request's wire bytes."""

    def __init__(self, backing: Backing) -> None:
        super().__init__(backing)
        self._merging = threading.Lock()

    def write_tensorboard_experiment_data(self, data: bytes, call: Call) -> Any:
        """Writes points of several runs of one experiment, all or none.

        Raises:
            InvalidArgument: If the request is malformed, a run is not of the experiment, a series
                holds another kind of value, or a run has more than 5000 points.
            NotFound: If a run or time series does not exist.
        """
        experiment, runs = decode_experiment_write(data)
        names.parse(experiment, names.EXPERIMENT, "tensorboard_experiment")
        call.authorize(experiment)
        if not runs:  # nothing to write to, but the name must be right all the same
            self._catalog.get(Experiment, experiment)
        below = experiment + "/runs/"
        for run in runs:
            if not run.run_name.startswith(below):
                raise InvalidArgument(_other_experiment(experiment, run.run_name))
        self._write(runs, "WriteTensorboardExperimentDataRequest", data)
        return protos.message("WriteTensorboardExperimentDataResponse")()

    def write_tensorboard_run_data(self, data: bytes, call: Call) -> Any:
        """Writes points of one run, all or none. Raises as the call for an experiment."""
        run = decode_run_write(data)
        names.parse(run.run_name, names.RUN, "tensorboard_run")
        call.authorize(run.run_name)
        self._write([run], "WriteTensorboardRunDataRequest", data)
        return protos.message("WriteTensorboardRunDataResponse")()

    def _write(self, runs: Sequence[RunWrite], message: str, data: bytes) -> None:
        batch, has_blobs = self._batch(runs)
        if not has_blobs:
            self._append(runs, batch)
            return
        request = protos.parse(message, data)
        requests = getattr(request, "write_run_data_requests", [request])
        runs = store_inline_blobs(self._objects, runs, requests)
        with self._merging:
            batch, _ = self._batch(runs)
            self._append(runs, merge_profiles(self._points, batch))

    def _append(self, runs: Sequence[RunWrite], batch: Sequence[SeriesPoints]) -> None:
        try:
            self._points.append(batch)
        except NotFound:
            # Deleted, and perhaps made again, by another process since the keys were remembered.
            for run in runs:
                self._keys.forget(run.run_name)
            self._points.append(merge_profiles(self._points, self._batch(runs)[0]))

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
        if value_type is not series.value_type:
            raise InvalidArgument(
                f"{run.run_name}/timeSeries/{series.time_series_id} holds {value_type.name} "
                f"points; the request's are {series.value_type.name}."
            )
        blobs |= value_type is ValueType.BLOB_SEQUENCE
        total += count
        added.append(SeriesPoints(pk, run_pk, columns))
    if total > POINTS_LIMIT:
        raise InvalidArgument(
            f"`time_series_data` of {run.run_name} holds {total} points; one request may write "
            f"at most {POINTS_LIMIT} to a run. Split it."
        )
    batch.extend(added)
    return blobs


def _other_experiment(experiment: str, run: str) -> str:
    """Why a run can't be written: the official uploader meets this with a name used twice."""
    return (
        f"`tensorboard_run` {shown(run, 512)} does not belong to the `tensorboard_experiment` "
        f"{experiment} of the request. Experiment names are unique in a project and region: if "
        "the experiment was uploaded to another Tensorboard before, choose another name for it, "
        "or upload it to that Tensorboard again."
    )
