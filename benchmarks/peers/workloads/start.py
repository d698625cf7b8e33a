"""(f) How soon a server answers, and the memory that it takes with nothing to do."""

import time

from benchmarks.peers.peer import Peer, Session
from benchmarks.peers.scale import Scale
from benchmarks.peers.workloads.workload import Figures, Workload

REST_SECONDS = 3
"""Until what a server does after its first answer is over."""


class Start(Workload):
    name = "start"

    def measure(self, session: Session, peer: Peer, scale: Scale, number: int) -> Figures:
        time.sleep(REST_SECONDS)
        return {"start_s": session.start_seconds, "idle_mb": session.memory_mb()}
