"""The process that runs one attempt of a job, and outlives the server that started it.

`python -m tensordeck.jobs.process.supervisor FOLDER LOCK`: the attempt's folder, and the file
descriptor of its lock, which is held already. One thread turns around pipes, ends of processes
and the clock; only system metrics have a thread of their own. It imports little, since a job
waits for it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from tensordeck.errors import TensordeckError
from tensordeck.jobs.executor import Phase
from tensordeck.jobs.job_log import SERVICE, LogWriter, Severity
from tensordeck.jobs.process import accelerators
from tensordeck.jobs.process.attempt_folder import AttemptFolder
from tensordeck.jobs.process.child import Child
from tensordeck.jobs.process.children import Children
from tensordeck.jobs.process.environments import Environment, ready
from tensordeck.jobs.process.json_file import write_json
from tensordeck.jobs.process.kernel import adopt_orphans
from tensordeck.jobs.process.limits import broken, user_tasks
from tensordeck.jobs.process.plan import EnvironmentPlan, Plan
from tensordeck.jobs.process.process_tree import MARKER, ProcessTree
from tensordeck.jobs.process.replica import RunningReplica

if TYPE_CHECKING:
    from tensordeck.jobs.system_metrics import SystemMetrics

_LOOK_SECONDS = 0.5
"""How often limits are checked, unless looking takes long."""
_LOOK_SHARE = 20
"""Looking takes at most this part of a core."""
_STATUS_SECONDS = 1.0
"""Between attempts to write a status when the disk is full."""
_BUILD = "build"


class Supervisor:
    """Runs an attempt."""

    def __init__(self, folder: AttemptFolder, plan: Plan) -> None:
        """Starts nothing yet."""
        self._folder = folder
        self._plan = plan
        self._log = LogWriter(folder.logs, SERVICE)
        self._tree = ProcessTree(plan.marker)
        self._children = Children(self._tree)
        self._replicas = [
            RunningReplica(replica, folder.replica(replica.name), folder.logs)
            for replica in plan.replicas
        ]
        self._metrics: list[SystemMetrics] = []
        self._told_to_end = False
        self._next_look = 0.0
        self._close_at: float | None = None

    def run(self) -> None:
        """Runs the attempt to its end."""
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGINT, self._on_terminate)
        try:
            self._write_status()
            for note in self._plan.notes:
                self._log.append(note)
            environments = self._prepare()
            gpus = self._take_gpus() if environments else None
            if environments is not None and gpus is not None:
                self._start(environments, gpus)
                self._watch()
        except Exception as error:  # a fault of ours must not leave processes behind
            self._conclude(Phase.LOST, f"The job's supervisor failed: {error!r}.")
            raise
        finally:
            self._finish()

    def _on_terminate(self, *_: object) -> None:
        self._told_to_end = True

    # What the replicas need

    def _prepare(self) -> list[Environment] | None:
        """Finds or builds each replica's environment; None if that has ended the attempt."""
        found: dict[EnvironmentPlan, Environment] = {}
        for replica in self._plan.replicas:
            plan = replica.environment
            if plan not in found:
                environment = self._environment(plan)
                if environment is None:
                    return None
                found[plan] = environment
        return [found[replica.environment] for replica in self._plan.replicas]

    def _environment(self, plan: EnvironmentPlan) -> Environment | None:
        environments = Path(self._plan.environments)
        try:
            environment = ready(environments, plan)
            if environment is None and self._build(plan):
                environment = ready(environments, plan)
        except (OSError, TensordeckError) as error:
            self._conclude(Phase.FAILED, f"The job's environment can't be made: {error}")
            return None
        return environment

    def _build(self, plan: EnvironmentPlan) -> bool:
        """Builds an environment, in a process that can be ended; returns whether it is done."""
        began = time.monotonic()
        file = self._folder.path / "environment.json"
        write_json(file, asdict(plan))
        builder = [sys.executable, "-P", "-m", "tensordeck.jobs.process.build"]
        child = Child(
            _BUILD,
            [*builder, self._plan.environments, str(file)],
            folder=self._folder.path,
            env={**self._plan.installer_env, MARKER: f"{self._plan.marker}/{_BUILD}"},
            log=self._log,
            errors=Severity.INFO,  # where uv tells its progress
        )
        self._add(child)
        while not child.drained:
            self._children.turn()
            if child.exit_code is None and self._is_stopped():
                self._tree.kill(_BUILD)
        if child.exit_code == 0:
            self._log.append(
                f"The environment was built in {time.monotonic() - began:.1f} s; the next job "
                f"that needs the same one finds it ready."
            )
            return True
        words = " ".join(child.last_words[-8:]) or f"status {child.exit_code}"
        self._conclude(Phase.FAILED, f"The job's environment could not be built: {words}")
        return False

    def _take_gpus(self) -> list[Sequence[str]] | None:
        """Takes the GPUs for each replica; None if waiting for them has ended the attempt."""
        wanted = [replica.gpus for replica in self._plan.replicas]
        count = min(sum(wanted), len(self._plan.gpus))
        locks = Path(self._plan.environments) / "gpus"
        said = False
        while not self._is_stopped():
            taken = accelerators.take(locks, self._plan.gpus, count) if count else ()
            if taken is not None:
                turn = cycle(taken)
                return [list(islice(turn, number)) for number in wanted]
            if not said:
                self._log.append(f"Waits for {count} GPUs, which other jobs use.")
                said = True
            self._children.turn()
        return None

    # Replicas

    def _start(self, environments: Sequence[Environment], gpus: Sequence[Sequence[str]]) -> None:
        plan = self._plan
        tasks = user_tasks()
        for replica, environment, own in zip(self._replicas, environments, gpus, strict=True):
            replica.start(
                environment,
                marker=plan.marker,
                path=plan.path,
                temporary=self._folder.make_temporary(plan.marker),
                gpus=own,
                user_tasks=tasks,
            )
            if replica.child is not None:
                self._add(replica.child)
        self._write_status()
        if plan.system_metrics:
            # Its imports take longer than all of the rest, so that nobody waits for them.
            threading.Thread(target=self._record_metrics, daemon=True).start()

    def _watch(self) -> None:
        plan = self._plan
        began = time.monotonic()
        while any(replica.running for replica in self._replicas):
            self._settle()
            if reason := self._stop_reason():
                self._end_all(*reason)
            if plan.timeout_seconds and time.monotonic() > began + plan.timeout_seconds:
                self._end_all(
                    Phase.FAILED,
                    f"The job ran longer than its timeout of {plan.timeout_seconds:g} s "
                    f"(scheduling.timeout).",
                )
            for replica in self._replicas:
                if replica.overdue:
                    self._log.append(f"{replica.name} did not end in time and is killed.")
                    self._tree.kill(replica.name)
            if time.monotonic() >= self._next_look:
                self._check_limits()
            self._children.turn()

    def _settle(self) -> None:
        """Draws the consequences of what has ended.

        The chief comes first: once it has succeeded, nobody else's failure counts.
        """
        for number, replica in enumerate(self._replicas):
            child = replica.child
            if child is not None and replica.running and child.exit_code is not None:
                # As in a container, nothing outlives the first process.
                if self._tree.kill(replica.name):
                    self._log.append(f"{replica.name} left processes behind, which were killed.")
                self._children.drain(child)
                replica.settle()
                self._write_status()
            phase = replica.status.phase
            if phase is Phase.SUCCEEDED and number == 0:
                self._close_at = self._close_at or time.monotonic() + self._plan.linger_seconds
            elif phase is Phase.FAILED and self._close_at is None:
                self._end_all(Phase.CANCELLED, f"Ended because {replica.name} failed.")
        if self._close_at is not None and time.monotonic() >= self._close_at:
            self._end_all(Phase.SUCCEEDED, "")

    def _check_limits(self) -> None:
        began = time.monotonic()
        members = self._tree.look()
        for replica in self._replicas:
            if replica.running:
                limit = broken(replica.plan.machine, members.get(replica.name, ()))
                if limit:
                    replica.end(Phase.FAILED, f"It {limit}.", 0)
        took = time.monotonic() - began
        self._next_look = time.monotonic() + max(_LOOK_SECONDS, _LOOK_SHARE * took)

    def _is_stopped(self) -> bool:
        """Whether somebody wants the attempt's end before its replicas have been started."""
        if reason := self._stop_reason():
            self._conclude(*reason)
        return reason is not None

    def _stop_reason(self) -> tuple[Phase, str] | None:
        if self._folder.cancel_requested:
            return Phase.CANCELLED, "The job was cancelled."
        if self._told_to_end:
            return Phase.LOST, "The job's supervisor was told to end (SIGTERM): a host going down."
        return None

    def _end_all(self, phase: Phase, reason: str) -> None:
        for replica in self._replicas:
            replica.end(phase, reason, self._plan.grace_seconds)

    def _conclude(self, phase: Phase, reason: str) -> None:
        for replica in self._replicas:
            replica.conclude(phase, reason)

    def _record_metrics(self) -> None:
        try:
            from tensordeck.jobs.system_metrics import SystemMetrics  # noqa: PLC0415 -- see above

            for replica in self._replicas:
                metrics = SystemMetrics(
                    self._folder.system / replica.name,
                    partial(self._tree.pids, replica.name),
                    disk=self._folder.path,
                )
                metrics.start()
                self._metrics.append(metrics)
        except Exception as error:  # noqa: BLE001 -- a job matters more than its measurement
            self._log.append(f"System metrics can't be recorded: {error}", Severity.WARNING)

    def _add(self, child: Child) -> None:
        self._children.add(child)
        self._folder.write_processes(self._tree.roots())

    def _finish(self) -> None:
        """Leaves nothing behind, and says so."""
        self._children.close()
        for metrics in self._metrics:
            metrics.stop()
        self._folder.remove_temporaries(self._plan.marker)
        self._write_status()

    def _write_status(self) -> None:
        statuses = [replica.status for replica in self._replicas]
        while True:
            try:
                self._folder.write_status(statuses)
            except OSError:
                if not self._folder.exists:
                    return
                # The disk is full. Who waits for the end must learn it, so try until it is not.
                if not all(status.phase.ended for status in statuses):
                    return
                time.sleep(_STATUS_SECONDS)
            else:
                return


def main() -> None:
    """Runs one attempt."""
    path, lock = sys.argv[1:]
    os.set_inheritable(int(lock), False)
    os.umask(0o077)
    adopt_orphans()
    folder = AttemptFolder(Path(path))
    plan = folder.read_plan()
    if plan is not None:
        Supervisor(folder, plan).run()


if __name__ == "__main__":
    main()
