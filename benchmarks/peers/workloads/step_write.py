"""(b) One call per step, as a training loop makes it."""

from benchmarks.peers.peer import Peer, Session
from benchmarks.peers.scale import Scale
from benchmarks.peers.servers.tensordeck import Embedded
from benchmarks.peers.workloads.workload import Figures, Workload

TUTORIALS, TUTORIAL_STEPS = 4, 10


class StepWrite(Workload):
    name = "step_write"

    def measure(self, session: Session, peer: Peer, scale: Scale, number: int) -> Figures:
        sizes = {"clients": scale.clients, "series": scale.series, "steps": scale.single_steps}
        done = session.client.call(
            "write", name="steps", runs=scale.clients, per_step=True, **sizes
        )
        calls = scale.clients * scale.single_steps
        figures = {
            "calls": calls,
            "seconds": done["seconds"],
            "points_per_s": calls * scale.series / done["seconds"],
            "calls_per_s": calls / done["seconds"],
        }
        if isinstance(peer, Embedded):
            # The way that tutorials show; its client opens a connection for every call.
            shown = {**sizes, "clients": min(scale.clients, TUTORIALS), "steps": TUTORIAL_STEPS}
            taken = session.client.call("log_metrics", name="shown", **shown)["seconds"]
            calls = shown["clients"] * shown["steps"]
            figures["tutorial_points_per_s"] = calls * scale.series / taken
        return figures
