"""The API's messages, as the official client sends them.

`api/vertex.binpb` is a descriptor set taken from `google-cloud-aiplatform` (see
`tools/extract_api.py`). Loading it takes milliseconds where importing the client takes a second
and 95 MB. The pool is our own, so that a process may also import the official client.

v1 and v1beta1 messages are the same on the wire; one set serves both (docs/adr/0001).

Example:
    >>> message("CreateTensorboardRequest")(parent="projects/p/locations/l").parent
    'projects/p/locations/l'
"""

import math
import threading
from functools import cache
from importlib import resources
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, Message

from tensordeck import errors

__all__ = [
    "DecodeError",
    "Encoded",
    "Message",
    "from_json",
    "message",
    "pack_any",
    "parse",
    "pool",
    "submessage",
    "to_json",
]

VERTEX: Final = "google.cloud.aiplatform.v1."
_lock = threading.Lock()


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """Returns the pool that holds every message type of the API."""
    files = descriptor_pb2.FileDescriptorSet.FromString(
        (resources.files("tensordeck") / "api" / "vertex.binpb").read_bytes()
    )
    result = descriptor_pool.DescriptorPool()
    for file in files.file:
        result.Add(file)
    return result


@cache
def message(name: str) -> Any:
    """Returns a message class.

    Args:
        name: A Vertex type's own name (`Tensorboard`), or a full one (`google.protobuf.Empty`).

    Raises:
        KeyError: If there is no such type.
    """
    full = name if name.startswith("google.") else VERTEX + name
    with _lock:
        return message_factory.GetMessageClass(pool().FindMessageTypeByName(full))


def parse(name: str, data: bytes) -> Any:
    """Decodes wire bytes.

    Raises:
        errors.InvalidArgument: If the bytes are no message of that type.
    """
    try:
        return message(name).FromString(data)
    except DecodeError as error:
        raise errors.InvalidArgument(
            f"The request is not a valid {name} message: it is truncated or malformed."
        ) from error


class Encoded:
    """A reply that is wire bytes already, for what is long and laid out by us.

    Args:
        name: The message's type, as `message` takes it.
        parts: Its bytes, in order.
    """

    def __init__(self, name: str, *parts: bytes) -> None:
        self._name = name
        self._data = b"".join(parts)

    def SerializeToString(self) -> bytes:  # noqa: N802 -- what a message calls it
        """Returns the bytes."""
        return self._data

    def message(self) -> Any:
        """Returns the message."""
        return message(self._name).FromString(self._data)


def submessage(number: int, data: bytes) -> bytes:
    """Returns the bytes of a field that holds a message, for numbers below 16."""
    length, head = len(data), bytearray((number << 3 | 2,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + data


def to_json(value: Message) -> dict[str, Any]:
    """Returns a message as the JSON object of the REST API (lowerCamelCase, enums by name).

    A metric that is NaN or infinite has no form in JSON where any value is allowed (`Struct`): it
    becomes the text that protobuf uses elsewhere, `"NaN"`, `"Infinity"` or `"-Infinity"`.
    """
    result: dict[str, Any]
    try:
        result = json_format.MessageToDict(value, descriptor_pool=pool())
    except (json_format.SerializeToJsonError, ValueError):
        spelled: Any = type(value)()
        spelled.CopyFrom(value)
        _spell_numbers(spelled)
        result = json_format.MessageToDict(spelled, descriptor_pool=pool())
    return result


def _spell_numbers(value: Any) -> None:
    """Turns the non-finite numbers of a message's Structs into texts."""
    if value.DESCRIPTOR.full_name == "google.protobuf.Value":
        number = value.number_value
        if not math.isfinite(number):
            infinity = "Infinity" if number > 0 else "-Infinity"
            value.string_value = "NaN" if math.isnan(number) else infinity
            return
    for field, content in value.ListFields():
        kind = field.message_type
        if kind is None:
            continue
        if kind.GetOptions().map_entry:
            if kind.fields_by_name["value"].message_type is None:
                continue
            content = content.values()  # noqa: PLW2901 -- the entries are what counts
        for item in content if field.is_repeated else (content,):
            _spell_numbers(item)


def from_json(value: Any, into: Any, where: str = "body") -> Any:
    """Merges a JSON object into a message; unknown fields are refused, as the service does.

    Raises:
        errors.InvalidArgument: If a field is unknown or its value does not fit.
    """
    try:
        return json_format.ParseDict(value, into, descriptor_pool=pool())
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise errors.InvalidArgument(f"Invalid JSON payload in {where}: {error}") from error


def pack_any(value: Message, into: Any, version: str = "v1") -> None:
    """Puts a message into an Any under the type URL of the caller's API version."""
    name = value.DESCRIPTOR.full_name.replace(".aiplatform.v1.", f".aiplatform.{version}.")
    into.type_url = f"type.googleapis.com/{name}"
    into.value = value.SerializeToString(deterministic=True)
