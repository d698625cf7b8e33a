"""Filters and orders over points: `step`, `wall_time` and `value`, evaluated on columns."""

from functools import reduce
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tensordeck.errors import InvalidArgument
from tensordeck.filters import All, Any_, Comparison, Filter, Not, parse_filter, parse_order_by
from tensordeck.names import shown
from tensordeck.services.times import parse_nanos
from tensordeck.store.contract import PayloadColumns, ScalarColumns

Mask = npt.NDArray[np.bool_]

_OPERATORS: Final[dict[str, Any]] = {
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_VALUE_PATHS: Final = {("value",), ("scalar",), ("scalar", "value")}


def matching(text: str, columns: ScalarColumns | PayloadColumns) -> Mask | None:
    """Returns which points match a filter; None for an empty one.

    Raises:
        InvalidArgument: If the filter does not parse, names another field than `step`,
            `wall_time` and (of scalars) `value`, or compares with something unreadable.
    """
    tree = parse_filter(text)
    return None if tree is None else _evaluate(tree, columns)


def by_wall_time(order_by: str) -> tuple[bool, bool]:
    """Reads an order of points: by `step` (the default) or by `wall_time`, one key.

    Returns:
        Whether it goes by wall time, and whether it descends.

    Raises:
        InvalidArgument: If it names anything else.
    """
    keys = parse_order_by(order_by)
    if not keys:
        return False, False
    if len(keys) > 1 or keys[0].path not in {("step",), ("wall_time",), ("wallTime",)}:
        raise InvalidArgument(
            f"`order_by` must be `step` or `wall_time`, with `desc` or without; "
            f"it is {shown(order_by)}."
        )
    return keys[0].path != ("step",), keys[0].descending


def _evaluate(tree: Filter, columns: ScalarColumns | PayloadColumns) -> Mask:
    if isinstance(tree, Comparison):
        return _compare(tree, columns)
    if isinstance(tree, Not):
        return ~_evaluate(tree.operand, columns)
    if isinstance(tree, All):
        return reduce(np.logical_and, [_evaluate(part, columns) for part in tree.operands])
    if isinstance(tree, Any_):
        return reduce(np.logical_or, [_evaluate(part, columns) for part in tree.operands])
    raise InvalidArgument(f"`filter`: points have no function {tree.name}().")


def _compare(comparison: Comparison, columns: ScalarColumns | PayloadColumns) -> Mask:
    field = ".".join(comparison.path)
    operator = _OPERATORS.get(comparison.op)
    if operator is None or len(comparison.value) != 1:
        raise InvalidArgument(
            f"`filter`: `{field}` of points can't be compared with {comparison.op}; "
            f"use one of {' '.join(_OPERATORS)}."
        )
    text = comparison.value[0]
    if comparison.path == ("step",):
        result = operator(columns.steps, _step(text))
    elif comparison.path in {("wall_time",), ("wallTime",)}:
        result = operator(columns.wall_ns, parse_nanos(text, "`filter`: `wall_time`"))
    elif comparison.path in _VALUE_PATHS and isinstance(columns, ScalarColumns):
        result = operator(columns.values, _number(text, "value"))
    else:
        raise InvalidArgument(
            f"`filter` names {shown(field)}, which these points do not have: they have `step`, "
            "`wall_time` and, if they are scalars, `value`."
        )
    mask: Mask = result
    return mask


def _step(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return _number(text, "step")


def _number(text: str, field: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidArgument(
            f"`filter`: `{field}` must be compared with a number; it is {shown(text)}."
        ) from None
