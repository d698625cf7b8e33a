"""What executors have in common that hand their replicas to an engine."""

import threading
from abc import abstractmethod
from pathlib import Path

from tensordeck.errors import Unavailable
from tensordeck.jobs.engine.reconciler import PATIENCE_SECONDS, PERIOD_SECONDS, Reconciler
from tensordeck.jobs.engine.record import AttemptRecord
from tensordeck.jobs.engine.replica import EngineReplica
from tensordeck.jobs.executor import (
    Executor,
    Handle,
    Launch,
    Phase,
    Replica,
    ReplicaStatus,
)


class EngineExecutor(Executor):
    """Hands replicas to an engine, and looks after them from there."""

    def __init__(
        self,
        *,
        period_seconds: float = PERIOD_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Asks the engine nothing yet.

        Args:
            period_seconds: How often the engine is asked how a replica is.
            patience_seconds: How long the engine may be away before its replicas count as lost.
        """
        self._period_seconds = period_seconds
        self._patience_seconds = patience_seconds
        self._attended: dict[Path, list[Reconciler]] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def in_engine(self, launch: Launch, replica: Replica, record: AttemptRecord) -> EngineReplica:
        """A replica as the engine will know it, or knows it already.

        Args:
            launch: The attempt.
            replica: One of its replicas.
            record: The attempt's record.
        """

    def prepare(self, launch: Launch) -> None:
        """Does what is to be done before the first replica of a new attempt is handed over."""

    def start(self, launch: Launch) -> Handle:
        """See `Executor`.

        Raises:
            InvalidArgument, FailedPrecondition: As `check` does.
            Unavailable: If the attempt's folder can't be written.
        """
        record = AttemptRecord(launch.folder)
        try:
            if record.launch() is None:
                self.check(launch)
                self.prepare(launch)
                record.write_launch(launch)
        except OSError as error:
            raise Unavailable(
                f"Job {launch.job_id} can't be started: {launch.folder} can't be written "
                f"({error.strerror or error})."
            ) from error
        self._reconcilers(launch.folder)
        return {
            "folder": str(launch.folder),
            "replicas": [replica.name for replica in launch.replicas],
        }

    def poll(self, handle: Handle) -> list[ReplicaStatus]:
        """See `Executor`."""
        folder = Path(handle["folder"])
        reconcilers = self._reconcilers(folder)
        if reconcilers is None:
            reason = f"The job's folder {folder} is gone."
            return [
                ReplicaStatus(name=name, phase=Phase.LOST, reason=reason)
                for name in handle["replicas"]
            ]
        statuses = [reconciler.status for reconciler in reconcilers]
        if all(status.phase.ended for status in statuses):
            with self._lock:
                self._attended.pop(folder, None)
        return statuses

    def cancel(self, handle: Handle) -> None:
        """See `Executor`."""
        folder = Path(handle["folder"])
        reconcilers = self._reconcilers(folder)
        if reconcilers is not None:
            AttemptRecord(folder).request_cancel()
            for reconciler in reconcilers:
                reconciler.wake()

    def _reconcilers(self, folder: Path) -> list[Reconciler] | None:
        """Those of an attempt, whoever has started it; None if nothing is known of it."""
        with self._lock:
            if folder not in self._attended:
                record = AttemptRecord(folder)
                launch = record.launch()
                if launch is None:
                    return None
                self._attended[folder] = [
                    Reconciler(
                        replica.name,
                        self.in_engine(launch, replica, record),
                        record,
                        timeout_seconds=launch.timeout_seconds,
                        period_seconds=self._period_seconds,
                        patience_seconds=self._patience_seconds,
                    )
                    for replica in launch.replicas
                ]
            return self._attended[folder]


__all__ = ["EngineExecutor"]
