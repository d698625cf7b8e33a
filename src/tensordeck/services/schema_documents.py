"""Metadata schemas as documents: OpenAPI 3.0 schema objects in YAML or JSON, and what fits them.

The form is that of `MetadataSchema.schema`: https://spec.openapis.org/oas/v3.0.2#schema-object. It
differs from JSON Schema in few words, which are translated; a library does the rest.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from tensordeck.errors import InvalidArgument
from tensordeck.names import shown
from tensordeck.store.resources import Json

__all__ = ["SchemaDocument", "read_schema"]

SIZE_LIMIT: Final = 64 * 1024
_DEPTH: Final = 32
_FIELD: Final = "metadata_schema.schema"
_BOUNDS: Final = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_ERRORS: Final = 3


class SchemaDocument(Struct, frozen=True):
    """A schema that was read.

    Attributes:
        title: What resources name it by, `user.Thing`.
        errors_of: Says where metadata does not fit it, the first few places.
    """

    title: str
    errors_of: Callable[[Json], list[str]]


@lru_cache(maxsize=256)
def read_schema(text: str) -> SchemaDocument:
    """Reads a schema.

    Raises:
        InvalidArgument: If it is no YAML, has no `title`, is no schema, or refers to another
            document.
    """
    import jsonschema_rs  # noqa: PLC0415 -- hardly any server ever meets a schema

    document = _read_yaml(text)
    title = document.get("title")
    if not isinstance(title, str) or not title.strip():
        raise InvalidArgument(f"`{_FIELD}` must have a `title`, such as `user.Dataset`.")
    try:
        validator = jsonschema_rs.Draft202012Validator(
            _translated(document),
            retriever=_retrieve_nothing,
            pattern_options=jsonschema_rs.RegexOptions(),  # linear in time, whatever the pattern
        )
    except (ValueError, RecursionError) as error:  # both of the library's errors are ValueErrors
        reason = str(error).splitlines()[0] if str(error) else "it nests too deep"
        raise InvalidArgument(
            f"`{_FIELD}` is no OpenAPI 3.0 schema object: {shown(reason, 400)}."
        ) from None

    def errors_of(metadata: Json) -> list[str]:
        found: list[str] = []
        for error in validator.iter_errors(_finite(metadata)):
            path = ".".join(["metadata", *(str(part) for part in error.instance_path)])
            found.append(f"`{path}`: {shown(error.message, 200)}")
            if len(found) == _ERRORS:
                break
        return found

    return SchemaDocument(title.strip(), errors_of)


def _read_yaml(text: str) -> Json:
    import yaml  # noqa: PLC0415 -- as above

    if len(text.encode()) > SIZE_LIMIT:
        raise InvalidArgument(f"`{_FIELD}` must be at most {SIZE_LIMIT} bytes.")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # An alias may stand for a document that itself is full of aliases: a billion laughs.
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise InvalidArgument(f"`{_FIELD}` must not use YAML aliases (`*name`).")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH:
                raise InvalidArgument(f"`{_FIELD}` must not nest deeper than {_DEPTH} levels.")
        document = yaml.load(text, Loader=loader)  # noqa: S506 -- a safe one, whichever it is
    except (yaml.YAMLError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" at line {place.line + 1}, column {place.column + 1}" if place else ""
        raise InvalidArgument(f"`{_FIELD}` is neither YAML nor JSON{where}.") from None
    if not isinstance(document, dict):
        raise InvalidArgument(f"`{_FIELD}` must be YAML or JSON of an object with a `title`.")
    return document


def _translated(schema: Any) -> Any:
    """A schema object as JSON Schema says it; what both say alike stays."""
    if isinstance(schema, list):
        return [_translated(item) for item in schema]
    if not isinstance(schema, dict):
        # Dates that YAML reads as such, and so on: texts in JSON.
        return schema if isinstance(schema, str | int | float | None) else str(schema)
    result = {str(key): _translated(value) for key, value in schema.items()}
    # A property may be called so, too; that is an object.
    if isinstance(result.get("nullable"), bool) and result.pop("nullable"):
        if isinstance(result.get("type"), str):
            result["type"] = [result["type"], "null"]
        if isinstance(result.get("enum"), list):
            result["enum"] = [*result["enum"], None]
    for exclusive, inclusive in _BOUNDS.items():
        if result.get(exclusive) is True and inclusive in result:
            result[exclusive] = result.pop(inclusive)
        elif isinstance(result.get(exclusive), bool):
            del result[exclusive]
    return result


def _finite(value: Any) -> Any:
    """Metadata with the numbers that JSON lacks as others, which are numbers too."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return 0.0 if isinstance(value, float) and not math.isfinite(value) else value


def _retrieve_nothing(uri: str) -> Any:
    raise ValueError(f"{uri} is another document, which is not read")
