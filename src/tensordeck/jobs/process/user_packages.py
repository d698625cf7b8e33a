"""The user's packages (sdists, wheels), installed once for each content.

Clients pack the same script anew for every job, and each archive differs in its time stamps. So
what counts is the names and the bytes of an archive's members. A package lies in a folder of its
own, without what it requires: that belongs to the environment.
"""

import hashlib
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tensordeck.errors import InvalidArgument
from tensordeck.jobs.process import cache
from tensordeck.jobs.process.plan import EnvironmentPlan

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class UserPackage:
    """An installed package.

    Attributes:
        site: The folder for `sys.path`.
        requirements: What it says it needs.
    """

    site: Path
    requirements: tuple[str, ...]


def folder_of(environments: Path, plan: EnvironmentPlan, package: Path) -> Path:
    """Where a package's installation is kept.

    Raises:
        InvalidArgument: If the file is not an archive that can be read.
    """
    # What an sdist builds into may depend on the Python it is built with.
    key = hashlib.sha256(f"{plan.python} {plan.python_version}\n".encode())
    try:
        for name, content in sorted(_members(package)):
            key.update(f"{name}\n".encode("utf-8", "surrogateescape") + content)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, ValueError) as error:
        raise InvalidArgument(
            f"package_uris: {package.name} is no Python package that can be read ({error}); "
            f"make one with `python -m build` or `python setup.py sdist`."
        ) from error
    return environments / "packages" / key.hexdigest()[:32]


def installed(folder: Path) -> UserPackage | None:
    """The package in a folder, which this process uses from now on; None if there is none."""
    requirements = cache.use(folder)
    return None if requirements is None else UserPackage(folder / "site", tuple(requirements))


def _members(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yields names and digests."""
    if zipfile.is_zipfile(package):
        with zipfile.ZipFile(package) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as file:
                        yield info.filename, _digest(file)
        return
    with tarfile.open(package) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, _digest(content)
            elif not member.isdir():
                yield member.name, member.linkname.encode()


def _digest(file: IO[bytes]) -> bytes:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.digest()


__all__ = ["UserPackage", "folder_of", "installed"]
