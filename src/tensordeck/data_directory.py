"""A server's data directory: who may use it, and where the server in it says that it listens."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tensordeck import errors

__all__ = ["Running", "announced", "making_files", "own", "wait_for_duties"]

_RUNNING = "server.json"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that takes calls.

    Attributes:
        url: What people open, e.g. `http://localhost:6060`.
        sign_in_url: The same with a token that signs a browser in.
        port: The port in use.
        data_dir: Where everything lies.
        start_seconds: From the call of `run` until calls were taken.
    """

    url: str
    sign_in_url: str
    port: int
    data_dir: Path
    start_seconds: float


@contextlib.contextmanager
def own(path: Path) -> Iterator[Path]:
    """Makes the data directory and holds its lock, so that no second server writes there.

    Raises:
        errors.FailedPrecondition: If it can't be used, or another server uses it.
    """
    lock: IO[str] | None = None
    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / "lock").open("a+")
        except OSError as error:
            raise errors.FailedPrecondition(
                f"The data directory {path} can't be used: {error.strerror}. "
                "Choose another one with --data-dir."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise errors.FailedPrecondition(
                f"Another Tensordeck server uses the data directory {path}. "
                "Stop it, or choose another directory with --data-dir."
            ) from error
        yield path
    finally:
        if lock is not None:
            lock.close()


@contextlib.contextmanager
def announced(data_dir: Path, running: Running) -> Iterator[None]:
    """Leaves word of port and URL for `tensordeck exec` and its siblings while a server runs."""
    target = data_dir / _RUNNING
    draft = target.with_suffix(".tmp")
    draft.write_text(json.dumps({"pid": os.getpid(), "port": running.port, "url": running.url}))
    draft.replace(target)
    try:
        yield
    finally:
        target.unlink(missing_ok=True)


@contextlib.contextmanager
def making_files(data_dir: Path) -> Iterator[None]:
    """Lets one worker at a time make what all of them share: tables, certificates, credentials."""
    with _locked(data_dir / "workers.lock"):
        yield


@contextlib.contextmanager
def wait_for_duties(data_dir: Path) -> Iterator[None]:
    """Waits until no other worker of this data directory has the background duties.

    The kernel passes them on at the very moment when the worker that has them ends, however it
    ends.
    """
    with _locked(data_dir / "duties.lock"):
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
