"""`tensordeck upload` and `tensordeck export`: event files in, tables out."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensordeck.cli.settings_options import (
    CaFile,
    CredentialsFile,
    DataDir,
    Port,
    Url,
    endpoint_of,
)
from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.redirect.endpoint import Endpoint

if TYPE_CHECKING:
    from tensordeck.ingest.uploader import Progress, Target

__all__ = ["export", "upload"]


class TableFormat(StrEnum):
    """What an export writes."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


def upload(
    logdir: Annotated[
        str,
        typer.Argument(
            metavar="LOGDIR",
            help="Folder with event files, in any depth; gs://BUCKET/FOLDER is one on the server.",
        ),
    ],
    experiment: Annotated[
        str,
        typer.Option(metavar="ID", help="Experiment to upload into; made when it is missing."),
    ],
    tensorboard: Annotated[
        str, typer.Option(metavar="ID", help="Instance: its id or its full resource name.")
    ],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on as the files grow, until Ctrl-C.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Send everything, not only what no upload has brought yet."),
    ] = False,
    data_dir: DataDir = None,
    port: Port = None,
    url: Url = None,
    credentials: CredentialsFile = None,
    ca: CaFile = None,
) -> None:
    """Upload TensorBoard event files into an experiment.

    Each folder with event files becomes a run. A second upload sends only what is new.
    """
    endpoint = endpoint_of(data_dir, port, url, credentials, ca)
    from tensordeck.ingest import uploader

    target = _target(endpoint, _instance_name(endpoint, tensorboard))
    stop = threading.Event()
    with _stopped_by_signals(stop if follow else None), _shown() as show:
        done = uploader.upload(
            logdir,
            experiment,
            target,
            follow=follow,
            progress=lambda progress: show(_counts(progress)),
            stop=stop,
            again=again,
        )
    from tensordeck.cli.open_command import page_path

    print(f"{_counts(done)} uploaded to {endpoint.url}{page_path(done.experiment)}")


def export(
    resource: Annotated[
        str,
        typer.Argument(help="Full name of an instance, experiment, run or time series."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The file; - is standard output.")
    ],
    table_format: Annotated[
        TableFormat | None,
        typer.Option("--format", help="What to write.  [default: what FILE's name ends with]"),
    ] = None,
    data_dir: DataDir = None,
    port: Port = None,
    url: Url = None,
    credentials: CredentialsFile = None,
    ca: CaFile = None,
) -> None:
    """Write scalars as a table: experiment, run, tag, step, wall_time, value.

    Every point is written, at full precision. Parquet needs the extra `tensordeck[parquet]`.
    """
    chosen = table_format or _format_of(output)
    endpoint = endpoint_of(data_dir, port, url, credentials, ca)
    from tensordeck.ingest import export as table_export

    to_stdout = str(output) == "-"
    with _shown() as show:
        rows = table_export.export(
            resource,
            chosen.value,
            sys.stdout.buffer if to_stdout else output,
            _target(endpoint),
            progress=lambda count: show(f"{count:,} rows"),
        )
    print(f"{rows:,} rows written to {output}.", file=sys.stderr if to_stdout else sys.stdout)


def _format_of(output: Path) -> TableFormat:
    try:
        return TableFormat(output.suffix.removeprefix(".").lower())
    except ValueError as error:
        raise InvalidArgument(
            f"{output} does not say what to write; add --format parquet, csv or jsonl."
        ) from error


def _target(endpoint: Endpoint, tensorboard: str = "") -> "Target":
    from tensordeck.ingest.connection import Target

    return Target(
        url=endpoint.url,
        credentials=endpoint.credentials,
        tensorboard=tensorboard,
        ca=endpoint.ca_bundle,
    )


def _instance_name(endpoint: Endpoint, given: str) -> str:
    """The full name of an instance that may be given by its id alone.

    Raises:
        NotFound: If the server has no instance of that id.
    """
    if "/" in given:
        return given
    from tensordeck import protos
    from tensordeck.ingest.connection import Connection

    request = protos.message("ListTensorboardsRequest")(parent="projects/-/locations/-")
    with Connection(_target(endpoint)) as connection:
        for page in connection.pages("ListTensorboards", request):
            for instance in page.tensorboards:
                if instance.name.endswith(f"/tensorboards/{given}"):
                    return str(instance.name)
    raise NotFound(f"There is no instance {given} on {endpoint.url}.")


def _counts(progress: "Progress") -> str:
    return f"{progress.points:,} points of {progress.runs:,} runs"


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[str], None]]:
    """Shows how far it is on a terminal; says nothing into a file or a pipe."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("Connecting") as status:
        yield status.update


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event | None) -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end following; what is there by then still goes up."""
    if stop is None:
        yield
        return
    previous = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
