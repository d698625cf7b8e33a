"""What the web app's HParams tab asks for: columns to choose and to order the table by.

Format: `plugins/hparams/api.proto` of TensorBoard, as JSON.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from tensordeck.board.parameter_values import values_listed, values_matching
from tensordeck.board.session_groups import MetricFilter, MetricOrder
from tensordeck.board.sessions import MetricName, Sessions
from tensordeck.errors import InvalidArgument
from tensordeck.store.logged_runs import ParameterFilter, ParameterOrder, Scalar

__all__ = [
    "metric_filters",
    "named",
    "orders",
    "parameter_filters",
    "read_request",
    "wants_metrics",
]

_ASCENDING: Final = 1
_DESCENDING: Final = 2


def read_request(kind: str, text: str | bytes) -> Any:
    """Reads a request.

    Args:
        kind: The message's name, e.g. `ListSessionGroupsRequest`.
        text: Its JSON.

    Raises:
        InvalidArgument: If it is no such message.
    """
    # TensorBoard's messages are imported with the first table, not at the server's start.
    from google.protobuf import json_format  # noqa: PLC0415
    from tensorboard.plugins.hparams import api_pb2  # noqa: PLC0415

    request: Any = getattr(api_pb2, kind)()
    try:
        json_format.Parse(text, request)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"The request is no {kind}: {error}") from error
    if kind == "ListSessionGroupsRequest":
        _check(request)
    return request


def _check(request: Any) -> None:
    if request.start_index < 0 or request.slice_size < 0:
        raise InvalidArgument("`startIndex` and `sliceSize` can't be negative.")
    for column in request.col_params:
        if column.WhichOneof("name") is None:
            raise InvalidArgument("Each of `colParams` names either a `metric` or an `hparam`.")


def wants_metrics(request: Any) -> bool:
    """Whether the answer is to hold metrics; it is unless the request says otherwise."""
    return not request.HasField("include_metrics") or bool(request.include_metrics)


def named(metric: Any) -> MetricName:
    """The name that a `MetricName` message stands for; a group `.` is the session's own run."""
    return "" if metric.group == "." else metric.group, metric.tag


def parameter_filters(columns: Sequence[Any], table: Sessions) -> list[ParameterFilter]:
    """The conditions that a request puts on parameters.

    Raises:
        InvalidArgument: If a regular expression or an interval is none.
    """
    filters = []
    for column in columns:
        missing, kind = not column.exclude_missing_values, column.WhichOneof("filter")
        if column.WhichOneof("name") != "hparam" or (kind is None and missing):
            continue
        known = tuple(table.values.get(column.hparam, ()))
        values: tuple[Scalar, ...] | None = None
        interval: tuple[float, float] | None = None
        if kind == "filter_regexp":
            values = values_matching(column.filter_regexp, known)
        elif kind == "filter_discrete":
            values = values_listed(list(column.filter_discrete), known)
        elif kind == "filter_interval":
            interval = _interval(column.filter_interval)
        filters.append(ParameterFilter(column.hparam, values, interval, missing))
    return filters


def metric_filters(columns: Sequence[Any]) -> list[MetricFilter]:
    """The conditions that a request puts on metrics.

    Raises:
        InvalidArgument: If one makes no sense for a number.
    """
    filters = []
    for column in columns:
        missing, kind = not column.exclude_missing_values, column.WhichOneof("filter")
        if column.WhichOneof("name") != "metric" or (kind is None and missing):
            continue
        if kind == "filter_regexp":
            raise InvalidArgument("A metric is a number: no regular expression can choose it.")
        interval = _interval(column.filter_interval) if kind == "filter_interval" else None
        values = tuple(column.filter_discrete) if kind == "filter_discrete" else None
        filters.append(MetricFilter(named(column.metric), values, interval, missing))
    return filters


def orders(columns: Sequence[Any]) -> list[ParameterOrder | MetricOrder]:
    """The orders that a request wants, the most important first."""
    wanted: list[ParameterOrder | MetricOrder] = []
    for column in columns:
        if column.order in (_ASCENDING, _DESCENDING):
            how = column.order == _DESCENDING, column.missing_values_first
            if column.WhichOneof("name") == "metric":
                wanted.append(MetricOrder(named(column.metric), *how))
            else:
                wanted.append(ParameterOrder(column.hparam, *how))
    return wanted


def _interval(message: Any) -> tuple[float, float]:
    low, high = message.min_value, message.max_value
    if math.isnan(low) or math.isnan(high):
        raise InvalidArgument("An interval goes from a number to a number.")
    return low, high
