"""The text of a failed job's error, for people."""

from pathlib import Path
from typing import Final

from tensordeck.jobs import job_log
from tensordeck.jobs.executor import ReplicaStatus

__all__ = ["failure_message"]

_LONGEST: Final = 4000
"""Characters of log lines: enough for a traceback, and not too much for a list of jobs."""
_LINES: Final = 20


def failure_message(job_id: str, replica: ReplicaStatus, logs: Path) -> str:
    """Says how a replica failed, what it said last, and where to read on.

    Args:
        job_id: The job's id.
        replica: The replica that failed.
        logs: The `logs` folder of the attempt.
    """
    text = f"The replica {replica.name} {_how(replica)}"
    tail = "\n".join(line.text for line in job_log.last(logs, replica.name, _LINES))
    if len(tail) > _LONGEST:
        tail = "…" + tail[-_LONGEST:]
    if tail:
        text += f"\nThe last lines of its log:\n{tail}"
    return (
        f"{text}\nTo find out more about why your job exited please check the logs: "
        f"tensordeck jobs logs {job_id}"
    )


def _how(replica: ReplicaStatus) -> str:
    if replica.reason.startswith("It "):
        return replica.reason.removeprefix("It ")
    if replica.reason:
        return f"failed: {replica.reason}"
    if replica.exit_code is None:
        return "failed."
    if replica.exit_code < 0:
        return f"was ended by signal {-replica.exit_code}."
    return f"exited with a non-zero status of {replica.exit_code}."
