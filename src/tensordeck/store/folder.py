"""When to fold: a background thread that keeps the journal short.

A run is due once its journal holds enough to make folding worth while, or has waited long. What
waits is read from the journal by every reader, so both are bounded. A run that is written steadily
is folded every few seconds, one that logs a few values a second every quarter of a minute.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tensordeck import errors
from tensordeck.store import journal_queries
from tensordeck.store.database import Database
from tensordeck.store.folding import Folding
from tensordeck.store.journal_queries import Pending
from tensordeck.telemetry.store_measures import Backlog

__all__ = ["NEVER", "Folder", "Schedule"]

log: Final = logging.getLogger(__name__)


class Schedule(Struct, frozen=True, kw_only=True):
    """When a run's journal is folded.

    Attributes:
        pause_seconds: Between two looks at the journal.
        run_bytes: A run with this much is due.
        run_rows: A run with this many rows is due.
        age_seconds: A run whose oldest row waited this long is due.
        soft_bytes: Above this much in all, every run is due.
        hard_bytes: Above this much, appends wait for the folder, at most `wait_seconds`.
        wait_seconds: How long an append waits.
    """

    pause_seconds: float = 1.0
    run_bytes: int = 4 * 2**20
    run_rows: int = 1024
    age_seconds: float = 15.0
    soft_bytes: int = 96 * 2**20
    hard_bytes: int = 256 * 2**20
    wait_seconds: float = 5.0


NEVER: Final = Schedule(pause_seconds=threading.TIMEOUT_MAX, soft_bytes=2**62, hard_bytes=2**62)
"""Nothing is folded unless it is asked for: somebody else does it."""


class Folder:
    """The background thread, and the brake on writers that outrun it.

    Args:
        database: Where the journal is.
        folding: How a run is folded.
        schedule: When.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        database: Database,
        folding: Folding,
        schedule: Schedule,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._folding = folding
        self._schedule = schedule
        self._clock = clock
        self._changed = threading.Condition()
        self._working = threading.Lock()
        self._stopped = False
        self._backlog = 0
        self._unseen = 1  # rows may be left over from the last process
        self._first_seen: dict[int, tuple[int, float]] = {}
        self._rows = 0
        self._failures = 0
        database.measures.backlog = self.backlog
        self._damaged: set[int] = set()  # runs that can't be folded before the store is restored
        self._thread = threading.Thread(target=self._run, name="store-folder", daemon=True)
        self._thread.start()

    def written(self, size: int) -> None:
        """Tells that a row of this size was appended."""
        with self._changed:
            self._backlog += size
            self._unseen += 1
            if self._backlog > self._schedule.soft_bytes:
                self._changed.notify_all()

    def wait_for_room(self) -> None:
        """Holds a writer back while the journal is too long; not for ever."""
        if self._backlog > self._schedule.hard_bytes:
            with self._changed:
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._stopped or self._backlog <= self._schedule.hard_bytes,
                    self._schedule.wait_seconds,
                )

    def fold_all(self) -> int:
        """Folds all that is there now; returns the number of journal rows."""
        return self._fold(lambda _: True)

    def backlog(self) -> Backlog:
        """What is not folded yet."""
        seen = list(self._first_seen.values())
        oldest = min((since for _, since in seen), default=None)
        return Backlog(
            rows=self._rows,
            byte_count=max(0, self._backlog),
            runs=len(seen),
            oldest_seconds=0.0 if oldest is None else self._clock() - oldest,
            failures=self._failures,
        )

    def close(self) -> None:
        """Stops the thread after the run that it is at; the rest is folded at the next start."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopped or self._backlog > self._schedule.soft_bytes,
                    self._schedule.pause_seconds,
                )
                if self._stopped:
                    return
                if not self._unseen and not self._first_seen:
                    continue
            try:
                self._fold(self._is_due)
            except errors.TensordeckError as error:
                log.warning("Folding waits: %s", error)
                self._failures += 1
                self._rest()
            except Exception:
                log.exception("Folding failed; it is tried again.")
                self._failures += 1
                self._rest()

    def _rest(self) -> None:
        """Waits after a failure, so that a full disk does not make the folder spin."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, 5 * self._schedule.pause_seconds)

    def _fold(self, due: Callable[[Pending], bool]) -> int:
        """Folds the runs that are due; returns the number of journal rows."""
        total = 0
        with self._working:
            with self._changed:
                self._unseen = 0
            with self._database.read() as connection:
                pending = [
                    run
                    for run in journal_queries.pending_runs(connection)
                    if run.run_pk not in self._damaged
                ]
            self._remember(pending)
            # Servers that share a database seldom meet at a run.
            random.SystemRandom().shuffle(pending)
            for run in pending:
                if not due(run):
                    continue
                folded = 0
                while folded < run.rows and not self._stopped:
                    try:
                        rows = self._folding.fold_run(run.run_pk, None if folded else run.oldest)
                    except errors.DataLoss as error:
                        log.error("Not folded: %s", error)  # noqa: TRY400 -- it says it all
                        self._damaged.add(run.run_pk)  # the other runs go on
                        break
                    if not rows:
                        break
                    folded += rows
                total += folded
                with self._changed:
                    self._backlog -= run.size
                    self._rows -= folded
                    self._changed.notify_all()
        return total

    def _remember(self, pending: list[Pending]) -> None:
        """Notes since when each run's oldest row has been seen, and how much there is."""
        now = self._clock()
        known = self._first_seen
        self._first_seen = {
            run.run_pk: known[run.run_pk]
            if known.get(run.run_pk, (0, 0.0))[0] == run.oldest
            else (run.oldest, now)
            for run in pending
        }
        with self._changed:
            self._backlog = sum(run.size for run in pending)
            self._rows = sum(run.rows for run in pending)

    def _is_due(self, run: Pending) -> bool:
        schedule = self._schedule
        return (
            run.size >= schedule.run_bytes
            or run.rows >= schedule.run_rows
            or self._backlog > schedule.soft_bytes
            or self._clock() - self._first_seen[run.run_pk][1] >= schedule.age_seconds
        )
