"""What a workload is."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from benchmarks.peers.peer import Peer, Session
from benchmarks.peers.scale import Scale

Figures = dict[str, Any]


class Workload(ABC):
    """Something that every peer's server goes through.

    Attributes:
        name: The key of its figures.
        every_round: Whether it is run in every round, or in the first alone, where it repeats
            itself what needs repeating.
        alone: Whether it needs a server of its own, with nothing in it.
    """

    name: ClassVar[str]
    every_round: ClassVar[bool] = True
    alone: ClassVar[bool] = False

    @abstractmethod
    def measure(self, session: Session, peer: Peer, scale: Scale, number: int) -> Figures:
        """Returns figures of one run, in the units that their names end in.

        Args:
            session: The peer's server.
            peer: The peer.
            scale: The sizes.
            number: The round, from 0.
        """
