"""Prints resources as gcloud does: YAML, JSON or chosen values (`gcloud topic formats`)."""

import json
import re
from collections.abc import Sequence
from typing import Any

from tensordeck.errors import InvalidArgument

__all__ = ["render"]

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
        return "---\n".join(map(_yaml, resources))
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


def _yaml(resource: dict[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML ships no types
        """Several lines of text stand as such; what can't be seen is escaped."""

    def text(dumper: Any, value: str) -> Any:
        printable = value.replace("\n", "").isprintable()
        style = ("|" if "\n" in value else None) if printable else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    dumped: str = yaml.dump(resource, Dumper=Dumper, default_flow_style=False, allow_unicode=True)
    return dumped
