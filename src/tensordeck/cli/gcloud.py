"""`gcloud ai tensorboards ...` for machines without gcloud: its grammar, our small program.

`tensordeck exec -- gcloud` runs it when there is no gcloud on the PATH. Grammar and output
follow https://cloud.google.com/sdk/gcloud/reference/ai/tensorboards.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tensordeck.cli.gcloud_format import render
from tensordeck.cli.vertex_api import VertexApi
from tensordeck.errors import InvalidArgument, TensordeckError
from tensordeck.redirect.endpoint import Endpoint

__all__ = ["main"]

_VERBS: Final = ("create", "describe", "list", "update", "delete")


def main(endpoint: Endpoint, environ: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Runs one gcloud command line.

    Args:
        endpoint: The server to call.
        environ: Where gcloud would look for a project and a region.
        arguments: What follows `gcloud`.

    Returns:
        The exit status that gcloud would have.
    """
    words = list(arguments)
    track = words.pop(0) if words[:1] in (["alpha"], ["beta"]) else ""
    if words[:2] != ["ai", "tensorboards"] or words[2:3] not in [[verb] for verb in _VERBS]:
        print(
            "ERROR: (gcloud) gcloud is not installed. The built-in command knows "
            f"`gcloud ai tensorboards {{{'|'.join(_VERBS)}}}`; for all else install "
            "https://cloud.google.com/sdk.",
            file=sys.stderr,
        )
        return 2
    verb = words[2]
    options = _parser(verb).parse_args(words[3:])
    try:
        _run(endpoint, environ, verb, options, "v1beta1" if track else "v1")
    except TensordeckError as error:
        print(f"ERROR: (gcloud.ai.tensorboards.{verb}) {error.message}", file=sys.stderr)
        return 1
    return 0


def _parser(verb: str) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog=f"gcloud ai tensorboards {verb}")
    if verb in {"describe", "update", "delete"}:
        result.add_argument("tensorboard", metavar="TENSORBOARD", help="id or full resource name")
    if verb in {"create", "update"}:
        result.add_argument("--display-name", required=verb == "create")
        result.add_argument("--description")
    if verb == "create":
        result.add_argument("--labels", type=_labels, action=_Merge, default={})
    if verb == "update":
        result.add_argument("--update-labels", type=_labels, action=_Merge, default={})
        result.add_argument("--remove-labels", type=lambda text: text.split(","), default=[])
        result.add_argument("--clear-labels", action="store_true")
    if verb == "list":
        result.add_argument("--sort-by", default="")
        result.add_argument("--limit", type=int)
        result.add_argument("--page-size", type=int)
    result.add_argument("--region")
    result.add_argument("--project")
    result.add_argument("--format", default="")
    result.add_argument("--quiet", "-q", action="store_true")
    result.add_argument("--verbosity", help="accepted; this command says little anyway")
    return result


class _Merge(argparse.Action):
    """Lets `--labels` be repeated."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        setattr(namespace, self.dest, getattr(namespace, self.dest) | values)


def _labels(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(separator for _, separator, _ in pairs):
        raise argparse.ArgumentTypeError(f"Bad syntax for dict arg: [{text}].")
    return {key: value for key, _, value in pairs}


def _run(
    endpoint: Endpoint,
    environ: Mapping[str, str],
    verb: str,
    options: argparse.Namespace,
    version: str,
) -> None:
    parent, name = _place(options, environ)
    api = VertexApi(endpoint, version)
    print(f"Using endpoint [{endpoint.url}/]", file=sys.stderr)
    commands: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "create": lambda: [_create(api, parent, options)],
        "describe": lambda: [api.call("GET", name)],
        "list": lambda: _list(api, parent, options),
        "update": lambda: [_update(api, name, options)],
        "delete": lambda: [_delete(api, name)],
    }
    resources = commands[verb]()
    if verb in {"create", "update", "delete"} and not options.format:
        return
    if verb == "list" and not resources:
        print("Listed 0 items.", file=sys.stderr)
    sys.stdout.write(render(resources, options.format, as_list=verb == "list"))


def _place(options: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, str]:
    """The region's name and, where one was given, the instance's."""
    given = getattr(options, "tensorboard", "")
    if "/" in given:
        parent, collection, _ = given.rpartition("/tensorboards/")
        if not collection or not parent.startswith("projects/"):
            raise InvalidArgument(
                f"Invalid value for [TENSORBOARD]: {given}. It is an id or "
                "projects/PROJECT/locations/REGION/tensorboards/ID."
            )
        return parent, given
    region = options.region or environ.get("CLOUDSDK_AI_REGION")
    project = options.project or environ.get("CLOUDSDK_CORE_PROJECT")
    for value, flag in ((region, "region"), (project, "project")):
        if not value:
            raise InvalidArgument(f"--{flag} must be specified.")
    parent = f"projects/{project}/locations/{region}"
    return parent, f"{parent}/tensorboards/{given}"


def _create(api: VertexApi, parent: str, options: argparse.Namespace) -> dict[str, Any]:
    body = {"displayName": options.display_name}
    if options.description:
        body["description"] = options.description
    if options.labels:
        body["labels"] = options.labels
    operation = api.call("POST", f"{parent}/tensorboards", body=body)
    resource = _finished(operation)
    print(f"Created Vertex AI Tensorboard: {resource['name']}.", file=sys.stderr)
    return resource


def _list(api: VertexApi, parent: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    query: dict[str, Any] = {}
    if options.page_size:
        query["pageSize"] = options.page_size
    if options.sort_by:
        query["orderBy"] = ", ".join(
            f"{key[1:]} desc" if key.startswith("~") else key for key in options.sort_by.split(",")
        )
    found: list[dict[str, Any]] = []
    while options.limit is None or len(found) < options.limit:
        reply = api.call("GET", f"{parent}/tensorboards", query)
        found += reply.get("tensorboards", [])
        query["pageToken"] = reply.get("nextPageToken", "")
        if not query["pageToken"]:
            break
    return found[: options.limit]


def _update(api: VertexApi, name: str, options: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {}
    mask = []
    if options.update_labels or options.remove_labels or options.clear_labels:
        labels = {} if options.clear_labels else dict(api.call("GET", name).get("labels", {}))
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
    operation = api.call("PATCH", name, {"updateMask": ",".join(mask)}, body)
    print(f"Updated Vertex AI Tensorboard [{operation['name']}].", file=sys.stderr)
    return operation


def _delete(api: VertexApi, name: str) -> dict[str, Any]:
    operation = api.call("DELETE", name)
    _finished(operation)
    return operation


def _finished(operation: dict[str, Any]) -> dict[str, Any]:
    """The result of an operation. Our server's are done when they are returned."""
    identifier = operation["name"].rpartition("/")[2]
    print(f"Waiting for operation [{identifier}]...done.", file=sys.stderr)
    response: dict[str, Any] = operation.get("response", {})
    return response
