"""(g) The server is killed while it takes writes; what it had acknowledged must be there after."""

import random
import tempfile
import time
from pathlib import Path

from benchmarks.peers.peer import Peer, Session
from benchmarks.peers.scale import Scale
from benchmarks.peers.workloads.workload import Figures, Workload

CLIENTS = 4
SCALARS = 20


class Kill(Workload):
    name = "kill"
    every_round = False
    alone = True

    def measure(self, session: Session, peer: Peer, scale: Scale, number: int) -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            return self._measure(session, scale, Path(folder))

    def _measure(self, session: Session, scale: Scale, folder: Path) -> Figures:
        acknowledged, missing, restarts = 0, 0, []
        moments = random.Random(7)
        for number in range(scale.kills):
            begun = folder / str(number)
            session.client.send(
                "acknowledge", name=f"kill-{number}", clients=CLIENTS, begun=str(begun)
            )
            while not begun.exists() and session.client.waiting():
                time.sleep(0.05)
            time.sleep(moments.uniform(1, 4))
            session.kill()
            steps = session.client.result()
            session.restart()
            restarts.append(session.start_seconds)
            acknowledged += SCALARS * sum(steps.values())
            missing += session.client.call("missing", acknowledged=steps)
        return {
            "kills": scale.kills,
            "acknowledged_points": acknowledged,
            "lost_points": missing,
            "restart_s": restarts,
        }
