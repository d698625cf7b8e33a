"""What the states of its replicas mean for a job."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tensordeck.jobs.executor import Phase, ReplicaStatus

__all__ = ["Outcome", "Verdict", "judge"]

_PARAMETER_SERVERS: Final = "workerpool2-"
"""They serve for ever, and end with the job."""


class Verdict(StrEnum):
    """How a job stands."""

    PREPARING = "preparing"
    RUNNING = "running"
    CLOSING = "closing"
    """The primary replica has succeeded; others still work."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job stands, and why.

    Attributes:
        verdict: How.
        replica: The replica that decided it; None where none did.
        all_ended: Whether nothing of the job is alive any more.
    """

    verdict: Verdict
    replica: ReplicaStatus | None
    all_ended: bool


def judge(replicas: Sequence[ReplicaStatus]) -> Outcome:
    """Draws the conclusion.

    The primary replica (the first) speaks for the job: when it has succeeded the job has, and the
    others are waited for or ended. Before that, any replica that fails makes the job fail.

    Args:
        replicas: The replicas' states, in the order of the launch.
    """
    all_ended = all(replica.phase.ended for replica in replicas)
    primary = replicas[0]
    if primary.phase is Phase.SUCCEEDED:
        done = all(
            replica.phase.ended or replica.name.startswith(_PARAMETER_SERVERS)
            for replica in replicas
        )
        return Outcome(Verdict.SUCCEEDED if done else Verdict.CLOSING, primary, all_ended)
    for phase, verdict in (
        (Phase.FAILED, Verdict.FAILED),
        (Phase.LOST, Verdict.LOST),
        # Nobody here asked for it: somebody outside ended it.
        (Phase.CANCELLED, Verdict.LOST),
    ):
        for replica in replicas:
            if replica.phase is phase:
                return Outcome(verdict, replica, all_ended)
    started = any(replica.phase is not Phase.PREPARING for replica in replicas)
    return Outcome(Verdict.RUNNING if started else Verdict.PREPARING, None, all_ended)
