"""Prints resources as gcloud does: YAML, JSON or chosen values (`gcloud topic formats`)."""

import json
import re
from collections.abc import Sequence
from typing import Any

from tensordeck.errors import InvalidArgument

__all__ = ["render"]

_PLAIN = re.compile(r"[A-Za-z_/][\w ./@+=-]*[\w./@+=-]|[A-Za-z_/]")
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_VALUE = re.compile(r"value\((?P<fields>(?:[\w.,\s-]|\.basename\(\))+)\)")


def render(resources: Sequence[dict[str, Any]], style: str, *, as_list: bool) -> str:
    """Returns the text for standard output.

    Args:
        resources: JSON objects of the API.
        style: `yaml` (also empty), `json`, or `value(FIELD, FIELD.KEY, FIELD.basename())`.
        as_list: Whether the command lists, which decides JSON's outer brackets.

    Raises:
        InvalidArgument: If the style is none of these.
    """
    if style in {"", "default", "yaml"}:
        return "---\n".join("".join(_yaml(resource, 0)) for resource in resources)
    if style == "json":
        return (
            json.dumps(list(resources) if as_list else resources[0], indent=2, sort_keys=True)
            + "\n"
        )
    if chosen := _VALUE.fullmatch(style):
        paths = [path.strip().split(".") for path in chosen["fields"].split(",")]
        return "".join(
            "\t".join(_at(resource, path) for path in paths) + "\n" for resource in resources
        )
    raise InvalidArgument(
        f"--format={style} needs the real gcloud; the built-in command knows yaml, json and "
        "value(FIELD, ...)."
    )


def _at(resource: Any, path: list[str]) -> str:
    for key in path:
        if key == "basename()":
            resource = str(resource).rpartition("/")[2]
        else:
            resource = resource.get(key, "") if isinstance(resource, dict) else ""
    return resource if isinstance(resource, str) else json.dumps(resource)


def _yaml(value: dict[str, Any], depth: int) -> list[str]:
    lines = []
    for key in sorted(value):
        item = value[key]
        if isinstance(item, dict) and item:
            lines.append(f"{'  ' * depth}{_scalar(key)}:\n")
            lines += _yaml(item, depth + 1)
        else:
            lines.append(f"{'  ' * depth}{_scalar(key)}: {_scalar(item)}\n")
    return lines


def _scalar(value: Any) -> str:
    """One value; text that YAML would read as something else is quoted."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    if value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    # Not JSON's escapes: YAML has no surrogate pairs.
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    plain = character.isprintable() and character not in {'"', "\\"}
    return character if plain else f"\\U{ord(character):08x}"
