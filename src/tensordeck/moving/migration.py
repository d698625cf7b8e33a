"""Migration: a store moves to another place while it is served, and nothing acknowledged is lost.

1. A first copy, of the moment at which it begins. The source serves meanwhile.
2. Catch-up: a copy of what came since, again and again while that is much.
3. Writes to the source are stopped (`write_stop`); reads go on. What came last is copied.
4. Both sides are compared row by row.
5. The target is opened to servers; the source refuses writes from now on, and says where to go.

Whatever goes wrong before the fifth step leaves the source as it was, serving; a process that is
killed leaves it so too, or with writes stopped, until the same command is run again or the source
is released.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select

from tensordeck import errors
from tensordeck.moving.blob_copies import BlobCopies, Losses
from tensordeck.moving.comparing import Comparison, compare
from tensordeck.moving.copying import DatabaseCopy
from tensordeck.moving.data_files import data_files, put_data_file
from tensordeck.moving.moment import held_moment
from tensordeck.moving.places import Place, blobs_of, open_source, open_target
from tensordeck.moving.progress import Progress, silent
from tensordeck.moving.write_stop import is_stopped, release_writes, stop_writes
from tensordeck.settings import Settings
from tensordeck.store import schema
from tensordeck.store.resources import JobState

__all__ = ["Migration", "migrate", "release"]

_SHORT_SECONDS: Final = 3.0
"""A catch-up that took less is followed by the write stop: that takes about as long."""
_UNENDED: Final = [int(state) for state in JobState if not state.ended]
_CATCH_UPS: Final = 8
"""So many catch-ups at most: a source that is written faster than it can be copied must stop."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What was done.

    Attributes:
        source: The source's name.
        target: The target's.
        comparison: Both sides, compared at the end.
        blobs: How many blobs were copied; None where both sides share them.
        blob_bytes: How many bytes those have.
        losses: What the source had lost before.
        stopped_seconds: From the stop of writes until the target was ready.
        open_jobs: How many training jobs had not ended.
        resumed: Whether an interrupted run was taken up.
    """

    source: str
    target: str
    comparison: Comparison
    blobs: int | None
    blob_bytes: int
    losses: Losses
    stopped_seconds: float
    open_jobs: int
    resumed: bool


def migrate(
    source: Settings,
    target: Settings,
    *,
    data_dirs: tuple[Path, Path] | None = None,
    progress: Progress = silent,
) -> Migration:
    """Moves a store.

    Args:
        source: Where it is.
        target: An empty place, or what an interrupted run of the same move left.
        data_dirs: Where the owner's credential and the certificate authority are, and where they
            go; they stay where they are when None.
        progress: Told how far it is.

    Raises:
        errors.FailedPrecondition: If either place can't be used; see `open_source`, `open_target`.
        errors.DataLoss: If both sides are not alike at the end.
        errors.TensordeckError: As either store does. The source takes writes again, and the same
            call goes on where this one stopped.
    """
    shared = blobs_of(source) == blobs_of(target)
    with (
        open_source(source) as old,
        open_target(target, origin=old.name, shared_blobs=shared) as new,
        _held(old, shared=shared),
    ):
        copies = None if shared else BlobCopies(old.blobs, new.place.blobs, check=new.place.blobs)
        _catch_up(old, new.place, copies, progress)
        with _stopped(old, new.place) as began:
            _copy(old, new.place, copies, progress, "Copying the last writes")
            with held_moment(old.database) as ours, held_moment(new.place.database) as theirs:
                comparison = compare(ours, theirs, progress)
                if not comparison.alike:
                    raise errors.DataLoss(
                        f"{new.place.name} does not hold what {old.name} holds: "
                        f"{comparison.differing(ours)}. {old.name} takes writes again; run the "
                        "command once more, or start over with an empty target."
                    )
                open_jobs = _open_jobs(ours)
            stop_writes(
                old.database,
                f"This store was moved to {new.place.name}; use a server there. "
                "`tensordeck migrate --release` lets it take writes again.",
            )
            if data_dirs is not None:
                for name, content in data_files(data_dirs[0]):
                    put_data_file(data_dirs[1], name, content)
            new.finish()
        return Migration(
            source=old.name,
            target=new.place.name,
            comparison=comparison,
            blobs=None if copies is None else copies.count,
            blob_bytes=0 if copies is None else copies.size,
            losses=Losses() if copies is None else copies.losses,
            stopped_seconds=time.monotonic() - began,
            open_jobs=open_jobs,
            resumed=new.resumed,
        )


def release(source: Settings) -> bool:
    """Lets a store that was moved, or whose move was cut off, take writes again.

    Returns:
        Whether they were stopped.

    Raises:
        errors.FailedPrecondition: If there is no store.
    """
    with open_source(source) as place:
        return release_writes(place.database)


def _held(place: Place, *, shared: bool) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if shared else place.blobs.held()


def _catch_up(old: Place, new: Place, copies: BlobCopies | None, progress: Progress) -> None:
    """Copies until little is left to copy."""
    doing = "Copying"
    for _ in range(_CATCH_UPS):
        began = time.monotonic()
        differed = _copy(old, new, copies, progress, doing)
        if not differed or time.monotonic() - began < _SHORT_SECONDS:
            return
        doing = "Catching up"


def _copy(old: Place, new: Place, copies: BlobCopies | None, progress: Progress, doing: str) -> int:
    with held_moment(old.database) as moment:
        return DatabaseCopy(moment, new.database, copies, progress=progress).run(doing)


@contextlib.contextmanager
def _stopped(old: Place, new: Place) -> Iterator[float]:
    """Stops writes; lets them through again if the block fails. Yields when that was."""
    with old.database.read() as connection:
        was_stopped = is_stopped(connection)
    if not was_stopped:
        stop_writes(
            old.database,
            f"This store is being moved to {new.name} and takes no writes for a while; try again.",
        )
    try:
        yield time.monotonic()
    except BaseException:
        release_writes(old.database)
        raise


def _open_jobs(connection: Connection) -> int:
    jobs = schema.custom_jobs
    return int(
        connection.execute(
            select(func.count()).select_from(jobs).where(jobs.c.state.in_(_UNENDED))
        ).scalar_one()
    )
