"""Field masks: which fields a list returns and which an update overwrites (AIP-134, AIP-157).

Paths come in snake_case (gRPC, gcloud) and in camelCase (REST); both are understood.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from tensordeck.errors import InvalidArgument
from tensordeck.names import shown

_STRUCT: Final = "google.protobuf.Struct"


class Writable(Struct, frozen=True):
    """Which fields of a message an update may touch. All others are output only: ignored.

    Attributes:
        mutable: May change.
        immutable: May be sent, but only with the value they have.
    """

    mutable: frozenset[str]
    immutable: frozenset[str] = frozenset()


def apply_read_mask(messages: Iterable[Any], mask: Any) -> None:
    """Clears the fields of messages that a `read_mask` does not name; an empty one names all.

    Raises:
        InvalidArgument: If the mask names an unknown field.
    """
    if not mask.paths or "*" in mask.paths:
        return
    for message in messages:
        keep = {_field(message.DESCRIPTOR, path, "read_mask").split(".")[0] for path in mask.paths}
        for field, _ in message.ListFields():
            if field.name not in keep:
                message.ClearField(field.name)


def check_read_mask(mask: Any, descriptor: Any) -> None:
    """Refuses a mask that names an unknown field, also where there is nothing to mask.

    Raises:
        InvalidArgument: If it does.
    """
    for path in mask.paths:
        if path != "*":
            _field(descriptor, path, "read_mask")


def merge(current: Any, given: Any, mask: Any, writable: Writable) -> None:
    """Overwrites `current` with the fields of `given` that an `update_mask` names.

    Without a mask, every field that has a value is overwritten; with `*`, every mutable field.
    A path may go one level down: `labels.team` is that one label.

    Raises:
        InvalidArgument: If the mask names an unknown field, or an immutable field would change.
    """
    if "*" in mask.paths:
        present = {field.name for field, _ in given.ListFields()}
        paths = [*sorted(writable.mutable), *sorted(writable.immutable & present)]
    elif mask.paths:
        paths = [_field(current.DESCRIPTOR, path, "update_mask") for path in mask.paths]
    else:
        paths = [field.name for field, _ in given.ListFields()]
    for path in paths:
        name, _, rest = path.partition(".")
        if name in writable.immutable and getattr(current, name) != getattr(given, name):
            raise InvalidArgument(
                f"`{name}` can't be changed once the resource exists; leave it out of the update."
            )
        if name in writable.mutable:
            if rest:
                _copy_below(current, given, name, rest)
            else:
                _copy(current, given, name)


def _copy(current: Any, given: Any, name: str) -> None:
    field = current.DESCRIPTOR.fields_by_name[name]
    current.ClearField(name)
    if field.is_repeated:
        getattr(current, name).MergeFrom(getattr(given, name))
    elif field.message_type:
        if given.HasField(name):
            getattr(current, name).CopyFrom(getattr(given, name))
    else:
        setattr(current, name, getattr(given, name))


def _copy_below(current: Any, given: Any, name: str, key: str) -> None:
    """Copies one label, one metadata key, or one field of a nested message."""
    field = current.DESCRIPTOR.fields_by_name[name]
    target, source = getattr(current, name), getattr(given, name)
    if field.message_type.full_name == _STRUCT:
        target.fields.pop(key, None)
        if key in source.fields:
            target.fields[key].CopyFrom(source.fields[key])
    elif field.message_type.GetOptions().map_entry:
        target.pop(key, None)
        if key in source:
            target[key] = source[key]
    else:
        _copy(target, source, key)


def _field(descriptor: Any, path: str, which: str) -> str:
    """The path in snake_case, if the message has such a field; keys of maps stay as they are."""
    head, _, rest = path.partition(".")
    name = _snake(head)
    field = descriptor.fields_by_name.get(name)
    below = field.message_type if field is not None else None
    if field is not None and not rest:
        return name
    if below is not None and (below.GetOptions().map_entry or below.full_name == _STRUCT):
        return f"{name}.{rest.strip('`')}"
    if below is not None and not field.is_repeated and _snake(rest) in below.fields_by_name:
        return f"{name}.{_snake(rest)}"
    raise InvalidArgument(
        f"`{which}` names {shown(path)}, which {descriptor.name} does not have. "
        f"It has: {', '.join(sorted(descriptor.fields_by_name))}."
    )


def _snake(camel: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), camel)
