"""Looking after one job, from its claim to its end."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec.structs import replace

from tensordeck import names
from tensordeck.errors import (
    Aborted,
    FailedPrecondition,
    NotFound,
    TensordeckError,
    Unavailable,
)
from tensordeck.jobs.attempt import Attempt
from tensordeck.jobs.executor import Executor, Handle
from tensordeck.jobs.failure import failure_message
from tensordeck.jobs.job_log import Severity
from tensordeck.jobs.lease import LeaseLost
from tensordeck.jobs.means import Means
from tensordeck.jobs.outcome import Outcome, Verdict, judge
from tensordeck.store.resources import CustomJob, JobState

__all__ = ["MOST_ATTEMPTS", "JobRun"]

log: Final = logging.getLogger(__name__)

MOST_ATTEMPTS: Final = 3
"""How often a job is started whose host loses it."""

_POLL_SECONDS: Final = 0.25
_CLOSING_SECONDS: Final = 30.0
"""How long replicas may work on when the primary one has succeeded: TensorFlow's workers wait for
orders for ever."""
_ENDING_SECONDS: Final = 60.0
"""How long replicas may take to end that nobody wants any more."""
_INVALID_ARGUMENT: Final = 3
"""What the managed service answers for a program that fails."""
_INTERNAL: Final = 13


class _Left(Exception):  # noqa: N818 -- a way out, not a fault
    """The server stops; the job goes on."""


class JobRun:
    """One job in the hands of this server, in a thread of its own.

    Attributes:
        name: The job's full name.

    Args:
        means: The server's parts.
        job: The job's row, whose lease this server holds.
        on_end: Called when this server has nothing more to do for the job.
    """

    def __init__(self, means: Means, job: CustomJob, on_end: Callable[[], None]) -> None:
        self.name = job.name
        self._id = names.ResourceName.parse(job.name).id
        self._means = means
        self._job = job
        self._on_end = on_end
        self._cancel = job.cancel_requested
        self._lost = False
        self._leaving: float | None = None
        self._nudged = threading.Event()
        self._over = threading.Event()
        self._attempt: Attempt | None = None
        self._running: tuple[Executor, Handle] | None = None
        self._thread = threading.Thread(target=self._run, name=f"job {self._id}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether this server has nothing more to do for the job."""
        return self._over.is_set()

    def cancel(self) -> None:
        """Asks for the job's end."""
        self._cancel = True
        self._nudged.set()

    def lose(self) -> None:
        """Tells that another server looks after the job by now, or that it was deleted."""
        self._lost = True
        self._nudged.set()

    def leave(self, seconds: float) -> None:
        """Tells that this server stops: the job goes on, and the next server takes it up.

        Args:
            seconds: How long sending the job's last logs may take.
        """
        self._leaving = seconds
        self._nudged.set()

    def join(self, seconds: float) -> None:
        """Waits for the thread's end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._attend()
        except _Left:
            log.info("Job %s goes on without this server.", self._id)
        except LeaseLost as error:
            log.warning("Job %s is left: %s", self._id, error.message)
            self._abandon()
        except Unavailable as error:  # the database is away: the controller takes it up again
            log.warning("Job %s waits: %s", self._id, error.message)
        except TensordeckError as error:
            self._fail(error.grpc_code, error.message)
        except Exception as error:
            log.exception("Looking after job %s failed", self._id)
            self._fail(_INTERNAL, f"The server could not look after the job: {error!r}")
        finally:
            if self._attempt is not None:
                self._attempt.leave(self._leaving or 0.0)
            self._over.set()
            self._on_end()

    def _attend(self) -> None:
        while True:
            attempt = self._attempt = Attempt(self._means, self._job)
            executor = self._means.executor(self._job.executor)
            handle = self._job.handle or attempt.noted_handle()
            if not handle:
                if self._cancel:
                    self._move(lambda: self._means.states.cancelled(self.name))
                    return
                handle = self._launch(attempt, executor)
            self._running = executor, handle
            if handle != self._job.handle:
                self._change(partial(replace, handle=handle))
            attempt.attend()
            outcome = self._follow(executor, handle)
            self._running = None
            if outcome.verdict is Verdict.LOST and not self._cancel and self._may_retry():
                attempt.finish()
                self._start_over(attempt, outcome)
                continue
            self._conclude(attempt, outcome)
            return

    def _launch(self, attempt: Attempt, executor: Executor) -> Handle:
        launch = attempt.prepare()
        executor.check(launch)
        self._look_up()
        try:
            handle = executor.start(launch)
        except Unavailable as error:  # this host's fault, not the database's: no use in waiting
            raise FailedPrecondition(error.message) from error
        attempt.note(handle)
        return handle

    def _follow(self, executor: Executor, handle: Handle) -> Outcome:
        """Waits until nothing of the job is alive any more; returns what decided its end."""
        decided: Outcome | None = None
        is_ending = False
        closing_since = 0.0
        while True:
            self._look_up()
            outcome = judge(executor.poll(handle))
            if outcome.verdict is not Verdict.PREPARING and self._job.state is JobState.PENDING:
                self._job = self._move(lambda: self._means.states.running(self.name))
            if outcome.verdict is Verdict.CLOSING and not closing_since:
                closing_since = time.monotonic()
            if decided is None and outcome.verdict not in (Verdict.PREPARING, Verdict.RUNNING):
                is_late = time.monotonic() - closing_since > _CLOSING_SECONDS
                if outcome.verdict is not Verdict.CLOSING or is_late:
                    decided = outcome
            if outcome.all_ended:
                return decided or outcome
            if (decided or self._cancel) and not is_ending:
                executor.cancel(handle)
                is_ending = True
            self._nudged.wait(_POLL_SECONDS)
            self._nudged.clear()

    def _conclude(self, attempt: Attempt, outcome: Outcome) -> None:
        states, replica = self._means.states, outcome.replica
        failed_files = attempt.finish()
        succeeded = outcome.verdict in (Verdict.SUCCEEDED, Verdict.CLOSING)
        if succeeded and failed_files:
            shown = "; ".join(f"{uri}: {reason}" for uri, reason in [*failed_files.items()][:3])
            message = f"{len(failed_files)} files of the job could not be kept: {shown}"
            attempt.say(message, Severity.ERROR)
            self._move(lambda: states.failed(self.name, _INTERNAL, message))
        elif succeeded:
            attempt.say("The job has succeeded.")
            self._move(lambda: states.succeeded(self.name))
        elif self._cancel:
            attempt.say("The job was cancelled.", Severity.WARNING)
            self._move(lambda: states.cancelled(self.name))
        elif replica is None:
            raise AssertionError("a job that ended otherwise was ended by one of its replicas")
        else:
            attempt.say("The job has failed.", Severity.ERROR)
            lost = outcome.verdict is Verdict.LOST
            code = Unavailable.grpc_code if lost else _INVALID_ARGUMENT
            message = failure_message(self._id, replica, attempt.folder.logs)
            self._move(lambda: states.failed(self.name, code, message))

    def _may_retry(self) -> bool:
        """Whether a job that was lost starts again.

        It does so whole: replicas are started together, so that `restart_job_on_worker_restart`,
        which asks for that, and its absence come to the same.
        """
        scheduling = self._job.job_spec.get("scheduling", {})
        return not scheduling.get("disableRetries") and self._job.attempt < MOST_ATTEMPTS

    def _start_over(self, attempt: Attempt, outcome: Outcome) -> None:
        reason = outcome.replica.reason if outcome.replica else ""
        number = self._job.attempt + 1
        attempt.say(f"{reason} Starting attempt {number} of {MOST_ATTEMPTS}.", Severity.WARNING)
        self._change(partial(replace, attempt=number, handle={}))

    def _fail(self, code: int, message: str) -> None:
        """Ends a job that can't go on; whatever runs of it is ended too."""
        self._end_replicas()
        if self._attempt is not None and self._attempt.folder.path.is_dir():
            try:
                self._attempt.say(message, Severity.ERROR)
                self._attempt.finish()
            except Exception:
                log.exception("What job %s has left could not be kept", self._id)
        try:
            self._move(lambda: self._means.states.failed(self.name, code, message))
        except LeaseLost:
            self._abandon()
        except TensordeckError as error:  # the controller takes it up again
            log.warning("Job %s could not be ended yet: %s", self._id, error.message)

    def _abandon(self) -> None:
        """Ends what runs of a job on this host that is somebody else's, or nobody's."""
        self._end_replicas()
        if self._attempt is not None:
            try:
                self._attempt.discard_key()
            except TensordeckError as error:  # housekeeping does it, then
                log.warning("The key of job %s is still good: %s", self._id, error.message)

    def _end_replicas(self) -> None:
        """Ends what runs, as far as that can be done."""
        if self._running is None:
            return
        executor, handle = self._running
        try:
            executor.cancel(handle)
            deadline = time.monotonic() + _ENDING_SECONDS
            while time.monotonic() < deadline and not judge(executor.poll(handle)).all_ended:
                self._nudged.wait(_POLL_SECONDS)
                self._nudged.clear()
        except Exception:
            log.exception("What runs of job %s could not be ended", self._id)

    def _look_up(self) -> None:
        """Looks whether the world has changed."""
        if self._lost:
            raise LeaseLost(f"{self.name} is looked after by somebody else, or was deleted.")
        if self._leaving is not None:
            raise _Left

    def _change(self, change: Callable[[CustomJob], CustomJob]) -> None:
        self._job = self._means.leases.change(self.name, change)

    def _move(self, move: Callable[[], CustomJob]) -> CustomJob:
        """Changes the job's state."""
        try:
            return move()
        except (Aborted, NotFound) as error:
            raise LeaseLost(error.message) from error
