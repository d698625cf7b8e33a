"""The built-in gcloud's `ai tensorboards`."""

import argparse
import sys
from typing import Any, Final

from tensordeck.cli.gcloud_arguments import (
    Command,
    Group,
    Invocation,
    Merge,
    list_options,
    pairs,
)
from tensordeck.errors import InvalidArgument

__all__ = ["GROUP"]


def _create_options(target: argparse.ArgumentParser) -> None:
    target.add_argument("--display-name", required=True)
    target.add_argument("--description")
    target.add_argument("--labels", type=pairs, action=Merge, default={})


def _create(call: Invocation) -> list[dict[str, Any]]:
    options = call.options
    body = {"displayName": options.display_name}
    if options.description:
        body["description"] = options.description
    if options.labels:
        body["labels"] = options.labels
    operation = call.api.call("POST", f"{call.parent}/tensorboards", body=body)
    resource = _finished(operation)
    print(f"Created Vertex AI Tensorboard: {resource['name']}.", file=sys.stderr)
    return [resource]


def _describe(call: Invocation) -> list[dict[str, Any]]:
    return [call.api.call("GET", call.name)]


def _list_options(target: argparse.ArgumentParser) -> None:
    target.add_argument("--sort-by", default="")
    list_options(target)


def _list(call: Invocation) -> list[dict[str, Any]]:
    query: dict[str, Any] = {}
    if call.options.sort_by:
        query["orderBy"] = ", ".join(
            f"{key[1:]} desc" if key.startswith("~") else key
            for key in call.options.sort_by.split(",")
        )
    return call.listed(query)


def _update_options(target: argparse.ArgumentParser) -> None:
    target.add_argument("--display-name")
    target.add_argument("--description")
    target.add_argument("--update-labels", type=pairs, action=Merge, default={})
    target.add_argument("--remove-labels", type=lambda text: text.split(","), default=[])
    target.add_argument("--clear-labels", action="store_true")


def _update(call: Invocation) -> list[dict[str, Any]]:
    options = call.options
    body: dict[str, Any] = {}
    mask = []
    if options.update_labels or options.remove_labels or options.clear_labels:
        labels = {}
        if not options.clear_labels:
            labels = dict(call.api.call("GET", call.name).get("labels", {}))
        labels |= options.update_labels
        body["labels"] = {k: v for k, v in labels.items() if k not in options.remove_labels}
        mask.append("labels")
    for field, key in (("display_name", "displayName"), ("description", "description")):
        if getattr(options, field) is not None:
            body[key] = getattr(options, field)
            mask.append(field)
    if not mask:
        raise InvalidArgument(
            "At least one of --display-name, --description, --update-labels, --remove-labels, "
            "--clear-labels must be specified."
        )
    operation = call.api.call("PATCH", call.name, {"updateMask": ",".join(mask)}, body)
    print(f"Updated Vertex AI Tensorboard [{operation['name']}].", file=sys.stderr)
    return [operation]


def _delete(call: Invocation) -> list[dict[str, Any]]:
    operation = call.api.call("DELETE", call.name)
    _finished(operation)
    return [operation]


def _finished(operation: dict[str, Any]) -> dict[str, Any]:
    """The result of an operation. Our server's are done when they are returned."""
    identifier = operation["name"].rpartition("/")[2]
    print(f"Waiting for operation [{identifier}]...done.", file=sys.stderr)
    response: dict[str, Any] = operation.get("response", {})
    return response


GROUP: Final = Group(
    "tensorboards",
    "tensorboards",
    "TENSORBOARD",
    {
        "create": Command(_create, _create_options),
        "describe": Command(_describe, takes_id=True, prints=True),
        "list": Command(_list, _list_options, prints=True),
        "update": Command(_update, _update_options, takes_id=True),
        "delete": Command(_delete, takes_id=True),
    },
)
"""The commands."""
