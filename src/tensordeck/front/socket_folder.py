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
_LONGEST: Final = 66
"""Bytes of a folder's name, so that our folder and a socket in it fit into `sun_path`: 104 bytes
on BSD, 108 on Linux (unix(7))."""


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder that only this user can enter; it goes with the server.

    A server that is killed leaves its folder behind; the next one to start removes it. Which are
    left behind is told by a lock that the kernel lets go of with the process: unlike a recorded
    process id it holds across containers that share a temporary directory, and is never taken over
    by a stranger.

    Yields:
        The folder: in the temporary directory, or in `/tmp` where that one's path is too long for
        a socket's (batch systems make such).
    """
    above = tempfile.gettempdir()
    if len(os.fsencode(above)) > _LONGEST:
        above = "/tmp"  # noqa: S108 -- the folder in it is made anew and for this user only
    _remove_abandoned(Path(above))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=above) as name:
        folder = Path(name)
        draft = folder / "lock.new"
        with draft.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            # Only now may others find it: a lock that nobody holds means an abandoned folder.
            draft.rename(folder / _LOCK)
            yield folder


def _remove_abandoned(above: Path) -> None:
    for folder in above.glob(f"{_PREFIX}*"):
        # Another server may be removing it too, and other users' folders are not ours to open.
        with suppress(OSError):
            found = folder.lstat()
            if found.st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
