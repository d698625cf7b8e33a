"""The board that a request came in by, for TensorBoard's code."""

from typing import Any, Final

from tensorboard import auth, errors

from tensordeck.board.address import BoardAddress
from tensordeck.board.tensorboard_app import BOARD_ADDRESS

__all__ = ["BOARD", "BoardAuth"]

BOARD: Final = "tensordeck.board"
"""What a request's `context.auth` gives the board's address for."""


class BoardAuth(auth.AuthProvider):  # type: ignore[misc]  # TensorBoard has no types
    """Hands the board that a request came in by to whoever needs it."""

    def authenticate(self, environ: dict[str, Any]) -> BoardAddress:
        """Returns the address that `board.app` authorised."""
        address = environ.get(BOARD_ADDRESS)
        if not isinstance(address, BoardAddress):
            raise errors.UnauthenticatedError("This request came in by no board.")
        return address
