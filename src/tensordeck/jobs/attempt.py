"""One attempt to run a job, with all that surrounds it on this host.

Its folder, its key, what it needs from Cloud Storage and what it leaves there, its logs on their
way into TensorBoard. A server that finds the folder later can go on with any of it.
"""

import time
from pathlib import Path
from typing import Final

from tensordeck import names
from tensordeck.access import Caller
from tensordeck.errors import NotFound
from tensordeck.ingest.connection import Target
from tensordeck.jobs import job_key, job_log, launch_plan
from tensordeck.jobs.board_link import BoardLink, board_link
from tensordeck.jobs.cluster import Cluster
from tensordeck.jobs.executor import Handle, Launch
from tensordeck.jobs.job_environment import JobEnvironment
from tensordeck.jobs.job_folder import JobFolder, Note
from tensordeck.jobs.job_log import LogWriter, Severity
from tensordeck.jobs.means import Means
from tensordeck.jobs.staging import Staging
from tensordeck.jobs.watch import Watch
from tensordeck.store.resources import CustomJob

__all__ = ["Attempt"]

_SHORTEST_TIMEOUT: Final = 1.0
_LAST_LOGS_SECONDS: Final = 600.0
"""How long a job's last logs may take to arrive; only very many take so long."""
_LOG_DIR: Final = "AIP_TENSORBOARD_LOG_DIR"
_CHECKPOINT_DIR: Final = "AIP_CHECKPOINT_DIR"
_OUTPUTS: Final = {"AIP_MODEL_DIR": "model", _CHECKPOINT_DIR: "checkpoints", _LOG_DIR: "logs"}
"""The folders below `base_output_directory`, by the variable that names each."""


class Attempt:
    """The attempt of a job that its row names.

    Attributes:
        folder: Its folder.

    Args:
        means: The server's parts.
        job: The job's row.
    """

    def __init__(self, means: Means, job: CustomJob) -> None:
        self._means = means
        self._job = job
        self._name = names.ResourceName.parse(job.name)
        self.folder: JobFolder = means.folders.attempt(self._name.id, job.attempt)
        self._staging: Staging | None = None
        self._watch: Watch | None = None

    def noted_handle(self) -> Handle:
        """The handle of what was started in this folder; empty if nothing was."""
        note = self.folder.note()
        return note.handle if note else {}

    def note(self, handle: Handle) -> None:
        """Leaves word of what was started, for a server that knows only the folder."""
        self.folder.leave_note(Note(job=self._job.name, executor=self._job.executor, handle=handle))

    def say(self, text: str, severity: Severity = Severity.INFO) -> None:
        """Adds a line of the service's own to the job's log. May be called from any thread."""
        with LogWriter(self.folder.logs, job_log.SERVICE) as writer:
            writer.append(text, severity)

    def prepare(self) -> Launch:
        """Brings here what the job needs, and says what is to be started.

        Raises:
            TensordeckError: If the job can't be started like this; the message is for its owner.
        """
        spec = self._job.job_spec
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.note({})
        self.say("The job is being prepared.")
        link = board_link(self._means.store.catalog, self._job)
        job_key.issue(self._means.access, self._job, self.folder.key)
        staging = self._open_staging()
        environment = JobEnvironment(
            self._job,
            self.folder,
            Cluster.on_this_host(launch_plan.replica_counts(spec)),
            self._means.endpoint(self.folder),
            self._outputs(staging, link),
        )
        uris = launch_plan.package_uris(spec)
        packages = dict(zip(uris, staging.fetch(uris, self.folder.packages), strict=True))
        for uri in sorted(launch_plan.mounted(spec, self.folder.buckets)):
            staging.path_of(uri).parent.mkdir(parents=True, exist_ok=True)
            staging.down(uri)
        if base := self._base():
            staging.down(f"{base}/{_OUTPUTS[_CHECKPOINT_DIR]}")
        replicas = launch_plan.replicas(spec, packages, self.folder.buckets, environment.variables)
        for replica in replicas:
            self.folder.home(replica.name).mkdir(parents=True, exist_ok=True)
        return Launch(
            job_id=self._name.id,
            attempt=self._job.attempt,
            folder=self.folder.path,
            replicas=replicas,
            timeout_seconds=self._time_left(),
            system_metrics=self._means.settings.system_metrics and link is not None,
        )

    def attend(self) -> None:
        """Starts what goes on beside the job: following its logs, keeping its output."""
        # A server that ended between taking the key away and ending the job has left none.
        job_key.issue(self._means.access, self._job, self.folder.key)
        staging = self._open_staging()
        staging.start()
        link = self._linked()
        if link is None:
            return
        endpoint = self._means.endpoint(self.folder)
        log_dir = self._outputs(staging, link)[_LOG_DIR]
        self._watch = Watch(
            Target(
                url=endpoint.url, credentials=endpoint.credentials, tensorboard=link.tensorboard
            ),
            link.experiment,
            [log_dir, self.folder.system_metrics],
            self.folder.positions,
            lambda text: self.say(text, Severity.WARNING),
            run=link.run,
        )
        self._watch.start()

    def leave(self, seconds: float) -> None:
        """Stops what goes on beside the job; a server on this data directory may go on with it.

        Args:
            seconds: How long that may take, about.
        """
        if self._watch is not None:
            self._watch.stop(seconds)
        if self._staging is not None:
            self._staging.leave()

    def finish(self) -> dict[str, str]:
        """Brings everything that the job has left to its place; its key counts no more.

        Returns:
            Why a file could not be kept in Cloud Storage, by its URI.
        """
        failed = {}
        if self._staging is not None:
            failed = self._staging.stop().failed
        if self._watch is not None:
            self._watch.stop(_LAST_LOGS_SECONDS)
        self.discard_key()
        return failed

    def discard_key(self) -> None:
        """Revokes the job's key, if it has one, and removes it."""
        job_key.withdraw(self._means.access, self._means.store.catalog, self.folder.key)

    def _open_staging(self) -> Staging:
        if self._staging is None:
            caller = Caller(job_key.service_account(self._job), self._job.name)
            self._staging = Staging(
                self._means.storage,
                self._means.access,
                caller,
                self.folder.path,
                lambda text: self.say(text, Severity.WARNING),
            )
        return self._staging

    def _outputs(self, staging: Staging, link: BoardLink | None) -> dict[str, Path]:
        """The folders that the job writes to, made, by the variables that name them.

        The managed service has none without a `base_output_directory`. A job that is linked to an
        instance is meant to log, and gets a place for that all the same.
        """
        if base := self._base():
            staging.ensure_bucket(base, self._name.project)
            return {
                variable: staging.make_folder(f"{base}/{name}")
                for variable, name in _OUTPUTS.items()
            }
        if link is None:
            return {}
        self.folder.event_files.mkdir(exist_ok=True)
        return {_LOG_DIR: self.folder.event_files}

    def _base(self) -> str:
        """The output directory's URI without a slash at its end; empty for none."""
        spec = self._job.job_spec
        return str(spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "")).rstrip("/")

    def _linked(self) -> BoardLink | None:
        try:
            return board_link(self._means.store.catalog, self._job)
        except NotFound as error:  # deleted since the job was started, which goes on
            self.say(f"The job's logs go nowhere: {error.message}", Severity.WARNING)
            return None

    def _time_left(self) -> float:
        """How long the job may run; earlier attempts count."""
        limit = launch_plan.timeout_seconds(self._job.job_spec)
        if self._job.start_time:
            limit -= time.time() - self._job.start_time / 1e6
        return max(limit, _SHORTEST_TIMEOUT)
