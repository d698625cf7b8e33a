"""(c) One long series, written by one client and read: whole, and sampled as for a chart."""

import contextlib

from benchmarks.peers.peer import Peer, Session
from benchmarks.peers.scale import Scale
from benchmarks.peers.servers.tensordeck import TensordeckSession
from benchmarks.peers.workloads.workload import Figures, Workload


class LongSeries(Workload):
    name = "long_series"
    every_round = False

    def measure(self, session: Session, peer: Peer, scale: Scale, number: int) -> Figures:
        session.settle()
        size = session.bytes_on_disk()
        written = session.client.call("write_long", steps=scale.long_steps)
        session.settle()
        figures: Figures = {
            "points": scale.long_steps,
            "write_points_per_s": scale.long_steps / written["seconds"],
            "bytes_per_point": (session.bytes_on_disk() - size) / scale.long_steps,
        }
        with contextlib.ExitStack() as stack:
            ask = {"run": written["run"], "steps": scale.long_steps, "times": scale.reads}
            if isinstance(session, TensordeckSession):
                ask["reference"] = stack.enter_context(session.reference(scale.long_steps))
            read = session.client.call("read_long", **ask)
        if read["whole_points"] != scale.long_steps:
            raise AssertionError(f"{peer.name} returned {read['whole_points']} points")
        return {**figures, **read}
