"""Removes what nobody needs any more now and then, beside the running server."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Final

from tensordeck.errors import TensordeckError

__all__ = ["Sweeper"]

_FIRST_SECONDS: Final = 600.0
_PERIOD_SECONDS: Final = 6 * 3600.0
_log = logging.getLogger(__name__)


class Sweeper:
    """A thread that sweeps; a stop does not wait for it, since every sweep is safe to cut.

    Args:
        sweeps: What each removes, for the log, and what removes it and returns how many.
        first_s: Seconds until the first time: a start has better things to do.
        period_s: Seconds between two.
    """

    def __init__(
        self,
        sweeps: Mapping[str, Callable[[], int]],
        first_s: float = _FIRST_SECONDS,
        period_s: float = _PERIOD_SECONDS,
    ) -> None:
        self._sweeps = sweeps
        self._first = first_s
        self._period = period_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Lets no further sweep begin."""
        self._stopping.set()

    def _run(self) -> None:
        pause = self._first
        while not self._stopping.wait(pause):
            pause = self._period
            for what, sweep in self._sweeps.items():
                try:
                    removed = sweep()
                except TensordeckError as error:
                    _log.warning("%s stay until the next sweep: %s", what.capitalize(), error)
                else:
                    _log.info("Swept %d %s.", removed, what)
