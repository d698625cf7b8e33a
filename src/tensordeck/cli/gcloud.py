"""gcloud for machines without gcloud: its grammar for Tensorboards and custom jobs, our program.

`tensordeck exec -- gcloud` runs it when there is no gcloud on the PATH. Grammar and output
follow https://cloud.google.com/sdk/gcloud/reference/ai.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from tensordeck.cli import gcloud_custom_jobs, gcloud_tensorboards
from tensordeck.cli.gcloud_arguments import Group, Invocation
from tensordeck.cli.gcloud_format import render
from tensordeck.errors import TensordeckError
from tensordeck.redirect.endpoint import Endpoint

__all__ = ["main"]

_GROUPS: Final[dict[str, Group]] = {
    group.name: group for group in (gcloud_tensorboards.GROUP, gcloud_custom_jobs.GROUP)
}


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
    group = _GROUPS.get(words[1]) if words[:1] == ["ai"] and words[2:] else None
    command = group.commands.get(words[2]) if group else None
    if group is None or command is None:
        known = "; ".join(
            f"gcloud ai {group.name} {{{'|'.join(group.commands)}}}" for group in _GROUPS.values()
        )
        print(
            f"ERROR: (gcloud) gcloud is not installed. The built-in command knows {known}. For all "
            "else install https://cloud.google.com/sdk.",
            file=sys.stderr,
        )
        return 2
    name = f"{group.name}.{words[2]}"
    options = command.parser(f"gcloud ai {group.name} {words[2]}").parse_args(words[3:])
    try:
        call = Invocation(endpoint, environ, options, group, "v1beta1" if track else "v1")
        print(f"Using endpoint [{endpoint.url}/]", file=sys.stderr)
        resources = command.run(call)
        if resources is not None and (command.prints or options.format):
            as_list = words[2] == "list"
            if as_list and not resources:
                print("Listed 0 items.", file=sys.stderr)
            sys.stdout.write(render(resources, options.format, as_list=as_list))
    except TensordeckError as error:
        print(f"ERROR: (gcloud.ai.{name}) {error.message}", file=sys.stderr)
        return 1
    return 0
