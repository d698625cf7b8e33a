"""A virtual environment for each peer, with pinned versions, kept in the user's cache."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import uv

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tensordeck-bench"


class NotInstallable(Exception):  # noqa: N818 -- says what is so, not that something broke
    """A peer does not install here; the message is the installer's."""


def environment(name: str, *packages: str) -> Path:
    """Returns the interpreter of an environment that holds these packages; makes it if needed.

    Raises:
        NotInstallable: If they can't be installed.
    """
    digest = hashlib.sha256(" ".join((sys.version, *packages)).encode()).hexdigest()[:8]
    folder = CACHE / f"{name}-{digest}"
    python = folder / "bin" / "python"
    finished = folder / "finished"
    if not finished.exists():
        print(f"installing {' '.join(packages)} ...", file=sys.stderr, flush=True)
        _uv("venv", "--clear", "--python", sys.executable, folder)
        _uv("pip", "install", "--compile-bytecode", "--python", python, *packages)
        finished.touch()
    return python


def _uv(*arguments: str | Path) -> None:
    done = subprocess.run(
        [uv.find_uv_bin(), "--quiet", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotInstallable(done.stderr.strip()[-600:])


def version(python: Path, package: str) -> str:
    """The version of a package in an environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
