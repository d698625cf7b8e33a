"""`tensordeck sign-in`: a fresh link that signs a browser in."""

from typing import Annotated

import typer

from tensordeck.cli.endpoint import locate
from tensordeck.cli.opened_store import opened_access
from tensordeck.cli.settings_options import DatabaseUrl, DataDir

__all__ = ["sign_in"]


def sign_in(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The address that the browser will use.  [default: the running server's]",
        ),
    ] = None,
) -> None:
    """Print a link that signs a browser in.

    Whoever opens it acts as the owner: pass it on like a password.
    """
    with opened_access(data_dir, database_url) as (access, settings):
        address = url or settings.public_url
        if not address:
            address = locate(data_dir=str(settings.data_dir), environ={}).url
        print(access.sign_in_link(address.rstrip("/")))
