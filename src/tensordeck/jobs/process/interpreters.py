"""The Python interpreters of this host: those on PATH, pyenv's and uv's.

Nothing is installed here. A candidate is found by its file's name and believed only once it has
been asked, since a file called `python3.10` may be a shim of a version manager that leads nowhere.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.specifiers import SpecifierSet

from tensordeck.errors import FailedPrecondition

_NAME = re.compile(r"python(3)\.(\d+)")
_PROBE = (
    "import sys; print(getattr(sys, '_base_executable', sys.executable), *sys.version_info[:3])"
)
_PROBE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python.

    Attributes:
        executable: The interpreter itself, not a virtual environment's link to it.
        version: E.g. `3.11.7`.
    """

    executable: str
    version: str

    @property
    def minor(self) -> str:
        """E.g. `3.11`."""
        return ".".join(self.version.split(".")[:2])


def own() -> Interpreter:
    """The interpreter of this process."""
    executable = getattr(sys, "_base_executable", "") or sys.executable
    return Interpreter(executable, ".".join(str(part) for part in sys.version_info[:3]))


def nearest(wanted: str, allowed: SpecifierSet) -> Interpreter:
    """Finds the interpreter that comes nearest to a version.

    Args:
        wanted: E.g. `3.10`; empty if any will do, and then our own is the first choice.
        allowed: The versions that will do.

    Raises:
        FailedPrecondition: If this host has none that will do.
    """
    target = int((wanted or own().minor).split(".")[1])
    found = sorted(_candidates(), key=lambda item: (abs(item[0] - target), -item[0]))
    for minor, path in found:
        # The lowest and the highest patch release: a bound may be on the minor version alone.
        if not (allowed.contains(f"3.{minor}") or allowed.contains(f"3.{minor}.99")):
            continue
        interpreter = _asked(path)
        if interpreter is not None and interpreter.minor == f"3.{minor}":
            return interpreter
    there = ", ".join(f"3.{minor}" for minor in sorted({minor for minor, _ in found}))
    raise FailedPrecondition(
        f"This needs Python {wanted or '3'} (or another one that fits {allowed or '>=3'}), and "
        f"this host has {there}. Install one where PATH, pyenv or uv finds it, e.g. "
        f"`uv python install {wanted or '3.11'}`."
    )


def _candidates() -> Iterator[tuple[int, Path]]:
    """Yields minor versions and executables, the likeliest of a version first."""
    mine = own()
    yield int(mine.minor.split(".")[1]), Path(mine.executable)
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or home / ".local/share/uv/python")
    folders = []
    for place in (pyenv, uv):
        folders += sorted(place.glob("*/bin"), key=_patch, reverse=True)
    # PATH comes last: pyenv's shims are on it, which take half a second to say no.
    folders += [Path(part) for part in os.get_exec_path()]
    for folder in folders:
        for path in sorted(folder.glob("python3.*")):
            if match := _NAME.fullmatch(path.name):
                yield int(match[2]), path


def _patch(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.parent.name)]


@cache
def _asked(path: Path) -> Interpreter | None:
    """Runs a candidate to see what it is; None if it does not run."""
    try:
        answer = subprocess.run(
            [path, "-I", "-S", "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=True,
        ).stdout
        executable, *version = answer.rsplit(maxsplit=3)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(executable, ".".join(version))


__all__ = ["Interpreter", "nearest", "own"]
