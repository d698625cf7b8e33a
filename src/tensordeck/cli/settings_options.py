"""The options that say which store or server is meant, once for all typer commands."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["CaFile", "CredentialsFile", "DataDir", "DatabaseUrl", "Port", "Url"]

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
