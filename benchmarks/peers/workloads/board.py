"""(d) What the page asks for to draw one chart of 100 runs: the first answer, and the next ones."""

from benchmarks.peers.peer import Peer, Session
from benchmarks.peers.scale import Scale
from benchmarks.peers.workloads.workload import Figures, Workload

CLIENTS = 4
TAGS = 2


class Board(Workload):
    name = "board"
    every_round = False

    def measure(self, session: Session, peer: Peer, scale: Scale, number: int) -> Figures:
        done = session.client.call(
            "write",
            name="board",
            runs=scale.board_runs,
            clients=CLIENTS,
            series=TAGS,
            steps=scale.steps,
            per_step=False,
        )
        ask = {"runs": done["runs"], "steps": scale.steps, "times": scale.reads}
        session.client.call("ask_board", tag="tag_0", **ask)  # connections, caches, code
        answer = session.client.call("ask_board", tag="tag_1", **ask)
        first, *again = answer["ms"]
        return {"first_ms": first, "again_ms": again, "points": answer.get("points")}
