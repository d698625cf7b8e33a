"""The code that the launcher on a node needs, as one file: a zip application, as of `zipapp`."""

import zipfile
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

_PACKAGE: Final = "tensordeck"
_PARTS: Final = ("__init__.py", "errors.py", "jobs", "telemetry", "whole_file.py")
"""What the launcher imports, and more, is among these."""
_MAIN: Final = "from tensordeck.jobs.ray.launcher import main\nmain()\n"


def launcher_in(folder: Path) -> Path:
    """Where the file is.

    Args:
        folder: The attempt's folder.
    """
    return folder / "launcher.pyz"


def ship(folder: Path) -> Path:
    """Packs the launcher into a file that any Python can run.

    Args:
        folder: The attempt's folder.

    Returns:
        The file.
    """
    file = launcher_in(folder)
    draft = file.with_suffix(".tmp")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", _MAIN)
        root = resources.files(_PACKAGE)
        for part in _PARTS:
            _add(archive, root / part, f"{_PACKAGE}/{part}")
    draft.replace(file)
    return file


def _add(archive: zipfile.ZipFile, entry: Traversable, name: str) -> None:
    if entry.is_dir():
        for inner in entry.iterdir():
            _add(archive, inner, f"{name}/{inner.name}")
    elif name.endswith(".py"):
        archive.writestr(name, entry.read_bytes())


__all__ = ["launcher_in", "ship"]
