"""`tensordeck serve`: starts the server and says how to use it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensordeck import __version__
from tensordeck.cli.settings_options import DatabaseUrl, DataDir, ObjectStore
from tensordeck.settings import Settings

if TYPE_CHECKING:
    from tensordeck.server import Running

__all__ = ["serve"]


def serve(
    data_dir: DataDir = None,
    host: Annotated[
        str | None,
        typer.Option(
            envvar="TENSORDECK_HOST",
            help="Address to listen on.  [default: 127.0.0.1, this machine only]",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            envvar="TENSORDECK_PORT",
            metavar="N",
            help="The one port for everything; 0 picks a free one.  [default: 6060]",
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    object_store: ObjectStore = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            envvar="TENSORDECK_PUBLIC_URL",
            metavar="URL",
            help="The address that people open, when a load balancer stands before the server.",
        ),
    ] = None,
    server_names: Annotated[
        str | None,
        typer.Option(
            envvar="TENSORDECK_SERVER_NAMES",
            metavar="NAME,...",
            help="Further host names that the server's certificate must cover.",
        ),
    ] = None,
    plaintext_networks: Annotated[
        str | None,
        typer.Option(
            envvar="TENSORDECK_PLAINTEXT_NETWORKS",
            metavar="NETWORK,...",
            help="Networks whose callers may come without TLS, e.g. a load balancer's 10.0.0.0/8.",
        ),
    ] = None,
    upstream_proxy: Annotated[
        str | None,
        typer.Option(
            envvar="TENSORDECK_UPSTREAM_PROXY",
            metavar="URL",
            help="http://host:port that calls to other hosts are tunnelled through.",
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            envvar="TENSORDECK_LOG_LEVEL",
            metavar="LEVEL",
            help="debug, info, warning or error.  [default: info]",
        ),
    ] = None,
    drain_seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            envvar="TENSORDECK_DRAIN_SECONDS",
            metavar="SECONDS",
            help="How long requests in flight may take after Ctrl-C or SIGTERM.  [default: 4]",
        ),
    ] = None,
) -> None:
    """Start the server.

    With no options it keeps everything in ./tensordeck-data and listens on
    http://localhost:6060. A setting may also stand in the environment or in ./tensordeck.toml.
    """
    settings = Settings.load(
        {
            "data_dir": data_dir,
            "host": host,
            "port": port,
            "database_url": database_url,
            "object_store": object_store,
            "public_url": public_url,
            "server_names": server_names,
            "plaintext_networks": plaintext_networks,
            "upstream_proxy": upstream_proxy,
            "log_level": log_level,
            "drain_seconds": drain_seconds,
        }
    )
    from tensordeck import server

    server.run(settings, _greet)


def _greet(running: "Running") -> None:
    """Prints where the server is and how to point a script at it."""
    where = _data_dir_option(running.data_dir)
    lines = (
        ("server", running.url),
        ("data", str(running.data_dir)),
        ("scripts", f"tensordeck exec{where} -- python your_script.py"),
        ("browser", running.sign_in_url),
    )
    typer.secho(f"Tensordeck {__version__} is ready. Ctrl-C stops it.", bold=True)
    for label, text in lines:
        typer.echo(f"  {typer.style(f'{label:8}', dim=True)} {text}")


def _data_dir_option(data_dir: Path) -> str:
    """How a command line names this data directory; nothing where it is the default."""
    default = Settings().data_dir.absolute()
    return "" if data_dir.absolute() == default else f" --data-dir {shlex.quote(str(data_dir))}"
