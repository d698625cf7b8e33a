"""`tensordeck jobs logs`: prints what a job has printed, and what it prints."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tensordeck.cli.job_options import AsFormat, Format, JobId
from tensordeck.cli.settings_options import (
    CaFile,
    CredentialsFile,
    DataDir,
    Port,
    Url,
    endpoint_of,
)
from tensordeck.cli.styles import RED, YELLOW, printable, styled
from tensordeck.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from tensordeck.cli.log_stream import LogEntry, LogStream
    from tensordeck.cli.training_api import Job, TrainingApi

__all__ = ["followed", "logs", "message_of"]

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it
POLL_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 60.0
"""How long a server may be away, to be restarted for instance, while its job is followed."""

_SERVICE: Final = "service"
_MARKS: Final = {"WARNING": "W", "ERROR": "E"}
_STYLES: Final = {"W": YELLOW, "E": RED}


def logs(
    given: JobId,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Go on until the job ends; status 1 if it did not succeed. Ctrl-C leaves it "
            "running.",
        ),
    ] = False,
    replica: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Only this one's lines, e.g. workerpool0-0, or `service` for what the server "
            "says of the job.",
        ),
    ] = "",
    tail: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Begin with the last N lines.")
    ] = None,
    style: AsFormat = Format.TEXT,
    data_dir: DataDir = None,
    port: Port = None,
    url: Url = None,
    credentials: CredentialsFile = None,
    ca: CaFile = None,
) -> None:
    """Print what a job has printed: the time, `E` for standard error, the replica, the line."""
    endpoint = endpoint_of(data_dir, port, url, credentials, ca)
    from tensordeck.cli.log_stream import LogStream
    from tensordeck.cli.training_api import TrainingApi, has_ended, job_id, replicas_of, state_of

    api = TrainingApi(endpoint)
    job = api.find(given)
    names = [*replicas_of(job), _SERVICE]
    if replica and replica not in names:
        shown = ", ".join(names[:8] + ["…"] * (len(names) > 8))
        raise InvalidArgument(f"Job {job_id(job)} has no replica {replica!r}; it has {shown}.")
    stream = LogStream(endpoint, job, replica)
    show = json.dumps if style is Format.JSON else _printer(names if len(names) > 2 else [])
    count = 0
    try:
        entries: Iterable[LogEntry] = stream.last(tail) if tail else ()
        if follow:
            entries = chain(entries, followed(api, job, stream))
        elif not tail:
            entries = stream.new()
        for entry in entries:
            print(show(entry), flush=follow)
            count += 1
        job = api.refreshed(job)
    except KeyboardInterrupt:
        note = f"The job goes on; `tensordeck jobs cancel {job_id(job)}` ends it."
        print(f"\n{note}" if follow else "", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if follow:
        _tell_how_it_ended(job)
    elif not count:
        so_far = "" if has_ended(job) else " yet"
        print(f"There are no lines{so_far}: the job is {state_of(job)}.", file=sys.stderr)


def followed(api: "TrainingApi", job: "Job", stream: "LogStream") -> "Iterator[LogEntry]":
    """Yields a job's log entries as they come, until the job has ended.

    Raises:
        NotFound: If the job was deleted.
        Unavailable: If the server stays away.
    """
    from tensordeck.cli.training_api import has_ended

    ended, away_since = False, 0.0
    while not ended:
        try:
            ended = has_ended(api.refreshed(job))  # first: what it has printed by then is read
            yield from stream.new()
            away_since = 0.0
        except Unavailable:
            now = time.monotonic()
            if not away_since:
                print("The server does not answer; trying again.", file=sys.stderr)
                away_since = now
            if now - away_since > PATIENCE_SECONDS:
                raise
            ended = False
        if not ended:
            time.sleep(POLL_SECONDS)


def message_of(entry: "LogEntry") -> str:
    """The line that an entry holds."""
    payload = entry.get("jsonPayload", {})
    return str(payload.get("message", entry.get("textPayload", "")))


def _printer(names: list[str]) -> "Callable[[LogEntry], str]":
    """What makes a line of an entry, with the replica's name if names are given."""
    width = max(map(len, names), default=0)

    def show(entry: "LogEntry") -> str:
        moment = datetime.fromisoformat(entry["timestamp"]).astimezone()
        mark = _MARKS.get(entry["severity"], " ")
        name = entry["resource"]["labels"]["task_name"]
        name = f"{name:{width}} " if width else f"{name}: " if name == _SERVICE else ""
        line = f"{moment:%Y-%m-%d %H:%M:%S} {mark} {name}{printable(message_of(entry))}"
        return styled(_STYLES.get(mark, ""), line)

    return show


def _tell_how_it_ended(job: "Job") -> None:
    """Says it in one line; ends with status 1 unless the job has succeeded."""
    from tensordeck.cli.job_views import ending
    from tensordeck.cli.training_api import state_of

    print(ending(job, time.time()), file=sys.stderr)
    if state_of(job) != "SUCCEEDED":
        raise typer.Exit(1)
