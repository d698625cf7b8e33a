"""The ports of a job's replicas, and the variables by which programs learn of them.

`CLUSTER_SPEC`, `TF_CONFIG` and PyTorch's variables say how the replicas find each other; two more
say where the client's profiler is to listen, which gives up without them.

Formats: https://cloud.google.com/vertex-ai/docs/training/distributed-training and
https://www.tensorflow.org/guide/distributed_training#setting_up_tf_config_environment_variable.
"""

import contextlib
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

__all__ = ["Cluster"]

_TASKS: Final = ("chief", "worker", "ps", "evaluator")
"""What TensorFlow calls the tasks of the worker pools, in order."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The addresses of a job's replicas.

    Attributes:
        pools: `host:port` of each replica, by worker pool; an unused pool is empty.
        master: `host:port` where PyTorch's processes meet.
        profilers: Two more ports for each replica, by worker pool: TensorFlow's profiler, and the
            server that hands its profiles out.
    """

    pools: tuple[tuple[str, ...], ...]
    master: str
    profilers: tuple[tuple[tuple[str, str], ...], ...]

    @classmethod
    def on_this_host(cls, replica_counts: Sequence[int]) -> Self:
        """Gives every replica a port of its own on the loopback address.

        Args:
            replica_counts: How many replicas each worker pool has.
        """
        with contextlib.ExitStack() as stack:

            def port() -> str:
                # All are held until the last is found, so that no two are the same.
                probe = stack.enter_context(socket.socket())
                probe.bind(("127.0.0.1", 0))
                return str(probe.getsockname()[1])

            return cls(
                tuple(tuple(f"127.0.0.1:{port()}" for _ in range(n)) for n in replica_counts),
                f"127.0.0.1:{port()}",
                tuple(tuple((port(), port()) for _ in range(n)) for n in replica_counts),
            )

    @property
    def size(self) -> int:
        """The number of replicas."""
        return sum(map(len, self.pools))

    def variables(self, pool: int, index: int, job_spec: dict[str, Any]) -> dict[str, str]:
        """The variables of one replica.

        Args:
            pool: Its worker pool.
            index: Its index in the pool.
            job_spec: The CustomJobSpec as proto3 JSON; both formats have it inside.
        """
        host, _, port = self.master.rpartition(":")
        profiler, handler = self.profilers[pool][index]
        variables = {
            "CLUSTER_SPEC": json.dumps(
                {
                    "cluster": {
                        f"workerpool{number}": list(addresses)
                        for number, addresses in enumerate(self.pools)
                        if addresses
                    },
                    "environment": "cloud",
                    "task": {"type": f"workerpool{pool}", "index": index},
                    "job": job_spec,
                }
            ),
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
            "WORLD_SIZE": str(self.size),
            "RANK": str(sum(map(len, self.pools[:pool])) + index),
            "AIP_TF_PROFILER_PORT": profiler,
            "AIP_HTTP_HANDLER_PORT": handler,
        }
        if self.size > 1:  # with one replica TensorFlow needs none, and would open a server for it
            variables["TF_CONFIG"] = json.dumps(
                {
                    "cluster": {
                        task: list(addresses)
                        for task, addresses in zip(_TASKS, self.pools, strict=False)
                        # To TensorFlow, an evaluator looks on from outside the cluster.
                        if addresses and task != "evaluator"
                    },
                    "environment": "cloud",
                    "task": {"type": _TASKS[pool], "index": index},
                    "job": job_spec,
                }
            )
        return variables
