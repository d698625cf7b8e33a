"""Makes virtual environments and installs into them: with uv where there is one, else with pip."""

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

_PIP_INSTALL = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install")
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
_UV_FROM = (3, 8)
"""uv knows no older Python."""


class InstallFailed(Exception):  # noqa: N818 -- says what happened, as tensordeck.errors do
    """An installer ended with an error, which it has printed."""


class Installer(Protocol):
    """What is needed of uv or pip. All methods raise InstallFailed."""

    def make(self, venv: Path) -> None:
        """Makes a virtual environment that has pip."""

    def install(
        self,
        venv: Path,
        requirements: Sequence[str],
        *,
        absent: Sequence[str] = (),
        small_torch: bool = False,
    ) -> None:
        """Installs requirements.

        Args:
            venv: Where.
            requirements: What.
            absent: Distributions that shall not come with what requires them.
            small_torch: Whether PyTorch's own index is asked for its builds without CUDA,
                gigabytes smaller than those of the common index.
        """

    def install_alone(self, package: Path, site: Path) -> None:
        """Installs a package into a folder, without what it requires.

        Args:
            package: A wheel, or a folder with the sources.
            site: The folder.
        """


def find_uv() -> str | None:
    """The path of uv, if this host has it."""
    if importlib.util.find_spec("uv"):
        import uv  # noqa: PLC0415 -- the extra `jobs` brings it

        with suppress(FileNotFoundError):
            return str(uv.find_uv_bin())
    return shutil.which("uv")


def installer(python: str, python_version: str, scratch: Path, uv: str | None) -> Installer:
    """The installer for a Python.

    Args:
        python: The interpreter's executable.
        python_version: E.g. `3.11.7`.
        scratch: A folder for what the installer itself needs.
        uv: The path of uv, if there is one.
    """
    major, minor = python_version.split(".")[:2]
    if uv and (int(major), int(minor)) >= _UV_FROM:
        return _Uv(uv, python, scratch)
    return _Pip(python, scratch)


class _Uv:
    def __init__(self, uv: str, python: str, scratch: Path) -> None:
        self._uv = uv
        self._python = python
        self._scratch = scratch

    def make(self, venv: Path) -> None:
        try:
            self._run("venv", "--quiet", "--seed", "--python", self._python, str(venv))
        except InstallFailed:
            # pip comes from the index: offline, the interpreter's own copy has to do.
            shutil.rmtree(venv, ignore_errors=True)
            _run([self._python, "-m", "venv", str(venv)])

    def install(
        self,
        venv: Path,
        requirements: Sequence[str],
        *,
        absent: Sequence[str] = (),
        small_torch: bool = False,
    ) -> None:
        wanted = self._scratch / "requirements.txt"
        wanted.write_text("\n".join(requirements))
        options = ["--torch-backend", "cpu"] if small_torch else []
        if absent:
            overrides = self._scratch / "overrides.txt"
            overrides.write_text("\n".join(f'{name} ; python_version < "3"' for name in absent))
            options += ["--override", str(overrides)]
        self._run("pip", "install", "--python", f"{venv}/bin/python", "-r", str(wanted), *options)

    def install_alone(self, package: Path, site: Path) -> None:
        self._run(
            "pip", "install", "--quiet", "--no-deps", "--python", self._python,
            "--target", str(site), str(package),
        )  # fmt: skip

    def _run(self, *arguments: str) -> None:
        _run([self._uv, *arguments, "--no-progress", "--no-config"])


class _Pip:
    def __init__(self, python: str, scratch: Path) -> None:
        self._python = python
        self._scratch = scratch

    def make(self, venv: Path) -> None:
        _run([self._python, "-m", "venv", str(venv)])

    def install(
        self,
        venv: Path,
        requirements: Sequence[str],
        *,
        absent: Sequence[str] = (),
        small_torch: bool = False,
    ) -> None:
        del absent  # pip has no way to leave them out
        wanted = self._scratch / "requirements.txt"
        wanted.write_text("\n".join(requirements))
        index = ("--extra-index-url", _TORCH_INDEX) if small_torch else ()
        _run([f"{venv}/bin/python", *_PIP_INSTALL, *index, "-r", str(wanted)])

    def install_alone(self, package: Path, site: Path) -> None:
        venv = self._scratch / "pip"
        self.make(venv)
        _run(
            [
                f"{venv}/bin/python", *_PIP_INSTALL, "--quiet", "--no-deps",
                "--target", str(site), str(package),
            ]
        )  # fmt: skip


def _run(command: Sequence[str]) -> None:
    """Runs an installer, which prints to our own output."""
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]} can't be run: {error.strerror}", flush=True)  # noqa: T201 -- the log
        raise InstallFailed from error
    except subprocess.CalledProcessError as error:
        raise InstallFailed from error


__all__ = ["InstallFailed", "Installer", "find_uv", "installer"]
