"""`google.protobuf.Struct` and plain dictionaries. Non-finite numbers pass, unlike in JSON."""

from typing import Any

from tensordeck import protos
from tensordeck.store.resources import Json


def to_json(struct: Any) -> Json:
    """A Struct as a dictionary; its numbers are floats."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def to_struct(value: Json) -> Any:
    """A dictionary as a Struct.

    Raises:
        ValueError: If it holds what a Struct can't.
    """
    struct = protos.message("google.protobuf.Struct")()
    struct.update(value)
    return struct


def merged(before: Json, new: Json) -> Json:
    """Two dictionaries joined, one level deep: of what both have, the new one's counts."""
    result = {**before, **new}
    for key, value in new.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = {**old, **value}
    return result


def _plain(value: Any) -> Any:
    which = value.WhichOneof("kind")
    if which == "struct_value":
        return to_json(value.struct_value)
    if which == "list_value":
        return [_plain(item) for item in value.list_value.values]
    return None if which in (None, "null_value") else getattr(value, which)
