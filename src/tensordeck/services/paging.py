"""Page sizes: what a list call asks for, and what it gets."""

from typing import Final

from msgspec import Struct

from tensordeck.errors import InvalidArgument


class PageLimit(Struct, frozen=True):
    """How many items a list call returns.

    Attributes:
        default: When the request says nothing.
        maximum: Larger requests are lowered to this, not refused.
    """

    default: int
    maximum: int

    def of(self, requested: int) -> int:
        """Returns the number of items for a request's `page_size`.

        Raises:
            InvalidArgument: If it is negative.
        """
        if requested < 0:
            raise InvalidArgument(f"`page_size` must not be negative; it is {requested}.")
        return min(requested or self.default, self.maximum)


TENSORBOARDS: Final = PageLimit(100, 100)
TENSORBOARD_CHILDREN: Final = PageLimit(50, 1000)
METADATA: Final = PageLimit(100, 1000)
EXPORT: Final = PageLimit(1000, 10_000)
OPERATIONS: Final = PageLimit(100, 1000)
TRAINING: Final = PageLimit(100, 1000)
LOG_ENTRIES: Final = PageLimit(50, 1000)
"""Defaults and maxima of the public reference (SDK contract, section 5)."""
