"""Removes expired uploads and orphaned blobs now and then, beside the running server."""

import logging
import threading
from typing import Final

from tensordeck.errors import TensordeckError
from tensordeck.services.storage import StorageService

__all__ = ["Sweeper"]

_FIRST_SECONDS: Final = 600.0
_PERIOD_SECONDS: Final = 6 * 3600.0
_log = logging.getLogger(__name__)


class Sweeper:
    """A thread that calls `StorageService.sweep`; a stop does not wait for it, it is safe to cut.

    Args:
        service: What is swept.
        first_s: Seconds until the first sweep: a start has better things to do.
        period_s: Seconds between two.
    """

    def __init__(
        self,
        service: StorageService,
        first_s: float = _FIRST_SECONDS,
        period_s: float = _PERIOD_SECONDS,
    ) -> None:
        self._service = service
        self._first = first_s
        self._period = period_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-sweeper", daemon=True)

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
            try:
                removed = self._service.sweep()
            except TensordeckError as error:
                _log.warning("Orphaned blobs stay until the next sweep: %s", error)
            else:
                _log.info("Swept %d expired uploads and orphaned blobs.", removed)
