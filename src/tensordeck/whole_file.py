"""Files that are there whole or not at all, whoever else writes them at the same time."""

import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["PRIVATE", "PUBLIC", "sync", "write_whole"]

PRIVATE: Final = 0o600
"""The mode of a file that only its owner reads."""
PUBLIC: Final = 0o644
"""The mode of a file that everybody reads."""


def write_whole(
    path: Path, content: bytes, mode: int = PRIVATE, *, durable: bool = False, keep: bool = False
) -> None:
    """Writes a file in one step; readers see what was there before, or all of this.

    Each call writes to a draft of its own, so that threads and processes may write the same file
    at once: the last one's content stays, or with `keep` the first one's.

    Args:
        path: The file; its folder must be there.
        content: What it will hold.
        mode: Its permissions, which it has from the first moment.
        durable: Whether it has to outlive a power cut when this returns.
        keep: Whether a file that is already there stays as it is.

    Raises:
        OSError: If it can't be written; what was there before stays.
    """
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(descriptor)
        if keep:
            _link(draft, path)
        else:
            Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Makes a file's content, or a folder's names, safe from a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(draft: str, path: Path) -> None:
    """Gives a draft its name unless somebody has it already."""
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink(missing_ok=True)
