"""What looking after jobs takes, once for all jobs of a server."""

from collections.abc import Callable
from dataclasses import dataclass

from tensordeck.access.local import LocalAccess
from tensordeck.jobs.executor import Executor
from tensordeck.jobs.job_folder import JobFolder, JobsFolder
from tensordeck.jobs.lease import Leases
from tensordeck.redirect.endpoint import Endpoint
from tensordeck.services.job_states import JobStates
from tensordeck.services.storage import StorageService
from tensordeck.settings import Settings
from tensordeck.store.contract import Store

__all__ = ["Means"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """A server's parts, as jobs need them.

    Attributes:
        settings: The server's settings.
        store: Where jobs rest.
        access: Where jobs' keys are made.
        storage: Cloud Storage.
        leases: Which jobs are ours.
        states: The states of jobs.
        folders: The jobs' folders.
        executor: An executor by its name.
        port: The port that the server listens on.
    """

    settings: Settings
    store: Store
    access: LocalAccess
    storage: StorageService
    leases: Leases
    states: JobStates
    folders: JobsFolder
    executor: Callable[[str], Executor]
    port: int

    def endpoint(self, folder: JobFolder) -> Endpoint:
        """The server as a job on this host reaches it, with the job's own key."""
        host = self.settings.host
        if host in ("", "0.0.0.0", "::", "localhost"):  # noqa: S104 -- compared, not bound
            host = "127.0.0.1"
        shown = f"[{host}]" if ":" in host else host
        return Endpoint(
            url=f"http://{shown}:{self.port}",
            host=host,
            port=self.port,
            credentials=folder.key,
            ca_bundle=self.settings.data_dir.absolute() / "tls" / "bundle.pem",
            state_dir=folder.gcloud,
            local=True,
        )
