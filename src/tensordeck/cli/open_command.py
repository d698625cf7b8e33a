"""`tensordeck open`: the address of a resource's page on our server."""

import re
import sys
from typing import Annotated
from urllib.parse import quote, urlsplit

import typer

from tensordeck.cli.endpoint import locate, require_answer
from tensordeck.cli.opened_store import opened_access
from tensordeck.cli.settings_options import DatabaseUrl, DataDir
from tensordeck.errors import InvalidArgument
from tensordeck.names import EXPERIMENT, RUN, TENSORBOARD, ResourceName, board_id

__all__ = ["open_resource", "page_path"]


def open_resource(
    resource: Annotated[
        str,
        typer.Argument(
            help="An instance, experiment or run by its full name, or a board's URL as the "
            "client prints it. Nothing means the list of instances.",
        ),
    ] = "",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", help="The server's port.  [default: where it says it listens]"),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="TENSORDECK_URL",
            metavar="URL",
            help="A remote server; the browser must be signed in there already.",
        ),
    ] = None,
    browser: Annotated[
        bool | None,
        typer.Option(
            "--browser/--no-browser",
            help="Open it, signed in, besides printing it.  [default: in a terminal]",
        ),
    ] = None,
) -> None:
    """Print the address of a dashboard, and open it.

    The host of a URL that the client printed is replaced by the server's own.
    """
    path = page_path(resource)
    if url is not None:
        print(url.rstrip("/") + path)
        link = url.rstrip("/") + path
    else:
        endpoint = locate(data_dir=str(data_dir) if data_dir else None, port=port, environ={})
        require_answer(endpoint)
        link = endpoint.url + path
        print(link)
    wanted = sys.stdout.isatty() if browser is None else browser
    if not wanted:
        return
    if url is None:
        with opened_access(data_dir, database_url) as (access, _):
            link = f"{access.sign_in_link(endpoint.url)}&next={quote(path, safe='')}"
    import webbrowser

    if not webbrowser.open(link) and browser:
        print("No browser could be started; open the address above.", file=sys.stderr)


def page_path(resource: str) -> str:
    """The path of a resource's page.

    Args:
        resource: A full resource name, a board's URL on any host, or nothing.

    Raises:
        InvalidArgument: If it is none of these.
    """
    if not resource:
        return "/"
    if "://" in resource:
        address = urlsplit(resource)
        if not address.path.startswith(("/experiment/", "/compare/")):
            raise InvalidArgument(
                f"{resource} is no board's address; that has /experiment/ or /compare/ in it."
            )
        after = address.path.removeprefix("/experiment/").rstrip("/")
        if after.startswith("projects/"):
            # Scripts put a resource name after /experiment/ as it is, often an instance's.
            return page_path(after)
        query = f"?{address.query}" if address.query else ""
        fragment = f"#{address.fragment}" if address.fragment else ""
        return f"{address.path.rstrip('/')}/{query}{fragment}"
    name = ResourceName.parse(resource.strip("/"), "RESOURCE")
    if name.collections == TENSORBOARD:
        return f"/{_quoted(str(name))}"
    if name.collections == EXPERIMENT:
        return f"/experiment/{_quoted(board_id(str(name)))}/"
    if name.collections == RUN:
        shown = quote("^" + re.escape(name.id) + "$", safe="")
        return f"/experiment/{_quoted(board_id(str(name.parent)))}/?runFilter={shown}"
    raise InvalidArgument(
        f"{resource} has no page; instances, experiments and runs have, e.g. "
        "projects/PROJECT/locations/REGION/tensorboards/ID/experiments/ID."
    )


def _quoted(text: str) -> str:
    return quote(text, safe="/+:@")
