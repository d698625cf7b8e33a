"""Messages from a Struct, which has doubles for every number and nulls for what is not set.

Training pipelines carry the spec of their job this way, with the field names of the API.
"""

from typing import Any, Final

from tensordeck import protos
from tensordeck.store.resources import Json

_WHOLE: Final = 2.0**53
"""Up to here a double tells every integer from the next one."""


def message_from_struct(value: Json, into: Any, where: str) -> Any:
    """Fills a message.

    Field names come in snake_case or camelCase. A null is what was never given; among repeated
    messages it is an empty one. A number or a flag where the message has a text becomes the text
    that a person would write: 4.0 is `4`.

    Args:
        value: The Struct as a dictionary.
        into: The message.
        where: What the Struct is called, for errors.

    Raises:
        InvalidArgument: If a field is unknown or its value does not fit; the message names it.
    """
    return protos.from_json(_fitted(value, into.DESCRIPTOR), into, where)


def _fitted(value: Any, descriptor: Any) -> Any:
    if not isinstance(value, dict):
        return value
    fitted = {}
    for key, content in value.items():
        if content is not None:
            field = descriptor.fields_by_name.get(key)
            if field is None:
                field = descriptor.fields_by_camelcase_name.get(key)
            fitted[key] = content if field is None else _of_field(content, field)
    return fitted


def _of_field(content: Any, field: Any) -> Any:
    if field.is_repeated and isinstance(content, list):
        if _is_own_message(field):
            return [_fitted({} if item is None else item, field.message_type) for item in content]
        return [_of_one(item, field) for item in content if item is not None]
    return _of_one(content, field)


def _of_one(content: Any, field: Any) -> Any:
    if _is_own_message(field):
        return _fitted(content, field.message_type)
    return _text(content) if field.type == field.TYPE_STRING else content


def _is_own_message(field: Any) -> bool:
    """Durations, Structs and the like have a JSON form of their own."""
    return field.message_type is not None and not (
        field.message_type.full_name.startswith("google.protobuf.")
    )


def _text(content: Any) -> Any:
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, float) and content.is_integer() and abs(content) <= _WHOLE:
        return str(int(content))
    return repr(content) if isinstance(content, int | float) else content
