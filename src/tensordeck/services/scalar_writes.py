"""Scalar writes of all callers, in groups: decoded together, keyed, and handed to the store.

A training loop calls once a step and waits for the answer. Each caller's thread leaves its request
here and sleeps; one thread takes whatever came while the last group was being committed. That way a
busy server decodes and commits for many callers at once, and few threads compete for the
interpreter; an idle one answers at once.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple

from tensordeck import errors, names
from tensordeck.ingest.wire_group import Request, RunPoints, ScalarWrite, decode_together
from tensordeck.services.call import Call
from tensordeck.services.series_keys import RunKeys, SeriesKeys
from tensordeck.services.write_rules import check_count, check_kind, check_within
from tensordeck.store.contract import Points, RunScalars
from tensordeck.store.resources import ValueType
from tensordeck.telemetry.tracing import told_with_commit

GROUP_LIMIT: Final = 64
"""At most this many requests are decoded together."""

GROUPS_UNDER_WAY: Final = 1
"""So many groups are decoded or committed at once. With two, one waits for the disk while the other
has a core, but groups are half as large: no gain on SQLite, and a fifth more work on PostgreSQL."""

GATHER_LOOKS: Final = 8
"""How often to look at most whether more requests have come."""
FORGOTTEN: Final = 1 / 16
"""So many callers are no longer expected with every group that goes by without them."""


Tell = Callable[[bool | BaseException], None]


class _Pending(NamedTuple):
    request: Request
    call: Call
    tell: Tell


class ScalarWrites:
    """Writes requests that hold plain scalars.

    Args:
        points: Where they go.
        keys: Keys of runs and series.
    """

    def __init__(self, points: Points, keys: SeriesKeys) -> None:
        self._points = points
        self._keys = keys
        self._queue: queue.SimpleQueue[_Pending] = queue.SimpleQueue()
        self._started = threading.Lock()
        self._committed = threading.Semaphore(GROUPS_UNDER_WAY)
        self._thread: threading.Thread | None = None

    def write(self, request: Request, call: Call) -> bool:
        """Writes one request, if it is one of plain scalars.

        Returns:
            Whether it was written; if not, nothing was, and the request must go the general way.

        Raises:
            errors.TensordeckError: What is wrong with the request, or with the store.
        """
        written: Future[bool] = Future()

        def tell(outcome: bool | BaseException) -> None:
            if isinstance(outcome, BaseException):
                written.set_exception(outcome)
            else:
                written.set_result(outcome)

        self.submit(request, call, told_with_commit("scalar write", tell))
        return written.result()

    def submit(self, request: Request, call: Call, tell: Tell) -> None:
        """As `write`, without waiting: `tell` gets what that returns or raises, in some thread."""
        if self._thread is None:
            self._start()
        self._queue.put(_Pending(request, call, tell))

    def _start(self) -> None:
        with self._started:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="scalar-writes", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        last, writing = 1, 1.0
        while True:
            group = [self._queue.get()]
            seen = last
            if not self._committed.acquire(blocking=False):
                self._committed.acquire()  # the next group grows meanwhile
                seen += 1 + self._queue.qsize()
            writing = max(seen, writing - FORGOTTEN)  # some are on their way, and in neither
            if last > 1:
                self._wait_for_more(writing)
            try:
                while len(group) < GROUP_LIMIT:
                    group.append(self._queue.get_nowait())
            except queue.Empty:
                pass
            last = len(group)
            try:
                self._write_group(group)
            except BaseException as error:  # noqa: BLE001 -- handed to the callers; the thread lives on
                self._committed.release()
                for pending in group:
                    pending.tell(error)

    def _wait_for_more(self, writing: float) -> None:
        """Lets requests that are on their way arrive; only while several callers write at once.

        Those who were just answered come back one by one. Without waiting for them, those of every
        second group would be left to the next, for ever.

        Args:
            writing: About how many callers write at the moment: more need not be waited for.
        """
        waiting = -1
        for _ in range(GATHER_LOOKS):
            if waiting == (waiting := self._queue.qsize()) or waiting + 1 >= writing:
                return
            # Not a condition that the last caller meets: that was tried, and is dearer (ADR 24).
            time.sleep(self._points.gather_seconds)

    def _write_group(self, group: Sequence[_Pending]) -> None:
        """Writes a group; `_committed` is released when that is done, unless this raises."""
        ready: list[_Pending] = []
        told: list[tuple[_Pending, bool | errors.TensordeckError]] = []
        batches: list[list[RunScalars]] = []
        decoded = decode_together([pending.request for pending in group])
        for pending, write in zip(group, decoded, strict=True):
            try:
                batch = self._keyed(write, pending) if write and _is_plain(write) else None
            except errors.TensordeckError as error:
                told.append((pending, error))
                continue
            if batch is None:
                told.append((pending, False))
            else:
                ready.append(pending)
                batches.append(batch)

        def tell(done: "Future[list[errors.TensordeckError | None]]") -> None:
            self._committed.release()
            error = done.exception()
            if error is not None:
                for pending in ready:
                    pending.tell(error)
                return
            for pending, refused in zip(ready, done.result(), strict=True):
                # A run that is gone was deleted by another process, and perhaps made again: the
                # general way looks the keys up anew.
                pending.tell(refused is None)

        if ready:
            self._points.submit_scalars(batches).add_done_callback(tell)
        else:
            self._committed.release()
        for pending, outcome in told:  # last: from here on nothing raises
            pending.tell(outcome)

    def _keyed(self, write: ScalarWrite, pending: _Pending) -> list[RunScalars]:
        """Checks a request and finds the store's keys of its series."""
        if pending.request.whole_experiment:
            names.parse(write.experiment, names.EXPERIMENT, "tensorboard_experiment")
            pending.call.authorize(write.experiment)
            for run in write.runs:
                check_within(write.experiment, run.run_name)
        else:
            for run in write.runs:
                names.parse(run.run_name, names.RUN, "tensorboard_run")
                pending.call.authorize(run.run_name)
        return [self._run_scalars(run) for run in write.runs]

    def _run_scalars(self, run: RunPoints) -> RunScalars:
        keys = self._keys.known(run.run_name)
        try:
            if keys is None:
                keys = self._load(run)
            found = [keys.series[series_id] for series_id in run.ids]
        except KeyError:
            keys = self._load(run)
            found = [keys.series[series_id] for series_id in run.ids]
        pks, kinds = zip(*found, strict=True)
        if len(set(kinds)) > 1 or kinds[0] is not ValueType.SCALAR:
            for series_id, kind in zip(run.ids, kinds, strict=True):
                check_kind(run.run_name, series_id, kind, ValueType.SCALAR)
        check_count(run.run_name, len(run.columns.steps))
        return RunScalars(keys.pk, pks, run.counts, run.columns, keys.revision)

    def _load(self, run: RunPoints) -> RunKeys:
        names.parse(run.run_name, names.RUN, "tensorboard_run")
        return self._keys.load(run.run_name, set(run.ids))


def _is_plain(write: ScalarWrite) -> bool:
    """Whether every run has points; a request without any is not judged here."""
    return bool(write.runs) and all(run.ids for run in write.runs)
