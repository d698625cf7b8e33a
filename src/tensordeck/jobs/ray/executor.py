"""The executor that submits replicas to a Ray cluster."""

from pathlib import Path
from typing import ClassVar

from tensordeck.errors import FailedPrecondition, InvalidArgument, Unavailable
from tensordeck.jobs.engine.executor import EngineExecutor
from tensordeck.jobs.engine.reconciler import PATIENCE_SECONDS
from tensordeck.jobs.engine.record import AttemptRecord
from tensordeck.jobs.engine.replica import EngineReplica
from tensordeck.jobs.executor import Launch, Replica
from tensordeck.jobs.process.images import ImageEnvironment, ImageTable
from tensordeck.jobs.ray.cluster import RayCluster
from tensordeck.jobs.ray.replica import RayReplica
from tensordeck.jobs.ray.resources import fitted, placed
from tensordeck.jobs.ray.shipment import launcher_in, ship

_PERIOD_SECONDS = 1.0
"""How often the cluster's head is asked for each replica."""


class RayExecutor(EngineExecutor):
    """Submits replicas to an existing Ray cluster."""

    name: ClassVar[str] = "ray"

    def __init__(
        self,
        address: str,
        *,
        images: Path | None = None,
        autoscaling: bool = False,
        grace_seconds: float = 30.0,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Asks the cluster nothing yet.

        Args:
            address: Of its dashboard, e.g. `http://127.0.0.1:8265`.
            images: A table of images of the user's own; see `process/images.toml`.
            autoscaling: Whether the cluster gets the nodes that are asked for.
            grace_seconds: Between SIGTERM and SIGKILL.
            patience_seconds: See `EngineExecutor`.

        Raises:
            InvalidArgument: If the table can't be read.
        """
        super().__init__(period_seconds=_PERIOD_SECONDS, patience_seconds=patience_seconds)
        self._cluster = RayCluster(address)
        self._images = ImageTable.load(images)
        self._autoscaling = autoscaling
        self._grace_seconds = grace_seconds

    def check(self, launch: Launch) -> None:
        """See `Executor`. A cluster that is away is asked when the job's turn has come."""
        for replica in launch.replicas:
            image = self._image(replica)
            command = replica.command or image.entrypoint
            if not replica.module and not command and not replica.args:
                raise InvalidArgument(
                    f"container_spec.command is empty, and the ray executor does not know what "
                    f"{replica.image} runs by itself: set a command."
                )
        self._cluster.require_library()
        if self._autoscaling:
            return
        try:
            nodes = self._cluster.nodes()
        except Unavailable:
            return
        demands = [fitted(replica.machine, nodes)[0] for replica in launch.replicas]
        if (room := placed(demands, nodes)) < len(demands):
            raise FailedPrecondition(
                f"The Ray cluster has room for {room} of the job's {len(demands)} replicas at a "
                f"time, even when nothing else runs there: choose smaller machine types or fewer "
                f"replicas, add nodes, or, if it starts nodes when they are asked for, say so "
                f"(--ray-autoscaling)."
            )

    def prepare(self, launch: Launch) -> None:
        """See `EngineExecutor`."""
        ship(launch.folder)

    def in_engine(
        self,
        launch: Launch,
        replica: Replica,
        record: AttemptRecord,  # noqa: ARG002 -- the launcher looks into it, on its node
    ) -> EngineReplica:
        """See `EngineExecutor`."""
        return RayReplica(
            self._cluster,
            self._image(replica),
            launcher_in(launch.folder),
            launch,
            replica,
            autoscaling=self._autoscaling,
            grace_seconds=self._grace_seconds,
        )

    def _image(self, replica: Replica) -> ImageEnvironment:
        accelerated = replica.machine.accelerators > 0
        return self._images.environment(replica.image, accelerated=accelerated)


__all__ = ["RayExecutor"]
