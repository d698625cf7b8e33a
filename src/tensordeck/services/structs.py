"""`google.protobuf.Struct` and plain dictionaries. Non-finite numbers pass, unlike in JSON."""

import math
from typing import Any, Final

from tensordeck import protos
from tensordeck.store.resources import Json

_SPELLINGS: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""Protobuf's words for the numbers that JSON lacks, by their `repr`."""


def to_json(struct: Any) -> Json:
    """A Struct as a dictionary; its numbers are floats."""
    fields = struct.fields  # its `items()` is Python's general one, which looks each key up twice
    return {key: _plain(fields[key]) for key in fields}


def to_struct(value: Json) -> Any:
    """A dictionary as a Struct.

    Raises:
        ValueError: If it holds what a Struct can't.
    """
    struct = protos.message("google.protobuf.Struct")()
    struct.update(value)
    return struct


def lacks_json(value: Any) -> bool:
    """Whether there is a number in it that JSON has no form for."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    # Nearly all is numbers, which need no call of this function each.
    return any(
        not math.isfinite(item) if type(item) is float else lacks_json(item) for item in value
    )


def spelled(value: Json) -> Json:
    """A dictionary with texts for the numbers that JSON lacks; the same one if it has none.

    The official client turns all that it reads into JSON, over gRPC too, and fails at a metric that
    is not a number: it could not even list the experiment any more.
    """
    return _spelled(value) if lacks_json(value) else value


def respelled(value: Json, before: Json) -> Json:
    """The numbers that a caller got as texts, as numbers again.

    Args:
        value: What the caller sends back.
        before: What there was when it read: only a text in the place of such a number is one.
    """
    return {key: _respelled(item, before.get(key)) for key, item in value.items()}


def merged(before: Json, new: Json) -> Json:
    """Two dictionaries joined, one level deep: of what both have, the new one's counts."""
    result = {**before, **new}
    for key, value in new.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = {**old, **value}
    return result


def _spelled(value: Any) -> Any:
    if isinstance(value, float):
        return _SPELLINGS.get(repr(value), value)
    if isinstance(value, dict):
        return {key: _spelled(item) for key, item in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, list) else value


def _respelled(value: Any, before: Any) -> Any:
    if isinstance(value, str) and isinstance(before, float):
        return before if value == _SPELLINGS.get(repr(before)) else value
    if isinstance(value, dict) and isinstance(before, dict):
        return respelled(value, before)
    if isinstance(value, list) and isinstance(before, list):
        padded = [*before, *([None] * len(value))]
        return [_respelled(item, old) for item, old in zip(value, padded, strict=False)]
    return value


def _plain(value: Any) -> Any:
    which = value.WhichOneof("kind")
    if which == "number_value":
        return value.number_value
    if which == "struct_value":
        return to_json(value.struct_value)
    if which == "list_value":
        return [_plain(item) for item in value.list_value.values]
    return None if which in (None, "null_value") else getattr(value, which)
