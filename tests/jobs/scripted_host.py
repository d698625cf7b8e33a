"""A host on which the test says what becomes of replicas, and controllers that run jobs on it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from msgspec import structs

from tensordeck.access import open_access
from tensordeck.errors import FailedPrecondition
from tensordeck.jobs.controller import Controller
from tensordeck.jobs.executor import Executor, Handle, Launch, Phase, ReplicaStatus
from tensordeck.jobs.job_folder import JobsFolder
from tensordeck.jobs.lease import Leases
from tensordeck.jobs.means import Means
from tensordeck.services.job_states import JobStates
from tensordeck.services.storage import StorageService
from tensordeck.settings import Settings
from tensordeck.store import Store
from tensordeck.store.resources import CustomJob, JobState

PLACE = "projects/p/locations/us-central1"
PATIENCE = 30.0


def eventually(condition: Callable[[], Any]) -> Any:
    """Waits for a condition; returns what it said at last."""
    pause, waited = threading.Event(), 0.0
    while not (found := condition()) and waited < PATIENCE:
        pause.wait(0.02)
        waited += 0.02
    assert found, "it did not come to that"
    return found


@dataclass
class Started:
    """An attempt on the host.

    Attributes:
        launch: What was asked for.
        replicas: How each replica is, as the test says.
        cancelled: Whether its end was asked for.
    """

    launch: Launch
    replicas: list[ReplicaStatus]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def becomes(self, phase: Phase, number: int | None = None, **more: Any) -> None:
        """Says how a replica is from now on, or how all are."""
        for index, replica in enumerate(self.replicas):
            if number in (None, index):
                self.replicas[index] = replace(replica, phase=phase, **more)


class ScriptedHost(Executor):
    """What runs on a host; it outlives controllers, as real processes do."""

    name: ClassVar[str] = "process"

    def __init__(self, accelerators: int = 0) -> None:
        self.attempts: list[Started] = []
        self.accelerators = accelerators
        self._lock = threading.Lock()

    def check(self, launch: Launch) -> None:
        if any(r.machine.accelerators > self.accelerators for r in launch.replicas):
            raise FailedPrecondition("This host has no such accelerator.")

    def start(self, launch: Launch) -> Handle:
        with self._lock:
            phase = Phase.PREPARING
            statuses = [ReplicaStatus(name=r.name, phase=phase) for r in launch.replicas]
            self.attempts.append(Started(launch, statuses))
            return {"number": len(self.attempts) - 1}

    def poll(self, handle: Handle) -> list[ReplicaStatus]:
        return list(self.attempts[handle["number"]].replicas)

    def cancel(self, handle: Handle) -> None:
        started = self.attempts[handle["number"]]
        for index, replica in enumerate(started.replicas):
            if not replica.phase.ended:
                started.becomes(Phase.CANCELLED, index)
        started.cancelled.set()


class Installation:
    """A store, and servers that run jobs on it, each on a data directory of its own."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.storage = StorageService(store)
        self.controllers: list[Controller] = []
        self._jobs = 0

    def settings(self, place: str, **more: Any) -> Settings:
        return Settings(data_dir=self.folder / place, executor="process", **more)

    def means(self, host: Executor, place: str = "here", **more: Any) -> Means:
        settings = self.settings(place, **more)
        (settings.data_dir / "tls").mkdir(parents=True, exist_ok=True)
        (settings.data_dir / "tls" / "bundle.pem").touch()
        folders = JobsFolder(settings.data_dir)
        leases = Leases(self.store.catalog, folders.place())
        return Means(
            settings=settings,
            store=self.store,
            access=open_access(self.store.catalog, settings),
            storage=self.storage,
            leases=leases,
            states=JobStates(self.store.catalog, leases.owner),
            folders=folders,
            executor=lambda _name: host,
            port=1,
        )

    def serve(self, host: Executor, place: str = "here", **more: Any) -> Controller:
        """A server on the data directory of that name."""
        controller = Controller(self.means(host, place, **more))
        controller.start()
        self.controllers.append(controller)
        return controller

    def submit(self, pools: int = 1, **spec: Any) -> str:
        """A waiting job's name."""
        self._jobs += 1
        pool = {
            "machineSpec": {"machineType": "n1-standard-4"},
            "replicaCount": "1",
            "containerSpec": {"imageUri": "python", "command": ["true"]},
        }
        job = CustomJob(
            name=f"{PLACE}/customJobs/{self._jobs}",
            display_name="job",
            job_spec={"workerPoolSpecs": [pool] * pools, **spec},
        )
        self.store.catalog.create(job)
        for controller in self.controllers:
            controller.wake()
        return job.name

    def job(self, name: str) -> CustomJob:
        return self.store.catalog.get(CustomJob, name)

    def change(self, name: str, fields: Mapping[str, Any]) -> None:
        self.store.catalog.update(CustomJob, name, lambda job: structs.replace(job, **fields))

    def ended(self, name: str) -> CustomJob:
        """A job, once it has ended."""
        eventually(lambda: self.job(name).state.ended)
        return self.job(name)

    def is_in(self, name: str, state: JobState) -> CustomJob:
        """A job, once it is in a state."""
        eventually(lambda: self.job(name).state is state)
        return self.job(name)
