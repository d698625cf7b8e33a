"""The process that runs one attempt of a job, and outlives the server that started it.

`python -m tensordeck.jobs.process.supervisor FOLDER LOCK`: the attempt's folder, and the file
descriptor of its lock, which is held already. One thread turns around pipes, ends of processes
and the clock; only system metrics have a thread of their own. It imports little, since a job
waits for it.
"""

import os
import selectors
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tensordeck.errors import TensordeckError
from tensordeck.jobs.executor import Phase
from tensordeck.jobs.job_log import SERVICE, LogWriter, Severity
from tensordeck.jobs.process.attempt_folder import AttemptFolder, write_json
from tensordeck.jobs.process.child import Child
from tensordeck.jobs.process.environments import Environment, ready
from tensordeck.jobs.process.kernel import adopt_orphans
from tensordeck.jobs.process.limits import broken, user_tasks
from tensordeck.jobs.process.output import OutputPipe
from tensordeck.jobs.process.plan import EnvironmentPlan, Plan
from tensordeck.jobs.process.process_tree import MARKER, ProcessTree
from tensordeck.jobs.process.replica import RunningReplica

_TURN_SECONDS = 0.2
"""How long a request to cancel may go unseen."""
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
        self._selector = selectors.DefaultSelector()
        self._children: dict[str, Child] = {}
        self._replicas = [
            RunningReplica(replica, folder.replica(replica.name), folder.logs)
            for replica in plan.replicas
        ]
        self._told_to_end = False
        self._next_look = 0.0
        self._wake, self._woken = os.pipe()
        for descriptor in (self._wake, self._woken):
            os.set_blocking(descriptor, False)

    def run(self) -> None:
        """Runs the attempt to its end."""
        try:
            self._run()
        except Exception as error:  # a fault of ours must not leave processes behind
            self._conclude(Phase.LOST, f"The job's supervisor failed: {error!r}.")
            raise
        finally:
            self._finish()

    def _run(self) -> None:
        self._watch_signals()
        self._write_status()
        for note in self._plan.notes:
            self._log.append(note)
        environments = self._prepare()
        if environments is not None:
            self._start(environments)
            self._watch()

    def _watch_signals(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGINT, self._on_terminate)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def _on_terminate(self, *_: object) -> None:
        self._told_to_end = True

    # Environments

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
        child = Child(
            _BUILD,
            [
                sys.executable,
                "-m",
                "tensordeck.jobs.process.build",
                self._plan.environments,
                str(file),
            ],
            folder=self._folder.path,
            env={**self._plan.installer_env, MARKER: f"{self._plan.marker}/{_BUILD}"},
            log=self._log,
        )
        self._add(child)
        while not child.drained:
            self._turn()
            if child.exit_code is None and (reason := self._stop_reason()):
                self._tree.kill(_BUILD)
                self._conclude(*reason)
        del self._children[_BUILD]
        self._close(child)
        if child.exit_code == 0:
            self._log.append(
                f"The environment was built in {time.monotonic() - began:.1f} s; the next job "
                f"that needs the same one finds it ready."
            )
            return True
        words = " ".join(child.last_words[-8:]) or f"status {child.exit_code}"
        self._conclude(Phase.FAILED, f"The job's environment could not be built: {words}")
        return False

    # Replicas

    def _start(self, environments: Sequence[Environment]) -> None:
        tasks = user_tasks()
        for replica, environment in zip(self._replicas, environments, strict=True):
            replica.start(environment, self._plan.marker, self._plan.path, tasks)
            if replica.child is not None:
                self._add(replica.child)
        self._write_status()
        if self._plan.system_metrics:
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
            self._turn()

    def _settle(self) -> None:
        """Draws the consequences of what has ended; the chief comes first."""
        for number, replica in enumerate(self._replicas):
            child = replica.child
            if child is not None and replica.running and child.exit_code is not None:
                # As in a container, nothing outlives the first process.
                if self._tree.kill(replica.name):
                    self._log.append(f"{replica.name} left processes behind, which were killed.")
                while not child.drained:
                    self._turn()
                replica.settle()
                self._write_status()
            phase = replica.status.phase
            if phase is Phase.SUCCEEDED and number == 0:
                self._end_all(Phase.SUCCEEDED, "")
            elif phase is Phase.FAILED:
                self._end_all(Phase.CANCELLED, f"Ended because {replica.name} failed.")

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
                SystemMetrics(
                    self._folder.system / replica.name,
                    partial(self._tree.pids, replica.name),
                    disk=self._folder.path,
                ).start()
        except Exception as error:  # noqa: BLE001 -- a job matters more than its measurement
            self._log.append(f"System metrics can't be recorded: {error}", Severity.WARNING)

    # The loop

    def _turn(self) -> None:
        """Waits for something to happen, and reads what there is to read."""
        for key, _ in self._selector.select(_TURN_SECONDS):
            if key.fileobj == self._wake:
                with suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                continue
            child: Child = key.data
            pipe = key.fileobj
            assert isinstance(pipe, OutputPipe)  # noqa: S101 -- nothing else is registered
            if not child.read(pipe):
                self._selector.unregister(pipe)
        for child in self._children.values():
            child.ended()

    def _add(self, child: Child) -> None:
        self._children[child.name] = child
        for pipe in child.pipes:
            self._selector.register(pipe, selectors.EVENT_READ, child)
        self._tree.add(child.pid, child.name)
        self._folder.write_processes(self._tree.roots())

    def _close(self, child: Child) -> None:
        for pipe in child.pipes:
            with suppress(KeyError):
                self._selector.unregister(pipe)
        child.close()

    def _finish(self) -> None:
        """Leaves nothing behind, and says so."""
        self._tree.kill()
        for child in self._children.values():
            self._close(child)
        for replica in self._replicas:
            if replica.temporary:
                shutil.rmtree(replica.temporary, ignore_errors=True)
        self._write_status()

    def _write_status(self) -> None:
        statuses = [replica.status for replica in self._replicas]
        while True:
            try:
                self._folder.write_status(statuses)
            except OSError:
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
    Supervisor(folder, folder.read_plan()).run()


if __name__ == "__main__":
    main()
