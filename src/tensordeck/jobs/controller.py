"""Runs the jobs that are waiting, and takes up those that a server before this one has left."""

import contextlib
import logging
import threading
import time
from typing import Final

from msgspec.structs import replace

from tensordeck import names
from tensordeck.access.local import LocalAccess
from tensordeck.errors import FailedPrecondition, TensordeckError
from tensordeck.jobs import launch_plan
from tensordeck.jobs.executor import Launch
from tensordeck.jobs.executors import Executors
from tensordeck.jobs.housekeeping import clean
from tensordeck.jobs.job_folder import JobsFolder
from tensordeck.jobs.job_run import MOST_ATTEMPTS, JobRun
from tensordeck.jobs.lease import LEASE_SECONDS, LeaseLost, Leases
from tensordeck.jobs.means import Means
from tensordeck.services.job_states import JobStates
from tensordeck.services.storage import StorageService
from tensordeck.settings import Settings
from tensordeck.store.contract import Store
from tensordeck.store.resources import CustomJob, JobState

__all__ = ["Controller", "open_controller"]

log: Final = logging.getLogger(__name__)

_ROUND_SECONDS: Final = 2.0
"""How long a job waits at most that another server has taken in, or a cancellation."""
_MEND_SECONDS: Final = 60.0
_CLEAN_SECONDS: Final = 3600.0
_DEADLINE_EXCEEDED: Final = 4
_UNAVAILABLE: Final = 14


def open_controller(
    settings: Settings, store: Store, access: LocalAccess, port: int
) -> "Controller":
    """Makes the controller of a server.

    Args:
        settings: The server's settings.
        store: Where jobs rest.
        access: Where jobs' keys are made.
        port: The port at which the server takes calls.
    """
    folders = JobsFolder(settings.data_dir)
    leases = Leases(store.catalog, folders.place())
    return Controller(
        Means(
            settings=settings,
            store=store,
            access=access,
            storage=StorageService(store),
            leases=leases,
            states=JobStates(store.catalog, leases.owner),
            folders=folders,
            executor=Executors(settings).named,
            port=port,
        )
    )


class Controller:
    """The jobs of one server. `start` and `stop` it once; `wake` it from any thread.

    Args:
        means: The server's parts.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._runs: dict[str, JobRun] = {}
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._next_renewal = 0.0
        self._next_mending = 0.0
        self._next_cleaning = 0.0
        self._thread = threading.Thread(target=self._run, name="job controller", daemon=True)

    def start(self) -> None:
        """Starts the controller's thread."""
        self._thread.start()

    def wake(self) -> None:
        """Says that a job came or is to be cancelled, so that nobody waits for the next round."""
        self._woken.set()

    def check(self, job: CustomJob) -> None:
        """Refuses a job that could never run here.

        Raises:
            InvalidArgument: If its spec names what is not known; the message has the way out.
        """
        name = names.ResourceName.parse(job.name)
        folder = self._means.folders.attempt(name.id, 1)
        packages = dict.fromkeys(launch_plan.package_uris(job.job_spec), folder.packages)
        launch = Launch(
            job_id=name.id,
            attempt=1,
            folder=folder.path,
            replicas=launch_plan.replicas(
                job.job_spec, packages, folder.buckets, lambda _pool, _index, own: own
            ),
        )
        with contextlib.suppress(FailedPrecondition):  # may be otherwise when its turn comes
            self._means.executor(self._means.settings.executor).check(launch)

    def stop(self, seconds: float) -> None:
        """Lets go of all jobs, which go on; the next server on the data directory takes them up.

        Args:
            seconds: How long that may take, about.
        """
        deadline = time.monotonic() + seconds
        self._stopping.set()
        self._woken.set()
        self._thread.join(seconds)
        for run in self._runs.values():
            run.leave(seconds / 2)
        for run in self._runs.values():
            run.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                self._round()
            except TensordeckError as error:
                log.warning("Jobs wait: %s", error.message)
            except Exception:
                log.exception("A round of the job controller failed")
            self._woken.wait(_ROUND_SECONDS)

    def _round(self) -> None:
        now = time.monotonic()
        self._look_after_ours(renew=now >= self._next_renewal)
        if now >= self._next_renewal:
            self._next_renewal = now + LEASE_SECONDS / 3
        if now >= self._next_mending:
            self._means.states.mend()
            self._next_mending = now + _MEND_SECONDS
        self._take_up()
        if now >= self._next_cleaning:
            self._next_cleaning = now + _CLEAN_SECONDS
            threading.Thread(target=self._clean, name="job cleaning", daemon=True).start()

    def _look_after_ours(self, *, renew: bool) -> None:
        """Renews leases, and passes on what was written into the rows of our jobs."""
        self._runs = {name: run for name, run in self._runs.items() if not run.is_over}
        rows = self._means.store.catalog.find_many(CustomJob, list(self._runs))
        for name, run in self._runs.items():
            job = rows.get(name)
            if job is None or job.lease_owner not in ("", self._means.leases.owner):
                run.lose()
            elif not job.state.ended:
                if job.cancel_requested:
                    run.cancel()
                if renew:
                    try:
                        self._means.leases.change(name)
                    except LeaseLost:
                        run.lose()

    def _take_up(self) -> None:
        """Takes up what runs here already, and of the other free jobs what there is room for."""
        for page in self._means.states.unended():
            for job in page:
                if self._stopping.is_set():
                    return
                if job.name in self._runs or not self._means.leases.is_free(job):
                    continue
                runs_here = bool(job.handle) and self._means.leases.is_from_here(job)
                if _has_waited_too_long(job):
                    self._give_up_waiting(job)
                elif runs_here or len(self._runs) < self._means.settings.parallel_jobs:
                    self._claim(job)

    def _claim(self, job: CustomJob) -> None:
        from_here = self._means.leases.is_from_here(job)
        try:
            claimed = self._means.leases.claim(job.name, self._as_taken)
        except LeaseLost:
            return
        if job.handle and not from_here and not _may_start_again(job):
            self._means.states.failed(
                job.name,
                _UNAVAILABLE,
                "The server that ran the job is gone, and nobody knows what became of it. "
                "Run the job again.",
            )
            return
        if claimed.state is JobState.QUEUED:
            claimed = self._means.states.pending(job.name)
        run = self._runs[job.name] = JobRun(self._means, claimed, self.wake)
        run.start()

    def _as_taken(self, job: CustomJob) -> CustomJob:
        """A claimed job's row: what this data directory has begun goes on, else it begins anew."""
        if job.attempt and self._means.leases.is_from_here(job):
            return job
        return replace(
            job,
            attempt=job.attempt + 1,
            executor=self._means.settings.executor,
            handle={},
        )

    def _give_up_waiting(self, job: CustomJob) -> None:
        try:
            self._means.leases.claim(job.name, lambda row: row)
        except LeaseLost:
            return
        self._means.states.failed(
            job.name,
            _DEADLINE_EXCEEDED,
            "The job has waited for longer than scheduling.max_wait_duration. Run it again when "
            "fewer jobs wait, or let the server run more at a time (--parallel-jobs).",
        )

    def _clean(self) -> None:
        try:
            clean(self._means)
        except Exception:
            log.exception("Cleaning the folders of jobs failed")


def _may_start_again(job: CustomJob) -> bool:
    disabled = job.job_spec.get("scheduling", {}).get("disableRetries")
    return not disabled and job.attempt < MOST_ATTEMPTS


def _has_waited_too_long(job: CustomJob) -> bool:
    limit = launch_plan.seconds(job.job_spec.get("scheduling", {}).get("maxWaitDuration", ""))
    if job.attempt or not limit:
        return False
    return time.time() - job.create_time / 1e6 > limit
