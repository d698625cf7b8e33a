"""Plain scalar writes of several callers, decoded together.

What a numpy call costs hardly depends on how much it is given, so that sixteen requests cost
little more than one. Requests of any other content are left to `ingest.wire`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tensordeck import protos
from tensordeck.ingest.wire import (
    FAST_FROM_BYTES,
    OtherForm,
    fields,
    read_plain_scalars,
    series_header,
)
from tensordeck.ingest.wire_scalars import Region, read_joined_scalars
from tensordeck.store.contract import ScalarColumns

__all__ = ["Request", "RunPoints", "ScalarWrite", "decode_together"]


class Request(NamedTuple):
    """A write request's bytes.

    Attributes:
        data: The message.
        whole_experiment: Whether it is a WriteTensorboardExperimentDataRequest, else a
            WriteTensorboardRunDataRequest.
    """

    data: bytes
    whole_experiment: bool


@dataclass(slots=True)
class RunPoints:
    """Scalar points for one run; never changed once made.

    Attributes:
        run_name: `tensorboard_run`, as it came.
        ids: Time series ids; one may come more than once.
        counts: How many points each has, at least one.
        columns: The points, series after series.
    """

    run_name: str
    ids: list[str]
    counts: list[int]
    columns: ScalarColumns


@dataclass(slots=True)
class ScalarWrite:
    """A request that holds scalars only.

    Attributes:
        experiment: `tensorboard_experiment`, as it came; empty in a write to one run.
        runs: The points in the order they came.
    """

    experiment: str
    runs: list[RunPoints]


_Layout = tuple[str, list[tuple[str, list[str], list[Region]]]]
"""The experiment, and of each run its name, and the ids and places of its series."""


def decode_together(requests: Sequence[Request]) -> list[ScalarWrite | None]:
    """Decodes requests.

    Returns:
        For each request its points, or None if it holds anything else than plain scalars, or is
        malformed: `ingest.wire` says what it is.
    """
    if sum(len(request.data) for request in requests) < FAST_FROM_BYTES:
        return [_decode_message(request) for request in requests]
    result = _decode_joined(requests)
    if result is not None:
        return result
    if len(requests) == 1:
        return [_decode_message(requests[0])]
    # One of them has another form; the others need not pay for it.
    return [one for request in requests for one in decode_together([request])]


def _decode_joined(requests: Sequence[Request]) -> list[ScalarWrite | None] | None:
    layouts: list[_Layout] = []
    regions: list[Region] = []
    base = 0
    for request in requests:
        layout = _layout(request, base)
        if layout is None:
            return None
        layouts.append(layout)
        for _, _, places in layout[1]:
            regions += places
        base += len(request.data)
    if not regions:
        return None
    joined = read_joined_scalars(b"".join([request.data for request in requests]), regions)
    if joined is None:
        return None
    points, bounds = joined
    result: list[ScalarWrite | None] = []
    at = start = 0
    for experiment, found in layouts:
        runs = []
        for name, ids, places in found:
            ends = bounds[at : at + len(places)]
            runs.append(_run_points(name, ids, points, start, ends))
            at += len(places)
            start = ends[-1] if ends else start
        result.append(ScalarWrite(experiment, runs))
    return result


def _run_points(
    name: str, ids: list[str], points: ScalarColumns, start: int, ends: list[int]
) -> RunPoints:
    starts = [start, *ends]
    counts = [b - a for a, b in pairwise(starts)]
    end = starts[-1]
    return RunPoints(
        name,
        ids,
        counts,
        ScalarColumns(points.steps[start:end], points.wall_ns[start:end], points.values[start:end]),
    )


def _layout(request: Request, base: int) -> _Layout | None:
    """Finds a request's series; places count from `base`."""
    data = request.data
    experiment = ""
    runs: list[tuple[str, list[str], list[Region]]] = []
    try:
        if request.whole_experiment:
            for tag, start, end in fields(data, 0, len(data)):
                if tag == 0x0A:
                    experiment = data[start:end].decode()
                elif tag == 0x12:
                    runs.append(_run_layout(data, start, end, base))
                else:
                    return None
        else:
            runs.append(_run_layout(data, 0, len(data), base))
    except (OtherForm, IndexError, UnicodeDecodeError):
        return None
    return experiment, runs


def _run_layout(
    data: bytes, start: int, end: int, base: int
) -> tuple[str, list[str], list[Region]]:
    name = ""
    ids: list[str] = []
    places: list[Region] = []
    for tag, at, stop in fields(data, start, end):
        if tag == 0x0A:
            name = data[at:stop].decode()
        elif tag == 0x12:
            series_id, first = series_header(data, at, stop)
            ids.append(series_id)
            places.append(Region(base + first, base + stop))
        else:
            raise OtherForm
    return name, ids, places


def _decode_message(request: Request) -> ScalarWrite | None:
    """Decodes one request with the protobuf library."""
    kind = "Experiment" if request.whole_experiment else "Run"
    message = protos.message(f"WriteTensorboard{kind}DataRequest")
    try:
        decoded = message.FromString(request.data)
    except protos.DecodeError:
        return None
    parts = decoded.write_run_data_requests if request.whole_experiment else [decoded]
    runs = []
    for run in parts:
        series = [one for one in run.time_series_data if one.values]
        found = read_plain_scalars(series)
        if found is None:
            return None
        points, bounds = found
        ids = [one.tensorboard_time_series_id for one in series]
        runs.append(_run_points(run.tensorboard_run, ids, points, 0, bounds))
    return ScalarWrite(decoded.tensorboard_experiment if request.whole_experiment else "", runs)
