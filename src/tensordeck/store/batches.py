"""Long lists of names in pieces, as one statement takes only so many parameters."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

__all__ = ["batches"]

T = TypeVar("T")

BATCH: Final = 1000
"""Far below the 32,766 parameters of SQLite and the 65,535 of PostgreSQL."""


def batches(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Cuts a list into pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
