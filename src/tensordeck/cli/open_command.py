"""`tensordeck open`: the address of a resource's page on our server."""

import sys
from typing import Annotated
from urllib.parse import SplitResult, quote, unquote, urlsplit

import typer

from tensordeck.board.address import forwarded, parse_address, path_of
from tensordeck.cli.endpoint import locate, require_answer
from tensordeck.cli.opened_store import opened_access
from tensordeck.cli.settings_options import DatabaseUrl, DataDir
from tensordeck.errors import InvalidArgument
from tensordeck.names import ResourceName

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
        return _printed(urlsplit(resource))
    name = ResourceName.parse(resource.strip("/"), "RESOURCE")
    path = forwarded("experiment", str(name))
    if path is None:
        raise InvalidArgument(
            f"{resource} has no page; instances, experiments and runs have, e.g. "
            "projects/PROJECT/locations/REGION/tensorboards/ID/experiments/ID."
        )
    return path


def _printed(address: SplitResult) -> str:
    """The path of a board's address as the client, or one of our pages, printed it."""
    _, kind, text = (*address.path.split("/", 2), "", "")[:3]
    text = unquote(text.strip("/"))
    if kind not in {"experiment", "compare"} or not text:
        raise InvalidArgument(
            f"{address.geturl()} is no board's address; that has /experiment/ or /compare/ in it."
        )
    path = forwarded(kind, text)
    if path is None:
        path = path_of(kind, parse_address(kind, text).text)
    query = f"?{address.query}" if address.query and "?" not in path else ""
    fragment = f"#{address.fragment}" if address.fragment else ""
    return f"{path}{query}{fragment}"
