"""(c) Whether a sampled read costs what the sample has or what the series has."""

from benchmarks.peers.peer import Peer, Session
from benchmarks.peers.scale import Scale
from benchmarks.peers.servers.tensordeck import Embedded
from benchmarks.peers.workloads.workload import Figures, Workload

READS = 100


class SampledRead(Workload):
    name = "sampled_read"
    every_round = False

    def measure(self, session: Session, peer: Peer, scale: Scale, number: int) -> Figures:
        if not isinstance(peer, Embedded):
            return {}
        lengths = (scale.long_steps // 10, scale.long_steps, scale.long_steps * 10)
        runs = [
            session.client.call("write_long", steps=steps, name=f"sampled-{steps}")["run"]
            for steps in lengths
        ]
        session.settle()
        figures: Figures = {"lengths": list(lengths), "cpu_ms": [], "call_ms": []}
        for run in runs:
            before = session.cpu_seconds()["server"]
            read = session.client.call("read_sampled", run=run, times=READS)
            used = session.cpu_seconds()["server"] - before
            figures["cpu_ms"].append(used / READS * 1000)
            figures["call_ms"].append(sorted(read["sampled_ms"])[READS // 2])
        figures["longest_ms"] = figures["cpu_ms"][-1]
        return figures
