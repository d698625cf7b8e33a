"""What replicas' states mean for their job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.jobs.executor import Phase, ReplicaStatus
from tensordeck.jobs.outcome import Verdict, judge

P, R, S, F, C, L = Phase
POOLS = ("workerpool0-0", "workerpool1-0", "workerpool2-0")


def statuses(*phases: Phase) -> list[ReplicaStatus]:
    return [ReplicaStatus(name=POOLS[i], phase=phase) for i, phase in enumerate(phases)]


@pytest.mark.parametrize(
    ("phases", "verdict", "decided_by"),
    [
        ([P], Verdict.PREPARING, None),
        ([P, P, P], Verdict.PREPARING, None),
        ([R, P, P], Verdict.RUNNING, None),
        ([R, S, R], Verdict.RUNNING, None),
        ([S, R, R], Verdict.CLOSING, 0),
        ([S, S, R], Verdict.SUCCEEDED, 0),
        ([S, S, S], Verdict.SUCCEEDED, 0),
        ([S, F, S], Verdict.SUCCEEDED, 0),
        ([R, R, F], Verdict.FAILED, 2),
        ([F, F, R], Verdict.FAILED, 0),
        ([L, F, R], Verdict.FAILED, 1),
        ([L, R, R], Verdict.LOST, 0),
        ([C, R, R], Verdict.LOST, 0),
    ],
)
def test_the_primary_replica_speaks_for_the_job(phases, verdict, decided_by):
    outcome = judge(statuses(*phases))

    assert outcome.verdict is verdict
    assert outcome.replica == (None if decided_by is None else statuses(*phases)[decided_by])


@given(st.lists(st.sampled_from(Phase), min_size=1, max_size=3))
def test_a_job_whose_replicas_have_all_ended_is_decided(phases):
    outcome = judge(statuses(*phases))

    assert outcome.all_ended == all(phase.ended for phase in phases)
    if outcome.all_ended:
        assert outcome.verdict in (Verdict.SUCCEEDED, Verdict.FAILED, Verdict.LOST)
        assert outcome.replica is not None
