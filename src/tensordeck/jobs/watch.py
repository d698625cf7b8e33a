"""Following a job's log directories into TensorBoard while the job writes them."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tensordeck.errors import TensordeckError
from tensordeck.ingest.connection import Target
from tensordeck.ingest.log_directory import LogDirectory
from tensordeck.ingest.uploader import Progress, upload

__all__ = ["Watch"]

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.5
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_LAST_WORDS_SECONDS: Final = 5.0


class Watch:
    """Uploads what a job logs into one experiment, from `start` until `stop`.

    It goes through the server's own door with the job's credentials, as any uploader would. What
    the server has is remembered in a folder of the job's: another Watch on that folder goes on
    there, and sends nothing twice. A file that can't be read is skipped with a warning; while the
    server is away or refuses, it tries again.

    The job's directories are not trusted: links in them are not followed.
    """

    def __init__(
        self,
        target: Target,
        experiment: str,
        directories: Sequence[Path],
        positions: Path,
        warn: Callable[[str], None],
        *,
        run: str = "",
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        """Prepares a watch; nothing is read or sent yet.

        Args:
            target: Our own door, the job's credentials, and the instance.
            experiment: The experiment's id: the job's, or that of its experiment run. It is made
                when missing, also if nothing is ever logged.
            directories: The log directories, which need not exist yet. A run is called after its
                folder's path below its directory, `default` at the top.
            positions: The folder that remembers how far it got.
            warn: Takes one sentence for the job's log; called from any thread.
            run: A run's name to write to: the directories' own runs become this one, those
                below them `run/…`. Empty: as said above.
            poll_seconds: How often to look for growth.
        """
        self._target = target
        self._experiment = experiment
        self._directories = [LogDirectory(path, run, trusted=False) for path in directories]
        self._positions = positions
        self._warn = warn
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._abandon = threading.Event()
        self._complete = False
        self._thread = threading.Thread(target=self._run, name=f"watch {experiment}", daemon=True)
        self.progress = Progress(f"{target.tensorboard}/experiments/{experiment}")

    def start(self) -> None:
        """Starts following."""
        self._thread.start()

    def stop(self, seconds: float = 30.0) -> bool:
        """Uploads what is still there, and ends.

        Args:
            seconds: How long that may take, about.

        Returns:
            Whether everything that could be read has arrived. What has not can be sent by the
            next watch on the same folders.
        """
        self._stop.set()
        if self._thread.ident is None:
            return False
        self._thread.join(seconds)
        self._abandon.set()
        self._thread.join(_LAST_WORDS_SECONDS)
        return self._complete

    def _run(self) -> None:
        pause, told = _FIRST_PAUSE, ""
        while True:
            is_last = self._stop.is_set()
            before = self.progress
            try:
                self._follow()
            except TensordeckError as error:
                reason = error.message
            except Exception as error:
                log.exception("Watching for %s failed", self.progress.experiment)
                reason = repr(error)
            else:
                self._complete = True
                return
            if is_last:
                self._warn(f"The last TensorBoard logs could not be uploaded: {reason}")
                return
            if reason != told:
                told = reason
                self._warn(f"TensorBoard logs can't be uploaded now, trying again: {reason}")
            pause = _FIRST_PAUSE if self.progress != before else min(2 * pause, _LONGEST_PAUSE)
            self._stop.wait(pause)

    def _follow(self) -> None:
        upload(
            self._directories,
            self._experiment,
            self._target,
            follow=True,
            progress=self._note,
            stop=self._stop,
            abandon=self._abandon,
            poll_seconds=self._poll_seconds,
            positions=self._positions,
            warn=self._warn,
        )

    def _note(self, progress: Progress) -> None:
        self.progress = progress
