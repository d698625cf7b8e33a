"""One replica as a container."""

import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar, Final

import psutil

from tensordeck.errors import Unavailable
from tensordeck.jobs.container.engine import ContainerEngine, ContainerState
from tensordeck.jobs.container.invocation import GPUS, container_name, invocation
from tensordeck.jobs.container.printed import copy_printed, nanoseconds
from tensordeck.jobs.engine.reconciler import ended
from tensordeck.jobs.engine.record import AttemptRecord
from tensordeck.jobs.engine.replica import EngineReplica, Sight, exit_code_of
from tensordeck.jobs.executor import Launch, Phase, Replica
from tensordeck.jobs.job_log import LogWriter
from tensordeck.jobs.machine_types import GIB
from tensordeck.jobs.process import accelerators
from tensordeck.jobs.system_metrics import SystemMetrics

_HOST_GOES_DOWN: Final = (-signal.SIGTERM, -signal.SIGKILL, 255)
"""How containers end whose host does: docker leaves 255 where it could not end them itself."""


class ContainerReplica(EngineReplica):
    """A replica in the hands of docker or podman."""

    has_company: ClassVar[bool] = True

    def __init__(
        self,
        engine: ContainerEngine,
        gpus: threading.Lock,
        launch: Launch,
        replica: Replica,
        record: AttemptRecord,
        grace_seconds: float,
    ) -> None:
        """Does nothing yet.

        Args:
            engine: The engine.
            gpus: Held by whoever gives out GPUs.
            launch: The attempt.
            replica: One of its replicas.
            record: The attempt's record.
            grace_seconds: Between SIGTERM and SIGKILL.
        """
        self._engine = engine
        self._gpus = gpus
        self._launch = launch
        self._replica = replica
        self._record = record
        self._grace_seconds = grace_seconds
        self._name = container_name(launch, replica)
        self._pid = 0
        self._stopping: threading.Thread | None = None

    def submit(self) -> str:
        """See `EngineReplica`."""
        self._engine.ensure_image(self._replica.image, lambda: not self._record.cancel_requested)
        if self._record.cancel_requested:
            return ""
        # One after the other, lest two take the same GPU.
        with self._gpus:
            gpus = self._free_gpus()
            if gpus is None:
                return f"It waits until {self._replica.machine.accelerators} GPUs are free."
            self._run(gpus)
        return ""

    def look(self) -> Sight | None:
        """See `EngineReplica`."""
        state = self._engine.state(self._name)
        if state is None:
            return None
        if not state.began:
            self._engine.start(self._name)  # whoever made it was interrupted
            return Sight(phase=Phase.PREPARING)
        self._pid = state.pid
        return self._ended(state) if state.ended else Sight(phase=Phase.RUNNING)

    def stop(self) -> bool:
        """See `EngineReplica`."""
        if self._stopping is None or not self._stopping.is_alive():
            self._stopping = threading.Thread(target=self._stop, daemon=True)
            self._stopping.start()
        return True

    def accompany(self) -> None:
        """Copies what the container prints, and records what it uses."""
        metrics = None
        if self._launch.system_metrics and self._pid:
            metrics = SystemMetrics(
                self._launch.folder / "system" / self._replica.name,
                lambda: [self._pid] if self._pid else [],
                disk=self._launch.folder,
            )
            metrics.start()
        try:
            place = self._record.path / f"{self._replica.name}.printed.json"
            with LogWriter(self._launch.folder / "logs", self._replica.name) as log:
                copy_printed(self._engine, self._name, place, log)
        finally:
            if metrics is not None:
                metrics.stop()

    def remove(self) -> None:
        """See `EngineReplica`."""
        self._engine.remove(self._name)

    def _stop(self) -> None:
        with suppress(Unavailable):  # it is tried again
            self._engine.stop(self._name, self._grace_seconds)

    def _run(self, gpus: Sequence[str]) -> None:
        (self._launch.folder / "gcs").mkdir(exist_ok=True)
        (self._launch.folder / "logs").mkdir(exist_ok=True)
        env_file = self._record.path / f"{self._replica.name}.env"
        run = invocation(self._launch, self._replica, self._engine.info(), env_file, gpus)
        env_file.touch(0o600)
        try:
            env_file.write_text(run.variables)
            self._engine.run(run.arguments, run.environ())
        finally:
            env_file.unlink()

    def _free_gpus(self) -> list[str] | None:
        """As many GPUs as it asks for that no other container has; None if too few are free."""
        count = self._replica.machine.accelerators
        if not count:
            return []
        taken = {gpu for label in self._engine.labels(GPUS) for gpu in label.split(",")}
        free = [gpu for gpu in accelerators.there() if gpu not in taken]
        return free[:count] if len(free) >= count else None

    def _ended(self, state: ContainerState) -> Sight:
        code = exit_code_of(state.exit_code)
        if state.out_of_memory and code:
            machine = self._replica.machine
            return Sight(
                phase=Phase.FAILED,
                exit_code=code,
                reason=(
                    f"It was killed for using more memory than {machine.machine_type}'s "
                    f"{machine.memory_bytes / GIB:g} GiB; choose a machine type with more memory, "
                    f"or use less."
                ),
            )
        if code in _HOST_GOES_DOWN and _before_boot(state.started_at):
            reason = "The host was restarted while it ran."
            return Sight(phase=Phase.LOST, exit_code=code, reason=reason)
        if state.error:
            reason = f"The container could not be run: {state.error}."
            return Sight(phase=Phase.FAILED, exit_code=code, reason=reason)
        return ended(code)


def _before_boot(started_at: str) -> bool:
    """Whether this host has been booted since."""
    return 0 < nanoseconds(started_at.encode()) < psutil.boot_time() * 1e9


__all__ = ["ContainerReplica"]
