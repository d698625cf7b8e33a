"""The options that say which store or server is meant, once for all typer commands."""

from pathlib import Path
from typing import Annotated

import typer

from tensordeck.cli.endpoint import locate, require_answer
from tensordeck.redirect.endpoint import Endpoint

__all__ = [
    "CaFile",
    "CredentialsFile",
    "DataDir",
    "DatabaseUrl",
    "Port",
    "Url",
    "endpoint_of",
]

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="TENSORDECK_DATA_DIR",
        metavar="DIR",
        help="Where an embedded server keeps everything.  [default: ./tensordeck-data]",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        envvar="TENSORDECK_DATABASE_URL",
        metavar="URL",
        help="The database of a server that does not keep it in its data directory.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(metavar="N", help="The server's port.  [default: where it says it listens]"),
]
Url = Annotated[
    str | None,
    typer.Option("--url", envvar="TENSORDECK_URL", metavar="URL", help="A remote server instead."),
]
CredentialsFile = Annotated[
    Path | None,
    typer.Option(
        "--credentials",
        envvar="TENSORDECK_CREDENTIALS",
        metavar="FILE",
        help="Credentials for it.  [default: the data directory's owner.json]",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="TENSORDECK_CA",
        metavar="FILE",
        help="PEM bundle that its certificate is checked against.",
    ),
]


def endpoint_of(
    data_dir: Path | None,
    port: int | None,
    url: str | None,
    credentials: Path | None,
    ca: Path | None,
) -> Endpoint:
    """The server that options mean; it answers. Raises as `locate` and `require_answer`."""
    endpoint = locate(
        data_dir=str(data_dir) if data_dir else None,
        port=port,
        url=url,
        credentials=str(credentials) if credentials else None,
        ca=str(ca) if ca else None,
    )
    require_answer(endpoint)
    return endpoint
