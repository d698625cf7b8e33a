"""The small files of a data directory that clients depend on: the owner's credential, and our CA.

Everything else there is in the database or the object store, or belongs to training jobs of that
host.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tensordeck import errors

__all__ = ["data_files", "put_data_file"]

_OWNER: Final = "credentials/owner.json"


def data_files(data_dir: Path) -> Iterator[tuple[str, bytes]]:
    """Yields (path below the data directory, content); none where there is no such directory.

    Raises:
        errors.FailedPrecondition: If one can't be read.
    """
    tls = data_dir / "tls"
    paths = [data_dir / _OWNER]
    paths += sorted(path for path in tls.glob("*") if path.is_file()) if tls.is_dir() else []
    for path in paths:
        try:
            yield str(path.relative_to(data_dir)), path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise errors.FailedPrecondition(f"{path} can't be read: {error.strerror}.") from error


def put_data_file(data_dir: Path, name: str, content: bytes) -> bool:
    """Writes a file, whole and readable by its owner alone, unless there is one already.

    Returns:
        Whether it was written.

    Raises:
        errors.FailedPrecondition: If it can't be written, or the name leads out of the directory.
    """
    path = data_dir / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise errors.FailedPrecondition(f"{name!r} is no file of a data directory.")
    if path.exists():
        return False
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".restored-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).rename(path)
    except OSError as error:
        raise errors.FailedPrecondition(f"{path} can't be written: {error.strerror}.") from error
    return True
