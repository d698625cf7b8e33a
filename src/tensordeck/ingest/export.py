"""Exporting scalars: every point of a series, a run, an experiment or an instance, as a table."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from tensordeck import names, protos
from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.ingest.connection import Connection, Target
from tensordeck.ingest.summaries import ValueType
from tensordeck.ingest.tables import Rows, open_table
from tensordeck.names import ResourceName

__all__ = ["export"]

_LIST_PAGE: Final = 1000
_POINTS_PAGE: Final = 10_000


def export(
    resource: str,
    format: str,  # noqa: A002 -- the command's own word
    out: Path | IO[bytes],
    target: Target,
    *,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Writes all scalar points below a resource as a table, series by series, in step order.

    The columns are experiment, run, tag, step, wall_time and value. Memory use does not depend on
    the number of points. Tensors and blobs have no place in such a table and are left out.

    Args:
        resource: Full name of a time series, run, experiment or instance.
        format: `csv`, `jsonl` or `parquet`.
        out: A file, which appears when it is complete, or a binary stream.
        target: The server.
        progress: Called with the number of rows after each page.

    Returns:
        The number of rows.

    Raises:
        InvalidArgument: If the resource's name or the format is no good.
        NotFound: If the resource does not exist.
        FailedPrecondition: If the file can't be written.
    """
    name = ResourceName.parse(resource, "resource")
    if name.collections not in _KINDS:
        raise InvalidArgument(
            f"{resource} can't be exported: name an instance, experiment, run or time series."
        )
    rows = 0
    with Connection(target) as connection, _opened(out) as stream:
        table = open_table(format, stream)
        source = _Source(connection)
        for experiment, run, series in source.series_below(name):
            for page in source.pages(experiment, run, series):
                table.write(page)
                rows += len(page.steps)
                if progress:
                    progress(rows)
        table.close()
    return rows


_KINDS: Final = (names.TENSORBOARD, names.EXPERIMENT, names.RUN, names.TIME_SERIES)


class _Source:
    """Reads what is to be exported, through the public API."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def series_below(self, name: ResourceName) -> Iterator[tuple[str, str, Any]]:
        """Yields experiment id, run display name and message of each scalar series."""
        if name.collections == names.TENSORBOARD:
            self._get("Tensorboard", name)
            for experiment in self._children("TensorboardExperiment", name):
                yield from self._in_experiment(ResourceName.parse(experiment.name))
        elif name.collections == names.EXPERIMENT:
            self._get("TensorboardExperiment", name)
            yield from self._in_experiment(name)
        elif name.collections == names.RUN:
            yield from self._in_run(self._get("TensorboardRun", name))
        else:
            series = self._get("TensorboardTimeSeries", name)
            if series.value_type != ValueType.SCALAR:
                raise InvalidArgument(
                    f"{name} holds {ValueType(series.value_type).name} points: "
                    "only scalars can be exported."
                )
            run = self._get("TensorboardRun", name.parent)
            yield name.up_to("experiments").id, run.display_name, series

    def pages(self, experiment: str, run: str, series: Any) -> Iterator[Rows]:
        """Reads a series in step order."""
        request = protos.message("ExportTensorboardTimeSeriesDataRequest")(
            tensorboard_time_series=series.name, page_size=_POINTS_PAGE, order_by="step"
        )
        for page in self._connection.pages("ExportTensorboardTimeSeriesData", request):
            points = page.time_series_data_points
            if points:
                yield Rows(
                    experiment,
                    run,
                    series.display_name,
                    [point.step for point in points],
                    [
                        point.wall_time.seconds * 1_000_000_000 + point.wall_time.nanos
                        if point.HasField("wall_time")
                        else None
                        for point in points
                    ],
                    [point.scalar.value for point in points],
                )

    def _in_experiment(self, name: ResourceName) -> Iterator[tuple[str, str, Any]]:
        for run in self._children("TensorboardRun", name):
            yield from self._in_run(run)

    def _in_run(self, run: Any) -> Iterator[tuple[str, str, Any]]:
        name = ResourceName.parse(run.name)
        for series in self._children("TensorboardTimeSeries", name):
            if series.value_type == ValueType.SCALAR:
                yield name.up_to("experiments").id, run.display_name, series

    def _get(self, kind: str, name: ResourceName) -> Any:
        request = protos.message(f"Get{kind}Request")(name=str(name))
        return self._connection.call(f"Get{kind}", request, kind)

    def _children(self, kind: str, parent: ResourceName) -> Iterator[Any]:
        method = f"List{kind}" if kind == "TensorboardTimeSeries" else f"List{kind}s"
        request = protos.message(f"{method}Request")(parent=str(parent), page_size=_LIST_PAGE)
        for page in self._connection.pages(method, request):
            yield from getattr(page, _LISTED[kind])


_LISTED: Final = {
    "TensorboardExperiment": "tensorboard_experiments",
    "TensorboardRun": "tensorboard_runs",
    "TensorboardTimeSeries": "tensorboard_time_series",
}


@contextmanager
def _opened(out: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """Opens a file so that it appears whole or not at all; lets a stream through."""
    if not isinstance(out, Path):
        yield out
        return
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        stream = part.open("wb")
    except OSError as error:
        raise FailedPrecondition(f"{out} can't be written: {error.strerror}.") from error
    try:
        with stream:
            yield stream
        part.replace(out)
    except OSError as error:
        raise FailedPrecondition(f"{out} can't be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
