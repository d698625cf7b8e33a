"""The job controller in the background of a server that should not wait for it.

A server answers before anything of jobs is loaded. Until it is, jobs are kept and wait.
"""

import logging
import threading
from typing import TYPE_CHECKING, Final

from tensordeck.settings import Settings

if TYPE_CHECKING:
    from tensordeck.access.local import LocalAccess
    from tensordeck.jobs.controller import Controller
    from tensordeck.store.contract import Store
    from tensordeck.store.resources import CustomJob

__all__ = ["BackgroundController"]

log: Final = logging.getLogger(__name__)


class BackgroundController:
    """Loads, starts and stops the controller of a server that runs jobs.

    Args:
        settings: The server's settings.
        store: Where jobs rest.
        access: Where jobs' keys are made.
    """

    def __init__(self, settings: Settings, store: "Store", access: "LocalAccess") -> None:
        self._settings = settings
        self._store = store
        self._access = access
        self._controller: Controller | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._started = False

    def load(self, port: int) -> None:
        """Loads the controller, which takes a moment: from then on jobs are checked.

        Args:
            port: The port at which the server takes calls.
        """
        if not self._settings.run_jobs or self._controller is not None:
            return
        try:
            from tensordeck.jobs.controller import open_controller  # noqa: PLC0415 -- the purpose

            self._controller = open_controller(self._settings, self._store, self._access, port)
        except Exception:
            log.exception("This server runs no jobs: the job controller could not start")

    def start(self, port: int) -> None:
        """Loads the controller, unless that was done, and lets it run jobs.

        Args:
            port: The port at which the server takes calls.
        """
        self.load(port)
        with self._lock:
            if self._controller is not None and not self._stopped:
                self._controller.start()
                self._started = True

    def wake(self) -> None:
        """Says that a job came or is to be cancelled."""
        if self._controller is not None:
            self._controller.wake()

    def check(self, job: "CustomJob") -> None:
        """Refuses a job that could never run here.

        Raises:
            InvalidArgument: If its spec names what is not known; the message has the way out.
        """
        if self._controller is not None:
            self._controller.check(job)

    def stop(self, seconds: float) -> None:
        """Lets go of all jobs, which go on.

        Args:
            seconds: How long that may take, about.
        """
        with self._lock:
            self._stopped = True
            started = self._started
        if self._controller is not None and started:
            self._controller.stop(seconds)
