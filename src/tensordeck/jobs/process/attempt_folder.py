"""What lies in the folder of an attempt, and how executor and supervisor talk through it.

They share nothing but files: the executor writes `launch.json` and, to cancel, `cancel`; the
supervisor writes `status.json` and `processes.json`. The supervisor holds the lock on
`supervisor.lock` as long as it lives, whoever else dies, and the kernel lets go of it when it
does: that is how anybody tells, without a process id that might mean another process by now.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tensordeck.jobs.executor import Phase, ReplicaStatus
from tensordeck.jobs.process.json_file import read_json, write_json
from tensordeck.jobs.process.plan import Plan

_RESERVE_BYTES = 64 << 10
"""Kept back for the last status."""


class AttemptFolder:
    """The files of one attempt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.system = path / "system"
        self._launch = path / "launch.json"
        self._status = path / "status.json"
        self._processes = path / "processes.json"
        self._reserve = path / "reserve"
        self._cancel = path / "cancel"
        self._lock = path / "supervisor.lock"

    def replica(self, name: str) -> Path:
        """A replica's own folder."""
        return self.path / "replicas" / name

    def write_plan(self, plan: Plan) -> None:
        """Keeps the plan, for nobody but us: it holds the replicas' variables."""
        write_json(self._launch, asdict(plan))
        self._reserve.write_bytes(bytes(_RESERVE_BYTES))

    def read_plan(self) -> Plan | None:
        """Reads what `write_plan` wrote; None if it is not there."""
        document = read_json(self._launch)
        return None if document is None else Plan.read(document)

    def write_status(self, statuses: Sequence[ReplicaStatus]) -> None:
        """Tells how the replicas are, whole or not at all."""
        document = [asdict(status) for status in statuses]
        try:
            write_json(self._status, document)
        except OSError:
            # The job has filled the disk: that must not keep anybody from learning of its end.
            self._reserve.unlink(missing_ok=True)
            write_json(self._status, document)

    def read_status(self) -> list[ReplicaStatus] | None:
        """How the replicas are; None while nobody has said."""
        document = read_json(self._status)
        if document is None:
            return None
        return [ReplicaStatus(**{**item, "phase": Phase(item["phase"])}) for item in document]

    def write_processes(self, processes: Mapping[str, tuple[int, float]]) -> None:
        """Keeps process ids and the times they were created at, by what they are."""
        write_json(self._processes, processes)

    def read_processes(self) -> dict[str, tuple[int, float]]:
        """What `write_processes` kept."""
        document = read_json(self._processes) or {}
        return {name: (pid, created) for name, (pid, created) in document.items()}

    def request_cancel(self) -> None:
        """Asks the supervisor to end the replicas."""
        with suppress(FileNotFoundError):  # the folder was removed, long after the end
            self._cancel.touch()

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked, or removed the folder: then nobody can ask any more."""
        return self._cancel.exists() or not self.exists

    @property
    def exists(self) -> bool:
        """Whether it is still there."""
        return self.path.is_dir()

    def make_temporary(self, marker: str) -> Path:
        """Makes a folder for a replica's temporary files.

        Not below this one: sockets live there, whose paths must be short.
        """
        return Path(tempfile.mkdtemp(prefix=_temporary_prefix(marker)))

    def remove_temporaries(self, marker: str) -> None:
        """Removes all that `make_temporary` made for an attempt."""
        for path in Path(tempfile.gettempdir()).glob(f"{_temporary_prefix(marker)}*"):
            shutil.rmtree(path, ignore_errors=True)

    def lock(self) -> int | None:
        """Takes the supervisor's lock: a file descriptor, or None if a supervisor lives."""
        return self._locked(fcntl.LOCK_EX)

    def supervised(self) -> bool:
        """Whether a supervisor lives."""
        if not self.exists:
            return False
        # Shared, so that two who look don't see each other.
        descriptor = self._locked(fcntl.LOCK_SH)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def _locked(self, kind: int) -> int | None:
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor


def _temporary_prefix(marker: str) -> str:
    return f"job-{marker}-"


__all__ = ["AttemptFolder"]
