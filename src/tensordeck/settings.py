"""Every setting, once.

A setting comes from the command line, else from `TENSORDECK_<NAME>`, else from `tensordeck.toml`
in the working directory, else from its default here.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from tensordeck.errors import InvalidArgument

_BOUNDS: Final = {
    "port": (0, 65535),
    "database_connections": (8, 10_000),
    "statement_seconds": (0, 86_400),
    "workers": (1, 256),
    "drain_seconds": (0, math.inf),
    "drain_delay_seconds": (0, math.inf),
    "slow_seconds": (0, math.inf),
    "metrics_port": (0, 65535),
    "parallel_jobs": (1, 1000),
    "keep_jobs_days": (0, math.inf),
}
"""The least and the largest value of a number, where not every number makes sense."""
_CHOICES: Final = {
    "log_level": ("debug", "info", "warning", "error"),
    "log_format": ("text", "json"),
    "executor": ("process", "container", "ray"),
}
"""What a text may be, where not every text makes sense."""
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `tensordeck serve` can be told.

    Attributes:
        data_dir: Where an embedded server keeps everything: database, blobs, CA, credentials.
        host: The address to listen on. Loopback unless told otherwise.
        port: The one TCP port.
        database_url: An SQLAlchemy URL; empty means SQLite in `data_dir`.
        database_connections: How many connections a process holds to PostgreSQL at most.
        statement_seconds: How long a statement that reads may take in PostgreSQL; 0 for no limit.
        read_replica_url: A streaming replica of the database that boards are read from.
        object_store: `file://`, `s3://`, `gs://` or `az://` URL; empty means `data_dir`.
        public_url: The URL that people open, when a load balancer stands before the server.
        server_names: Further host names that the server's certificate must cover.
        tls_cert: PEM file with a certificate of your own for the server's address, and its chain;
            empty means one of the server's own authority.
        tls_key: PEM file with its key.
        plaintext_networks: Networks (`10.0.0.0/8`) whose callers may come without TLS, a load
            balancer's for instance. This machine always may.
        upstream_proxy: `http://host:port` that the gateway tunnels through, if any.
        log_level: `debug`, `info`, `warning` or `error`.
        log_format: `text`, or `json` with an object a line.
        slow_seconds: A request that takes longer is told of in the log.
        metrics_token_file: A file with a bearer token that opens `/metrics` and nothing else.
        metrics_host: The address of the port for metrics.
        metrics_port: A further port that has only `/metrics`, for whoever can reach it; 0 for none.
        workers: How many processes serve.
        drain_seconds: How long requests in flight may take once no more connections are taken.
        drain_delay_seconds: How long, after a stop was asked for, connections are still taken, so
            that load balancers have time to notice.
        run_jobs: Whether this server runs training jobs; otherwise they wait for one that does.
        executor: What runs their replicas: `process`, `container` or `ray`.
        parallel_jobs: How many jobs run at a time; the others wait.
        job_images: A TOML file that says what stands for container images; empty means the one
            that comes with the server.
        system_metrics: Whether to record what jobs use: cores, memory, disk, accelerators.
        keep_jobs_days: How long a job's files stay on this host after its end; its logs stay.
        allow_missing_accelerators: Whether a job may run without an accelerator that it asks for
            and that is not here.
        container_engine: The command of the container executor's engine; empty means docker or
            podman, whichever is there.
        ray_address: Of the dashboard of the Ray executor's cluster.
        ray_autoscaling: Whether that cluster starts the nodes that jobs ask for. If not, a job
            that asks for a larger machine gets the largest that is there.
    """

    data_dir: Path = Path("tensordeck-data")
    host: str = "127.0.0.1"
    port: int = 6060
    database_url: str = ""
    database_connections: int = 32
    statement_seconds: float = 60.0
    read_replica_url: str = ""
    object_store: str = ""
    public_url: str = ""
    server_names: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    plaintext_networks: tuple[str, ...] = ()
    upstream_proxy: str = ""
    log_level: str = "info"
    log_format: str = "text"
    slow_seconds: float = 5.0
    metrics_token_file: str = ""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    workers: int = 1
    drain_seconds: float = 4.0
    drain_delay_seconds: float = 0.0
    run_jobs: bool = True
    executor: str = "process"
    parallel_jobs: int = 4
    job_images: str = ""
    system_metrics: bool = True
    keep_jobs_days: float = 7.0
    allow_missing_accelerators: bool = False
    container_engine: str = ""
    ray_address: str = "http://127.0.0.1:8265"
    ray_autoscaling: bool = False

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
            variable = cls.variable(field.name)
            sources = (
                ("the command line", (given or {}).get(field.name)),
                (variable, environ.get(variable) or None),
                (str(file), from_file.get(field.name, from_file.get(field.name.replace("_", "-")))),
            )
            for source, value in sources:
                if value is not None:
                    values[field.name] = cls.read(field.name, value, source)
                    break
        return cls(**values)

    @staticmethod
    def variable(name: str) -> str:
        """The environment variable of a setting, e.g. `TENSORDECK_PORT`."""
        return f"TENSORDECK_{name.upper()}"

    @classmethod
    def read(cls, name: str, value: Any, source: str = "") -> Any:
        """Converts a value to its setting's type, which the default has.

        Args:
            name: The setting.
            value: Text, or what a TOML file has for it.
            source: Where it stands, for the message.

        Raises:
            InvalidArgument: If it can't be; the message names the setting, value and source.
        """
        default = next(field.default for field in fields(cls) if field.name == name)
        wrong = f"{name.replace('_', '-')} can't be {value!r}"
        where = f" (from {source})" if source else ""
        try:
            result = _converted(value, default)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgument(f"{wrong}{where}.") from error
        if name in _BOUNDS and not _BOUNDS[name][0] <= result <= _BOUNDS[name][1]:
            least, most = _BOUNDS[name]
            range_ = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
            raise InvalidArgument(f"{wrong}{where}: it is a number {range_}.")
        if name in _CHOICES and result not in _CHOICES[name]:
            raise InvalidArgument(f"{wrong}{where}: choose one of {', '.join(_CHOICES[name])}.")
        return result


def _parsed(file: Path) -> dict[str, Any]:
    """Reads the TOML file."""
    # `tensordeck exec` starts before every script: it should not wait for a parser it rarely needs.
    import tomllib  # noqa: PLC0415

    try:
        return tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{file} can't be read: {error}") from error


def _converted(value: Any, default: Any) -> Any:
    """A value in its default's type. Raises KeyError, TypeError or ValueError."""
    if isinstance(default, tuple):
        return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
    if isinstance(default, bool):  # bool("false") is True
        return _FLAGS[str(value).lower()]
    return Path(value) if isinstance(default, Path) else type(default)(value)
