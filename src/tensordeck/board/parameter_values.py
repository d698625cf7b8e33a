"""Which of a parameter's values a visitor means: by a pattern, or by a list."""

from collections.abc import Collection, Iterable
from typing import Any

from tensordeck.errors import InvalidArgument
from tensordeck.names import shown
from tensordeck.store.logged_runs import Scalar

__all__ = ["as_text", "values_listed", "values_matching"]


def as_text(value: Scalar) -> str:
    """A value as a column of mixed values shows it."""
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else repr(float(value))


def values_matching(pattern: str, values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    """Those of some values in whose text a regular expression finds something.

    Raises:
        InvalidArgument: If it is no regular expression.
    """
    import re2  # noqa: PLC0415 -- with the first pattern, not at the server's start

    options = re2.Options()
    options.log_errors = False
    try:
        # RE2 takes linear time, whatever the pattern: Python's `re` could hold up the server.
        expression = re2.compile(pattern, options)
    except re2.error as error:
        raise InvalidArgument(
            f"{shown(pattern)} is no regular expression that RE2 knows: {error}"
        ) from error
    return tuple(value for value in values if expression.search(as_text(value)))


def values_listed(listed: Collection[Any], values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    """Those of some values that a list holds; of mixed values it may hold their texts."""
    texts = {one for one in listed if isinstance(one, str)}
    exact = {(isinstance(one, bool), one) for one in listed if isinstance(one, int | float)}
    return tuple(
        value
        for value in values
        if as_text(value) in texts
        or (not isinstance(value, str) and (isinstance(value, bool), value) in exact)
    )
