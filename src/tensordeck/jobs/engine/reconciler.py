"""Brings what an engine does with a replica into line with what was asked for."""

import logging
import signal
import threading
import time
from dataclasses import replace
from typing import Final

from tensordeck.errors import TensordeckError, Unavailable
from tensordeck.jobs.engine.record import AttemptRecord, Seen
from tensordeck.jobs.engine.replica import EngineReplica, Sight
from tensordeck.jobs.executor import Phase, ReplicaStatus

log: Final = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 600.0
"""How long an engine may be away before its replicas count as lost."""

PERIOD_SECONDS: Final = 0.5
"""How often an engine is asked how a replica is."""

_LAST_WORDS_SECONDS: Final = 60.0
"""How long copying what a replica printed may go on after its end."""


class Reconciler:
    """Looks after one replica, in a thread of its own, until it has ended.

    Whatever was done before, by this process or by another one, it goes on from what the engine
    and the attempt's record say.
    """

    def __init__(
        self,
        name: str,
        replica: EngineReplica,
        record: AttemptRecord,
        *,
        timeout_seconds: float | None,
        period_seconds: float = PERIOD_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Starts the thread, unless the replica is known to have ended.

        Args:
            name: The replica's name.
            replica: It, in the hands of its engine.
            record: The attempt's.
            timeout_seconds: How long it may run; None for as long as it likes.
            period_seconds: How often the engine is asked.
            patience_seconds: How long the engine may be away.
        """
        self._replica = replica
        self._record = record
        self._timeout_seconds = timeout_seconds
        self._period_seconds = period_seconds
        self._patience_seconds = patience_seconds
        begin = Seen(ReplicaStatus(name=name, phase=Phase.PREPARING))
        self._seen = record.seen(name) or begin
        self._away_since: float | None = None
        self._away_reason = ""
        self._verdict: Sight | None = None
        self._companion: threading.Thread | None = None
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"replica {name}", daemon=True)
        if not self._seen.status.phase.ended:
            self._thread.start()

    @property
    def status(self) -> ReplicaStatus:
        """How the replica is."""
        status = self._seen.status
        if self._away_reason and not status.phase.ended:
            return replace(status, reason=self._away_reason)
        return status

    def wake(self) -> None:
        """Says that there is something to do."""
        self._woken.set()

    def _run(self) -> None:
        while not self._seen.status.phase.ended:
            self._woken.clear()
            try:
                self._step()
                self._away_since, self._away_reason = None, ""
            except Unavailable as error:
                self._wait_for_engine(error.message)
            except TensordeckError as error:
                self._note(Sight(phase=Phase.FAILED, reason=error.message))
            except Exception as error:
                log.exception("Looking after %s failed", self._seen.status.name)
                self._wait_for_engine(f"The server could not look after it: {error!r}.")
            if not self._seen.status.phase.ended:
                self._woken.wait(self._period_seconds)
        self._remove()

    def _step(self) -> None:
        sight = self._replica.look()
        if sight is None:
            self._begin()
            return
        if sight.phase.ended:
            self._end(sight)
            return
        self._note(sight)
        if sight.phase is Phase.RUNNING:
            self._accompany()
        self._verdict = self._verdict or self._reason_to_stop()
        if self._verdict is not None and not self._replica.stop():
            self._note(self._verdict)

    def _begin(self) -> None:
        """Hands the replica to its engine, or says why not."""
        if self._seen.status.phase is Phase.RUNNING:
            kept = self._record.seen(self._seen.status.name)
            if kept is not None and kept.status.phase.ended:
                self._seen = kept  # another server saw its end, and has removed it
                return
            reason = "It is gone: somebody has removed it, or its engine has lost it."
            self._note(Sight(phase=Phase.LOST, reason=reason))
        elif self._record.cancel_requested:
            self._note(_CANCELLED)
        else:
            waits_for = self._replica.submit()
            self._note(Sight(phase=Phase.PREPARING, reason=waits_for))
            if not waits_for:
                self._woken.set()

    def _end(self, sight: Sight) -> None:
        self._accompany()
        if self._companion is not None:
            self._companion.join(_LAST_WORDS_SECONDS)
            if not self._companion.is_alive():
                self._replica.accompany()  # what came after it had broken off, if it had
        verdict = self._verdict
        if verdict is None and sight.phase is not Phase.SUCCEEDED:
            verdict = self._reason_to_stop()  # what another server had it stopped for
        self._note(sight if verdict is None else replace(verdict, exit_code=sight.exit_code))

    def _remove(self) -> None:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                self._replica.remove()
            except TensordeckError as error:
                if time.monotonic() > deadline:
                    log.warning("%s is left behind: %s", self._seen.status.name, error.message)
                    return
                self._woken.wait(self._period_seconds)
            else:
                return

    def _reason_to_stop(self) -> Sight | None:
        if self._record.cancel_requested:
            return _CANCELLED
        since, limit = self._seen.running_since, self._timeout_seconds
        if limit is not None and since and time.time() > since + limit:
            return Sight(
                phase=Phase.FAILED,
                reason=f"The job ran longer than its timeout of {limit:g} s (scheduling.timeout).",
            )
        return None

    def _accompany(self) -> None:
        """Starts what goes on beside the replica, and again if it broke off."""
        if not self._replica.has_company:
            return
        if self._companion is None or not self._companion.is_alive():
            name = f"beside {self._seen.status.name}"
            self._companion = threading.Thread(target=self._go_along, name=name, daemon=True)
            self._companion.start()

    def _go_along(self) -> None:
        try:
            self._replica.accompany()
        except Unavailable as error:
            log.info("What goes on beside %s waits: %s", self._seen.status.name, error.message)
        except Exception:
            log.exception("What goes on beside %s has broken off", self._seen.status.name)

    def _wait_for_engine(self, reason: str) -> None:
        now = time.monotonic()
        self._away_since = self._away_since or now
        self._away_reason = reason
        if now - self._away_since > self._patience_seconds:
            waited = f"Nothing was heard of it for {self._patience_seconds:g} s. {reason}"
            self._note(Sight(phase=Phase.LOST, reason=waited))

    def _note(self, sight: Sight) -> None:
        """Takes a sight down, in the record too if it is news."""
        status = ReplicaStatus(
            name=self._seen.status.name,
            phase=sight.phase,
            exit_code=sight.exit_code if sight.phase.ended else None,
            reason=sight.reason,
        )
        since = self._seen.running_since
        if sight.phase is Phase.RUNNING and not since:
            since = time.time()
        seen = Seen(status, since)
        if seen != self._seen:
            try:
                self._record.write_seen(seen)  # before anybody learns it, and asks anew
            except OSError as error:  # a disk that is full should not cost the job
                log.warning("How %s is could not be kept: %s", status.name, error)
            self._seen = seen


def ended(exit_code: int) -> Sight:
    """What an exit code says of a replica that has ended by itself."""
    if exit_code == 0:
        return Sight(phase=Phase.SUCCEEDED, exit_code=0)
    if exit_code == -signal.SIGKILL:
        reason = "Something outside killed it (SIGKILL)."
    elif exit_code < 0:
        try:
            name = signal.Signals(-exit_code).name
        except ValueError:
            name = f"signal {-exit_code}"
        reason = f"It was ended by {name}."
    else:
        reason = f"It exited with a non-zero status of {exit_code}."
    return Sight(phase=Phase.FAILED, exit_code=exit_code, reason=reason)


_CANCELLED: Final = Sight(phase=Phase.CANCELLED, reason="The job was cancelled.")

__all__ = ["PATIENCE_SECONDS", "PERIOD_SECONDS", "Reconciler", "ended"]
