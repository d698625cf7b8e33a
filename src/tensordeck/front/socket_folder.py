"""The private folder of the inner listeners' sockets, and what killed servers left of theirs."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "tensordeck-sockets-"
_LOCK: Final = "lock"


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder that only this user can enter; it goes with the server.

    A server that is killed leaves its folder behind; the next one to start removes it. Which are
    left behind is told by a lock that the kernel lets go of with the process: unlike a recorded
    process id it holds across containers that share a temporary directory, and is never taken over
    by a stranger.

    Yields:
        The folder. Its path is short: a socket's may have about 100 bytes.
    """
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        folder = Path(name)
        draft = folder / "lock.new"
        with draft.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            # Only now may others find it: a lock that nobody holds means an abandoned folder.
            draft.rename(folder / _LOCK)
            yield folder


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another server may be removing it too, and other users' folders are not ours to open.
        with suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
