"""Every setting, once.

A setting comes from the command line, else from `TENSORDECK_<NAME>`, else from `tensordeck.toml`
in the working directory, else from its default here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from tensordeck.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `tensordeck serve` can be told.

    Attributes:
        data_dir: Where an embedded server keeps everything: database, blobs, CA, credentials.
        host: The address to listen on. Loopback unless told otherwise.
        port: The one TCP port.
        database_url: An SQLAlchemy URL; empty means SQLite in `data_dir`.
        object_store: `file://`, `s3://`, `gs://` or `az://` URL; empty means `data_dir`.
        public_url: The URL that people open, when a load balancer stands before the server.
        server_names: Further host names that the server's certificate must cover.
        plaintext_networks: Networks (`10.0.0.0/8`) whose callers may come without TLS, a load
            balancer's for instance. This machine always may.
        upstream_proxy: `http://host:port` that the gateway tunnels through, if any.
        log_level: `debug`, `info`, `warning` or `error`.
        drain_seconds: How long requests in flight may take once a stop was asked for.
    """

    data_dir: Path = Path("tensordeck-data")
    host: str = "127.0.0.1"
    port: int = 6060
    database_url: str = ""
    object_store: str = ""
    public_url: str = ""
    server_names: tuple[str, ...] = ()
    plaintext_networks: tuple[str, ...] = ()
    upstream_proxy: str = ""
    log_level: str = "info"
    drain_seconds: float = 4.0

    @classmethod
    def load(
        cls,
        given: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] = os.environ,
        file: Path = Path("tensordeck.toml"),
    ) -> Self:
        """Gathers the settings.

        Args:
            given: What the command line said; `None` values count as not said.
            environ: The environment.
            file: The TOML file, which need not exist.

        Raises:
            InvalidArgument: If a value can't be read; the message names the setting and its source.
        """
        from_file = _parsed(file) if file.is_file() else {}
        known = {field.name for field in fields(cls)}
        if unknown := sorted({key.replace("-", "_") for key in from_file} - known):
            raise InvalidArgument(f"{file}: unknown setting {', '.join(unknown)}.")
        values: dict[str, Any] = {}
        for field in fields(cls):
            variable = f"TENSORDECK_{field.name.upper()}"
            sources = (
                ("the command line", (given or {}).get(field.name)),
                (variable, environ.get(variable) or None),
                (str(file), from_file.get(field.name, from_file.get(field.name.replace("_", "-")))),
            )
            for source, value in sources:
                if value is not None:
                    values[field.name] = _read(field.name, value, field.default, source)
                    break
        return cls(**values)


def _parsed(file: Path) -> dict[str, Any]:
    """Reads the TOML file."""
    # `tensordeck exec` starts before every script: it should not wait for a parser it rarely needs.
    import tomllib  # noqa: PLC0415

    try:
        return tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{file} can't be read: {error}") from error


def _read(name: str, value: Any, default: Any, source: str) -> Any:
    """Converts a value to its setting's type, which the default has."""
    try:
        if isinstance(default, tuple):
            return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
        return type(default)(value) if not isinstance(default, Path) else Path(value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{name.replace('_', '-')} can't be {value!r} (from {source})."
        ) from error
