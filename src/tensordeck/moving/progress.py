"""What a long copy tells while it runs."""

from typing import NamedTuple, Protocol

__all__ = ["Progress", "Step", "silent"]


class Step(NamedTuple):
    """How far a copy is.

    Attributes:
        doing: What is being done, for people.
        done: Rows gone through so far.
        total: Rows in all; 0 while that is not known.
        blob_bytes: Bytes of blobs copied so far.
    """

    doing: str
    done: int
    total: int
    blob_bytes: int


class Progress(Protocol):
    """Whoever wants to know."""

    def __call__(self, step: Step, /) -> None:
        """Takes note of a step; called from one thread at a time, some times a second."""


def silent(_step: Step) -> None:
    """Tells nobody."""
