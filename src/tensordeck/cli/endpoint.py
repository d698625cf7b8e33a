"""Finds the server that a command means, and makes sure that it answers.

Standard library only and light: `exec` and `env` pay for every import.
"""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tensordeck.errors import FailedPrecondition, InvalidArgument, Unavailable
from tensordeck.redirect.endpoint import Endpoint
from tensordeck.settings import Settings

__all__ = ["locate", "require_answer"]

TIMEOUT_SECONDS: Final = 5.0
"""How long a server may take to answer /healthz before a command gives up on it."""


def locate(
    *,
    data_dir: str | None = None,
    port: int | None = None,
    url: str | None = None,
    credentials: str | None = None,
    ca: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Endpoint:
    """Works out which server is meant; does not connect to it.

    A URL means a remote server. Otherwise it is the one on the data directory: at the port that
    was given, else where the running server says that it listens, else at the default port.

    Args:
        data_dir: `--data-dir`.
        port: `--port`.
        url: `--url`, or `TENSORDECK_URL`.
        credentials: `--credentials`, or `TENSORDECK_CREDENTIALS`.
        ca: `--ca`, or `TENSORDECK_CA`.
        environ: The environment.

    Raises:
        InvalidArgument: If options contradict each other or an address can't be read.
        FailedPrecondition: If a file that is needed does not exist.
    """
    if url is None and data_dir is None and port is None:
        url = environ.get("TENSORDECK_URL") or None
    if url is not None:
        return _remote(
            url,
            credentials or environ.get("TENSORDECK_CREDENTIALS") or None,
            ca or environ.get("TENSORDECK_CA") or None,
            environ,
        )
    settings = Settings.load({"data_dir": data_dir}, environ)
    folder = settings.data_dir.absolute()
    if not folder.is_dir():
        raise FailedPrecondition(
            f"There is no data directory {folder}. Start a server there with `tensordeck serve`, "
            "or name the right one with --data-dir."
        )
    running = _running(folder)
    host, listening = "127.0.0.1", port or settings.port
    if port is None and running is not None:
        host, listening = running
    return Endpoint(
        url=f"http://{'localhost' if host == '127.0.0.1' else host}:{listening}",
        host=host,
        port=listening,
        credentials=Path(credentials).absolute()
        if credentials
        else folder / "credentials" / "owner.json",
        ca_bundle=Path(ca).absolute() if ca else folder / "tls" / "bundle.pem",
        state_dir=folder / "gcloud",
        local=True,
    )


def require_answer(endpoint: Endpoint) -> None:
    """Asks the server's /healthz.

    Raises:
        Unavailable: If nothing answers, or something that is not a healthy Tensordeck does.
        InvalidArgument: If the server does not talk without TLS to this machine.
        FailedPrecondition: If a file that callers need is missing.
    """
    secure = endpoint.url.startswith("https:")
    request = (
        f"GET /healthz HTTP/1.1\r\nHost: {endpoint.host}\r\nConnection: close\r\n\r\n"
    ).encode()
    try:
        # A bare socket: http.client would double the time that `exec` adds to a script's start.
        with socket.create_connection((endpoint.host, endpoint.port), TIMEOUT_SECONDS) as plain:
            connection: socket.socket = plain
            if secure:
                import ssl

                context = ssl.create_default_context()
                if endpoint.ca_bundle.is_file():
                    context.load_verify_locations(endpoint.ca_bundle)
                connection = context.wrap_socket(plain, server_hostname=endpoint.host)
            connection.sendall(request)
            status = connection.makefile("rb").readline(256).split()
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            raise Unavailable(
                f"The certificate of {endpoint.url} is not trusted: name a copy of the server's "
                f"tls/bundle.pem with --ca ({reason})."
            ) from error
        start = "Start one with `tensordeck serve`" if endpoint.local else "Check --url"
        raise Unavailable(
            f"No server answers at {endpoint.url} ({reason}). {start}, "
            "or say where it is with --data-dir, --port or --url."
        ) from error
    if len(status) < 2 or not status[0].startswith(b"HTTP/"):
        raise Unavailable(f"What answers at {endpoint.url} is not a Tensordeck server.")
    if status[1] == b"426":
        raise InvalidArgument(
            f"The server at {endpoint.host}:{endpoint.port} wants TLS from other machines; "
            f"write https:// instead of {endpoint.url}."
        )
    if status[1] != b"200":
        raise Unavailable(
            f"The server at {endpoint.url} does not take calls now "
            f"(/healthz answered {status[1].decode('latin-1')}); try again in a moment."
        )
    for file, option in ((endpoint.credentials, "credentials"), (endpoint.ca_bundle, "ca")):
        if not file.is_file():
            raise FailedPrecondition(
                f"A server answers at {endpoint.url}, but {file} does not exist. Name the data "
                f"directory of that server with --data-dir, or the file with --{option}."
            )


def _running(folder: Path) -> tuple[str, int] | None:
    """Host and port that the server on this data directory wrote down, if it did."""
    try:
        record = json.loads((folder / "server.json").read_text())
        port = int(record["port"])
        host, shown_port = split_address(record["url"])
    except (OSError, ValueError, KeyError, TypeError, InvalidArgument):
        return None
    # The URL is what people open. It may be a load balancer's, which the gateway is not behind.
    return ("127.0.0.1" if host == "localhost" or shown_port != port else host), port


def _remote(
    url: str, credentials: str | None, ca: str | None, environ: Mapping[str, str]
) -> Endpoint:
    host, port = split_address(url)
    if credentials is None:
        raise InvalidArgument(
            f"--url {url} needs --credentials FILE: the server's owner.json, or a key that "
            "`tensordeck keys create` made."
        )
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tensordeck"
    if ca is None:
        import certifi

        ca = certifi.where()
    return Endpoint(
        url=url.rstrip("/"),
        host=host,
        port=port,
        credentials=Path(credentials).absolute(),
        ca_bundle=Path(ca).absolute(),
        state_dir=cache / "gcloud",
        local=False,
    )


def split_address(url: str) -> tuple[str, int]:
    """Takes `http[s]://host[:port][/]` apart.

    Raises:
        InvalidArgument: If it is not of that form.
    """
    scheme, separator, rest = url.partition("://")
    address = rest.rstrip("/")
    bracket = address.rfind("]")
    colon = address.rfind(":")
    host, port = address, ""
    if colon > bracket:
        host, port = address[:colon], address[colon + 1 :]
    default = {"http": 80, "https": 443}.get(scheme)
    number = int(port) if port.isascii() and port.isdigit() else (default if not port else None)
    if not separator or not default or not host or "/" in address or "@" in address or not number:
        raise InvalidArgument(
            f"{url!r} is not a server's address; it looks like http://localhost:6060."
        )
    return host.strip("[]"), number
