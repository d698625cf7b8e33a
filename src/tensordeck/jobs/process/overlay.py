"""A replica's own thin virtual environment, on top of the shared one.

It costs a few small files. Its packages are those of the shared environment, which the replica
thereby can't change: `pip install` in a job's command goes into the overlay.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from tensordeck.jobs.process.environments import Environment

_SITECUSTOMIZE = '''\
"""Puts `sys.path` in a container's order.

`pip install --user` works in a virtual environment only if that one lets the interpreter's own
packages in. They are taken out again here, since nobody knows what they are, and the user's are
put before the image's.
"""
import site
import sys

shared = {shared!r}
base = [path for prefix in (sys.base_prefix, sys.base_exec_prefix)
        for path in site.getsitepackages([prefix]) if path not in shared]
users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
rest = [path for path in sys.path if path not in base and path not in users]
place = next((n for n, path in enumerate(rest) if path in shared), len(rest))
sys.path[:] = rest[:place] + [path for path in users if path in sys.path] + rest[place:]
'''


_LINE = 4096
"""More bytes than the first lines of a console script have."""


def lay(folder: Path, environment: Environment) -> Path:
    """Makes an overlay.

    Args:
        folder: Where; does not exist.
        environment: What is below.

    Returns:
        The folder of its executables, to be the first on PATH.
    """
    major, minor, *_ = environment.python_version.split(".")
    executables = folder / "bin"
    executables.mkdir(parents=True)
    interpreter = executables / f"python{major}.{minor}"
    interpreter.symlink_to(environment.python)
    for name in ("python", f"python{major}"):
        (executables / name).symlink_to(interpreter.name)
    site = folder / "lib" / interpreter.name / "site-packages"
    site.mkdir(parents=True)
    (folder / "lib64").symlink_to("lib")
    (folder / "pyvenv.cfg").write_text(
        f"home = {Path(environment.python).parent}\n"
        f"include-system-site-packages = true\n"
        f"version = {environment.python_version}\n"
    )
    # addsitedir, unlike a plain path, also reads the .pth files that it finds there.
    lines = [f"import site; site.addsitedir({path!r})" for path in environment.sites]
    (site / "shared.pth").write_text("\n".join(lines) + "\n")
    (site / "sitecustomize.py").write_text(
        _SITECUSTOMIZE.replace("{shared!r}", repr(list(environment.sites)))
    )
    _write_scripts(executables, environment.scripts)
    python = shlex.quote(str(interpreter))
    for name in ("pip", f"pip{major}", f"pip{major}.{minor}"):
        _write_script(executables / name, f'exec {python} -m pip "$@"')
    return executables


def _write_scripts(executables: Path, scripts: Sequence[str]) -> None:
    """Makes the shared environment's console scripts run with the overlay's interpreter."""
    python = shlex.quote(str(executables / "python"))
    for folder in map(Path, scripts):
        if not folder.is_dir():
            continue
        for script in folder.iterdir():
            target = executables / script.name
            if not target.exists() and _is_python_script(script):
                _write_script(target, f'exec {python} {shlex.quote(str(script))} "$@"')


def _is_python_script(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        first, second = file.readline(_LINE), file.readline(_LINE)
    # An interpreter's path that is too long for the kernel, or has spaces, stands in the second
    # line, which a shell executes and Python takes for a string.
    line = second if first.startswith(b"#!/bin/sh") and second.startswith(b"'''exec'") else first
    return first.startswith(b"#!") and b"python" in line


def _write_script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


__all__ = ["lay"]
