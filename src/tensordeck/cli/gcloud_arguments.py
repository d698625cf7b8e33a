"""What the built-in gcloud's commands have in common: arguments as gcloud reads them."""

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from tensordeck.cli.vertex_api import VertexApi
from tensordeck.errors import InvalidArgument
from tensordeck.redirect.endpoint import Endpoint

__all__ = ["Command", "Group", "Invocation", "Merge", "pairs", "words"]

_OTHER_DELIMITER: Final = re.compile(r"\^(.+?)\^(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a group.

    Attributes:
        run: Does it; returns resources to print, or None if it has printed by itself.
        options: Adds its own options to a parser.
        takes_id: Whether its first argument names a resource.
        prints: Whether it prints resources also without `--format`.
    """

    run: "Callable[[Invocation], list[dict[str, Any]] | None]"
    options: Callable[[argparse.ArgumentParser], None] = lambda _parser: None
    takes_id: bool = False
    prints: bool = False

    def parser(self, prog: str) -> argparse.ArgumentParser:
        """What reads its command line.

        Args:
            prog: The command, as one types it.
        """
        result = argparse.ArgumentParser(prog=prog)
        if self.takes_id:
            result.add_argument("resource", metavar="ID", help="id or full resource name")
        self.options(result)
        result.add_argument("--region")
        result.add_argument("--project")
        result.add_argument("--format", default="")
        result.add_argument("--quiet", "-q", action="store_true")
        result.add_argument("--verbosity", help="accepted; this command says little anyway")
        return result


@dataclass(frozen=True, slots=True)
class Group:
    """A group of commands about one kind of resource.

    Attributes:
        name: As one types it, e.g. `custom-jobs`.
        collection: As resource names have it, e.g. `customJobs`.
        argument: What gcloud calls an argument that names one, e.g. `CUSTOM_JOB`.
        commands: The commands by their verbs.
    """

    name: str
    collection: str
    argument: str
    commands: Mapping[str, Command]


class Invocation:
    """One command line on its way.

    Attributes:
        endpoint: The server.
        options: What was parsed.
        parent: The region's full name.
        name: The resource's full name; empty where the command takes none.

    Args:
        endpoint: The server.
        environ: Where gcloud would look for a project and a region.
        options: What was parsed.
        group: The command's group.
        version: `v1` or `v1beta1`.

    Raises:
        InvalidArgument: If project or region are missing, or the resource's name is none.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        environ: Mapping[str, str],
        options: argparse.Namespace,
        group: Group,
        version: str,
    ) -> None:
        self.endpoint = endpoint
        self.options = options
        self._version = version
        self._group = group
        self.parent, self.name = self._place(environ)

    @cached_property
    def api(self) -> VertexApi:
        """The server's REST API."""
        return VertexApi(self.endpoint, self._version)

    def listed(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """The region's resources, as `--limit` and `--page-size` want them."""
        if self.options.page_size:
            query["pageSize"] = self.options.page_size
        collection = self._group.collection
        found = self.api.items(f"{self.parent}/{collection}", collection, query, self.options.limit)
        return list(found)

    def _place(self, environ: Mapping[str, str]) -> tuple[str, str]:
        """The region's name and, where one was given, the resource's."""
        given = getattr(self.options, "resource", "")
        collection = self._group.collection
        if "/" in given:
            parent, found, _ = given.rpartition(f"/{collection}/")
            if not found or not parent.startswith("projects/"):
                raise InvalidArgument(
                    f"Invalid value for [{self._group.argument}]: {given}. It is an id or "
                    f"projects/PROJECT/locations/REGION/{collection}/ID."
                )
            return parent, given
        region = self.options.region or environ.get("CLOUDSDK_AI_REGION")
        project = self.options.project or environ.get("CLOUDSDK_CORE_PROJECT")
        for value, flag in ((region, "region"), (project, "project")):
            if not value:
                raise InvalidArgument(f"--{flag} must be specified.")
        parent = f"projects/{project}/locations/{region}"
        return parent, f"{parent}/{collection}/{given}" if given else ""


def list_options(target: argparse.ArgumentParser) -> None:
    """Adds the options of a command that lists."""
    target.add_argument("--limit", type=int)
    target.add_argument("--page-size", type=int)


class Merge(argparse.Action):
    """Lets an option with pairs be repeated."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        """Adds the pairs to those there are."""
        setattr(namespace, self.dest, getattr(namespace, self.dest) | values)


def words(text: str) -> list[str]:
    """Splits a list at its commas, or at `;` if it begins with `^;^` (`gcloud topic escaping`)."""
    other = _OTHER_DELIMITER.fullmatch(text)
    delimiter, rest = (other[1], other[2]) if other else (",", text)
    return rest.split(delimiter) if rest else []


def pairs(text: str) -> dict[str, str]:
    """Splits `KEY=VALUE,KEY=VALUE`.

    Raises:
        argparse.ArgumentTypeError: If it is of another form.
    """
    split = [word.partition("=") for word in words(text)]
    if not all(separator for _, separator, _ in split):
        raise argparse.ArgumentTypeError(f"Bad syntax for dict arg: [{text}].")
    return {key: value for key, _, value in split}
