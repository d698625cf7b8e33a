"""(a) Runs of many scalars, as fast as the client's fastest documented path takes them; and
(e) what a point takes on disk afterwards, (f) and the server in memory."""

from benchmarks.peers.peer import Peer, Session
from benchmarks.peers.scale import Scale
from benchmarks.peers.workloads.workload import Figures, Workload


class BatchWrite(Workload):
    name = "batch_write"

    def measure(self, session: Session, peer: Peer, scale: Scale, number: int) -> Figures:
        size, cpu = session.bytes_on_disk(), session.cpu_seconds()
        done = session.client.call(
            "write",
            name="batch",
            runs=scale.clients,
            clients=scale.clients,
            series=scale.series,
            steps=scale.steps,
            per_step=False,
        )
        points = scale.clients * scale.series * scale.steps
        figures: Figures = {
            "points": points,
            "seconds": done["seconds"],
            "points_per_s": points / done["seconds"],
            "memory_mb": session.memory_mb(),
        }
        if not number:  # settling takes a while, and comes to the same in every round
            session.settle()
            used = {k: after - cpu[k] for k, after in session.cpu_seconds().items()}
            figures["server_cpu_s"], figures["database_cpu_s"] = used["server"], used["database"]
            figures["bytes_per_point"] = (session.bytes_on_disk() - size) / points
        return figures
