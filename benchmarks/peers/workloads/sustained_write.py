"""What a point costs the server and its database in a load that lasts, folding included."""

from benchmarks.peers.peer import Peer, Session
from benchmarks.peers.scale import Scale
from benchmarks.peers.servers.tensordeck import TensordeckSession
from benchmarks.peers.workloads.workload import Figures, Workload


class SustainedWrite(Workload):
    """As (a) with ten times its steps, for Tensordeck's own databases.

    In (a) a second of writing is outweighed by what is paid once: connections, first statements,
    the resources that are written to, and waiting for the folder. The others have no second
    database to compare, and would take half an hour.
    """

    name = "sustained_write"

    def measure(self, session: Session, peer: Peer, scale: Scale, number: int) -> Figures:
        if not isinstance(session, TensordeckSession):
            return {}
        steps = scale.sustained_steps
        before = session.cpu_seconds()
        done = session.client.call(
            "write",
            name="sustained",
            runs=scale.clients,
            clients=scale.clients,
            series=scale.series,
            steps=steps,
            per_step=False,
        )
        session.settle()
        after = session.cpu_seconds()
        points = scale.clients * scale.series * steps
        server, database = (after[part] - before[part] for part in ("server", "database"))
        return {
            "points": points,
            "points_per_s": points / done["seconds"],
            "server_cpu_s": server,
            "database_cpu_s": database,
            "cpu_s_per_million": (server + database) / points * 1e6,
        }
