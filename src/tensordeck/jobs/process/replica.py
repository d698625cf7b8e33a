"""One replica while it runs: started, held to its limits, brought to an end."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from tensordeck.jobs.executor import Phase, ReplicaStatus
from tensordeck.jobs.job_log import LogWriter
from tensordeck.jobs.process import accelerators
from tensordeck.jobs.process.child import Child
from tensordeck.jobs.process.environments import Environment
from tensordeck.jobs.process.kernel import out_of_memory_kills
from tensordeck.jobs.process.overlay import lay
from tensordeck.jobs.process.plan import ReplicaPlan
from tensordeck.jobs.process.process_tree import MARKER


class RunningReplica:
    """A replica, from its preparation to its end."""

    def __init__(self, plan: ReplicaPlan, folder: Path, logs: Path) -> None:
        """Starts nothing yet.

        Args:
            plan: What it is.
            folder: Its own.
            logs: The attempt's.
        """
        self.plan = plan
        self.name = plan.name
        self.child: Child | None = None
        self._folder = folder
        self._logs = logs
        self._phase = Phase.PREPARING
        self._reason = ""
        self._verdict: tuple[Phase, str] | None = None
        self._kill_at: float | None = None
        self._kills_before = 0

    @property
    def status(self) -> ReplicaStatus:
        """How it is."""
        exit_code = self.child.exit_code if self.child and self._phase.ended else None
        return ReplicaStatus(
            name=self.name, phase=self._phase, exit_code=exit_code, reason=self._reason
        )

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._phase is Phase.RUNNING

    def start(
        self,
        environment: Environment,
        *,
        marker: str,
        path: str,
        temporary: Path,
        gpus: Sequence[str],
        user_tasks: int | None,
    ) -> None:
        """Starts it; one that can't be started has failed.

        Args:
            environment: What it runs in.
            marker: The attempt's.
            path: PATH of the host.
            temporary: For its temporary files.
            gpus: The GPUs that are its own.
            user_tasks: The limit on processes and threads of this user.
        """
        work = self._folder / "work"
        work.mkdir(parents=True)
        executables = lay(self._folder / "environment", environment)
        env = {
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",  # lines shall be seen when they are printed
            "HOME": str(work),
            "TMPDIR": str(temporary),
            **self.plan.env,
            "VIRTUAL_ENV": str(executables.parent),
            accelerators.VISIBLE: ",".join(gpus),  # none for who has asked for none
            MARKER: f"{marker}/{self.name}",
        }
        env["PATH"] = os.pathsep.join(
            [
                str(executables),
                f"{env['HOME']}/.local/bin",
                *environment.scripts,
                self.plan.env.get("PATH", path),
            ]
        )
        if self.plan.module:
            command = [str(executables / "python"), "-m", self.plan.module, *self.plan.args]
        else:
            command = [*self.plan.command, *self.plan.args]
        self._kills_before = out_of_memory_kills()
        try:
            self.child = Child(
                self.name,
                command,
                folder=work,
                env=env,
                log=LogWriter(self._logs, self.name),
                user_tasks=user_tasks,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.conclude(Phase.FAILED, f"{command[0]!r} could not be started: {reason}.")
            return
        self._phase = Phase.RUNNING

    def end(self, phase: Phase, reason: str, grace_seconds: float) -> None:
        """Ends it from outside; `phase` and `reason` are what it will be said to have come to.

        Args:
            phase: Once it has ended.
            reason: Why.
            grace_seconds: Between SIGTERM and SIGKILL; 0 for SIGKILL at once.
        """
        if self._verdict is not None or not self.running or self.child is None:
            return
        self._verdict = (phase, reason)
        self._kill_at = time.monotonic() + grace_seconds
        if grace_seconds:
            self.child.terminate()

    @property
    def overdue(self) -> bool:
        """Whether it was asked to end, and has not in time."""
        return self.running and self._kill_at is not None and time.monotonic() >= self._kill_at

    def settle(self) -> None:
        """Decides what became of it, now that its process has ended."""
        child = self.child
        assert child is not None and child.exit_code is not None  # noqa: S101, PT018 -- it ended
        if self._verdict is not None:
            self.conclude(*self._verdict)
        elif child.exit_code == 0:
            self.conclude(Phase.SUCCEEDED, "")
        else:
            self.conclude(Phase.FAILED, self._failure(child))

    def conclude(self, phase: Phase, reason: str) -> None:
        """Says what it has come to, unless that has been said."""
        if not self._phase.ended:
            self._phase, self._reason = phase, reason

    def _failure(self, child: Child) -> str:
        code = child.exit_code or 0
        if code == -signal.SIGKILL:
            if out_of_memory_kills() > self._kills_before:
                return (
                    "The kernel killed it (SIGKILL), since no memory was left: this host has less "
                    "than the job needs."
                )
            return "Something outside killed it (SIGKILL)."
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            return f"It was ended by {name}."
        return f"It exited with a non-zero status of {code}."


__all__ = ["RunningReplica"]
