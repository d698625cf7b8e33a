"""`tensordeck serve`: starts the server and says how to use it.

Plain argparse, as `exec` and `env`: a server should not load another framework before itself.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tensordeck import __version__
from tensordeck.cli.styles import BOLD, FAINT, styled
from tensordeck.errors import InvalidArgument
from tensordeck.settings import Settings
from tensordeck.startup import lean_start, settle
from tensordeck.telemetry.logs import configure_logs
from tensordeck.telemetry.tracing import span_fields

if TYPE_CHECKING:
    from tensordeck.data_directory import Running

__all__ = ["SUMMARY", "parser", "run"]

SUMMARY: Final = "Start the server."

_OPTIONS: Final = {
    "data_dir": ("DIR", "where an embedded server keeps everything"),
    "host": ("ADDRESS", "address to listen on; the default is reached from this machine only"),
    "port": ("N", "the one port for everything; 0 picks a free one"),
    "database_url": ("URL", "database of a server that does not keep it in its data directory"),
    "database_connections": ("N", "how many connections to PostgreSQL it holds at most"),
    "statement_seconds": (
        "SECONDS",
        "a statement that reads from PostgreSQL for longer is ended; 0 for no limit",
    ),
    "read_replica_url": ("URL", "streaming replica of PostgreSQL that boards are read from"),
    "object_store": (
        "URL",
        "where blobs and files lie, if not in the data directory: file://, s3://, gs:// or az://",
    ),
    "public_url": (
        "URL",
        "address that people open, where a load balancer stands before it",
    ),
    "server_names": ("NAME,...", "further host names that the server's certificate must cover"),
    "tls_cert": ("FILE", "certificate of your own, with its chain, for the server's address; PEM"),
    "tls_key": ("FILE", "its key; SIGHUP has both read anew"),
    "plaintext_networks": (
        "NETWORK,...",
        "networks whose callers may come without TLS, e.g. a load balancer's 10.0.0.0/8",
    ),
    "upstream_proxy": ("URL", "http://host:port that calls to other hosts are tunnelled through"),
    "log_level": ("LEVEL", "debug, info, warning or error; debug tells of every request"),
    "log_format": ("FORM", "text, or json with an object a line"),
    "slow_seconds": ("SECONDS", "a request that takes longer is told of in the log"),
    "metrics_token_file": ("FILE", "holds a bearer token that opens /metrics and nothing else"),
    "metrics_host": ("ADDRESS", "address of the port for metrics"),
    "metrics_port": (
        "N",
        "a further port with /metrics alone, for whoever can reach it; 0 for none",
    ),
    "workers": ("N", "how many processes share the port and the work"),
    "drain_seconds": (
        "SECONDS",
        "how long requests in flight may take after Ctrl-C or SIGTERM",
    ),
    "drain_delay_seconds": (
        "SECONDS",
        "how long connections are still taken after that, while /readyz says no",
    ),
    "run_jobs": ("BOOL", "whether this server runs training jobs"),
    "executor": ("NAME", "what runs them: process, container or ray"),
    "parallel_jobs": ("N", "how many jobs run at a time; the others wait"),
    "job_images": ("FILE", "TOML file that says what stands for container images in jobs"),
    "system_metrics": ("BOOL", "whether to record what jobs use of this machine"),
    "keep_jobs_days": ("DAYS", "how long a job's files stay after its end; its logs stay"),
    "allow_missing_accelerators": (
        "BOOL",
        "whether a job may run without an accelerator that it asks for and that is not here",
    ),
    "container_engine": (
        "COMMAND",
        "the container executor's engine, if not docker or podman, whichever is there",
    ),
    "ray_address": ("URL", "dashboard of the ray executor's cluster"),
    "ray_autoscaling": ("BOOL", "whether that cluster starts the nodes that jobs ask for"),
}
"""What the value of each setting's option is called, and what the option says of itself."""


def parser() -> argparse.ArgumentParser:
    """The command's options: one a setting, in the order of `Settings`."""
    result = argparse.ArgumentParser(
        prog="tensordeck serve",
        usage="tensordeck serve [OPTIONS]",
        description=SUMMARY,
        epilog="With no options it keeps everything in ./tensordeck-data and listens on\n"
        "http://localhost:6060. Each setting may also stand in the environment variable that is\n"
        "named beside it, or in ./tensordeck.toml.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for field in fields(Settings):
        metavar, text = _OPTIONS[field.name]
        default = f"; default {field.default:g}" if isinstance(field.default, float) else ""
        if not default and field.default not in ("", ()):
            shown = str(field.default)
            default = f"; default {shown.lower() if isinstance(field.default, bool) else shown}"
        result.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=_reader(field.name),
            metavar=metavar,
            help=f"{text} [env {Settings.variable(field.name)}{default}]",
        )
    return result


def run(arguments: Sequence[str]) -> int:
    """Serves until Ctrl-C or SIGTERM.

    Returns:
        0, after the server ended as it should.

    Raises:
        TensordeckError: If it can't start.
    """
    settings = Settings.load(vars(parser().parse_args(arguments)))
    ready = _greet if settings.log_format == "text" else _greet_in_log
    if settings.workers > 1:
        from tensordeck.workers import supervisor

        configure_logs(settings.log_format, settings.log_level, span_fields)
        supervisor.run(settings, ready)
        return 0
    with lean_start():
        configure_logs(settings.log_format, settings.log_level, span_fields)
        from tensordeck import server

        def settled(running: "Running") -> None:
            settle()
            ready(running)

        server.run(settings, settled)
    return 0


def _greet_in_log(running: "Running") -> None:
    """As `_greet` for a program that reads: without the link that signs a browser in."""
    logging.getLogger("tensordeck").info(
        "Tensordeck %s is ready at %s after %.2f s; its data is in %s",
        __version__,
        running.url,
        running.start_seconds,
        running.data_dir,
    )


def _reader(name: str) -> Callable[[str], Any]:
    """What turns an option's text into its setting's value, as argparse wants it to fail."""

    def read(text: str) -> Any:
        try:
            return Settings.read(name, text)
        except InvalidArgument as error:
            raise argparse.ArgumentTypeError(error.message) from error

    return read


def _greet(running: "Running") -> None:
    """Prints where the server is and how to point a script at it."""
    where = _data_dir_option(running.data_dir)
    lines = (
        ("server", running.url),
        ("data", str(running.data_dir)),
        ("scripts", f"tensordeck exec{where} -- python your_script.py"),
        ("browser", running.sign_in_url),
    )
    print(styled(BOLD, f"Tensordeck {__version__} is ready. Ctrl-C stops it."))
    for label, text in lines:
        print(f"  {styled(FAINT, f'{label:8}')} {text}")
    sys.stdout.flush()  # whoever started us through a pipe waits for this


def _data_dir_option(data_dir: Path) -> str:
    """How a command line names this data directory; nothing where it is the default."""
    default = Settings().data_dir.absolute()
    return "" if data_dir.absolute() == default else f" --data-dir {shlex.quote(str(data_dir))}"
