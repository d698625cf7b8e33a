"""Runs one replica on a node of a Ray cluster: `python launcher.pyz TASK`.

This is what Ray starts there. It comes in a zip file with what it imports (`shipment`), and must do
with the standard library: the node need not have Tensordeck.
"""

import os
import selectors
import signal
import site
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.parse import urlsplit

from tensordeck.jobs.engine.record import AttemptRecord
from tensordeck.jobs.job_log import LogWriter, Severity
from tensordeck.jobs.process.child import Child
from tensordeck.jobs.process.environments import Environment
from tensordeck.jobs.process.kernel import adopt_orphans
from tensordeck.jobs.process.output import OutputPipe
from tensordeck.jobs.process.overlay import lay
from tensordeck.jobs.ray.rendezvous import NobodyCame, meet, with_addresses
from tensordeck.jobs.ray.task import End, Task

_OF_THE_NODE: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "TZ", "USER")
_OF_RAY: Final = ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR", "CUDA_VISIBLE_DEVICES")
"""With these a program can use more of the cluster, as part of the same job."""

_TURN_SECONDS: Final = 0.2
_CONNECT_SECONDS: Final = 10.0


class Unfit(Exception):  # noqa: N818 -- says what happened
    """The replica can't be run on this node; the message is for the job's owner."""


class Launcher:
    """One replica on this node."""

    def __init__(self, task: Task) -> None:
        """Does nothing yet.

        Args:
            task: The replica.
        """
        self._task = task
        self._folder = Path(task.folder)
        self._record = AttemptRecord(self._folder)
        self._log = LogWriter(self._folder / "logs", task.name)
        self._told_to_end = False

    def run(self) -> int:
        """Runs it to its end.

        Returns:
            What to exit with.
        """
        signal.signal(signal.SIGTERM, self._on_sigterm)
        adopt_orphans()
        try:
            self._require_node()
            executables = self._environment()
            env = self._variables(executables)
            end = End(self._run(self._command(executables), env, Severity.ERROR))
        except Unfit as error:
            end = End(None, str(error))
        finally:
            _kill_descendants()
            self._log.close()
        end.write(self._task.replica_folder)
        code = 1 if end.exit_code is None else end.exit_code
        return code if code >= 0 else 128 - code

    def _require_node(self) -> None:
        """Checks that the job has here what it has on the server's host."""
        node = socket.gethostname()
        for file in self._task.files:
            if not os.access(file, os.R_OK):
                raise Unfit(
                    f"The Ray node {node} can't read {file}: the server's data directory must be "
                    f"on a file system that all nodes have at the same path, and Ray must run as "
                    f"the server's user."
                )
        proxy = urlsplit(self._task.env.get("https_proxy", ""))
        if proxy.hostname and proxy.port:
            try:
                socket.create_connection((proxy.hostname, proxy.port), _CONNECT_SECONDS).close()
            except OSError as error:
                raise Unfit(
                    f"The Ray node {node} can't reach the server at {proxy.hostname}:{proxy.port} "
                    f"({error}): start it with --host and an address that the nodes reach."
                ) from error

    def _environment(self) -> Path:
        """Installs the user's packages, on top of what the node or the image has."""
        # What Ray has made for the image, and below it the cluster's own.
        sites = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        environment = Environment(
            python=str(getattr(sys, "_base_executable", sys.executable)),
            python_version=".".join(map(str, sys.version_info[:3])),
            sites=tuple(dict.fromkeys([*site.getsitepackages(), *sites])),
            scripts=(str(Path(sys.executable).parent),),
        )
        executables = lay(self._task.replica_folder / "environment", environment)
        if self._task.packages:
            self._log.append(f"Installs {', '.join(Path(p).name for p in self._task.packages)}")
            code = self._run(
                [
                    str(executables / "python"), "-m", "pip", "install", "--quiet",
                    "--disable-pip-version-check", *self._task.packages,
                ],
                {**self._of_the_node(), **_of_installers()},
                Severity.WARNING,
            )  # fmt: skip
            if code:
                raise Unfit("The job's packages can't be installed: its log has pip's reason.")
        return executables

    def _variables(self, executables: Path) -> dict[str, str]:
        env = dict(self._task.env)
        if self._task.addresses:
            try:
                places = meet(
                    self._folder / "addresses",
                    self._task.name,
                    self._task.addresses,
                    self._is_wanted,
                )
            except NobodyCame as error:
                raise Unfit(str(error)) from error
            env = with_addresses(env, self._task.addresses, places)
        of_the_node = self._of_the_node()
        path = [
            str(executables),
            f"{env['HOME']}/.local/bin" if "HOME" in env else "",
            env.get("PATH", of_the_node.get("PATH", os.defpath)),
        ]
        return {
            **of_the_node,
            "PYTHONUNBUFFERED": "1",
            **env,
            "VIRTUAL_ENV": str(executables.parent),
            "PATH": os.pathsep.join(filter(None, path)),
        }

    def _command(self, executables: Path) -> Sequence[str]:
        if self._task.module:
            return [str(executables / "python"), "-m", self._task.module, *self._task.args]
        return [*self._task.command, *self._task.args]

    def _run(self, command: Sequence[str], env: Mapping[str, str], errors: Severity) -> int:
        """Runs a program until it and all that it has started have ended."""
        if not self._is_wanted():
            raise Unfit("The job was cancelled.")
        work = self._task.replica_folder / "work"
        work.mkdir(exist_ok=True)
        try:
            child = Child(
                self._task.name, command, folder=work, env=env, log=self._log, errors=errors
            )
        except (OSError, ValueError) as error:
            raise Unfit(f"{command[0]!r} could not be started: {error}.") from error
        kill_at: float | None = None
        with selectors.DefaultSelector() as selector:
            for pipe in child.pipes:
                selector.register(pipe, selectors.EVENT_READ)
            while not child.drained:
                for key, _ in selector.select(_TURN_SECONDS):
                    assert isinstance(key.fileobj, OutputPipe)  # noqa: S101 -- nothing else is
                    if not child.read(key.fileobj):
                        selector.unregister(key.fileobj)
                if child.ended():
                    _kill_descendants(child.pid)  # as in a container, nothing outlives the first
                if kill_at is None and not self._is_wanted():
                    kill_at = time.monotonic() + self._task.grace_seconds
                    child.terminate()
                if kill_at is not None and time.monotonic() > kill_at:
                    child.signal(signal.SIGKILL)
                    _kill_descendants(child.pid)
        child.close()
        return child.exit_code or 0

    def _is_wanted(self) -> bool:
        return not (self._told_to_end or self._record.cancel_requested)

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_end = True

    def _of_the_node(self) -> dict[str, str]:
        return {name: os.environ[name] for name in (*_OF_THE_NODE, *_OF_RAY) if name in os.environ}


def _of_installers() -> dict[str, str]:
    """What pip needs of the node's own environment."""
    begins = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_", "HOME")
    return {name: value for name, value in os.environ.items() if name.upper().startswith(begins)}


def _kill_descendants(spared: int = 0) -> None:
    """Kills whatever has come to be a child of ours, and what comes to be when that dies.

    Args:
        spared: A child whose end somebody else takes note of.
    """
    while children := [pid for pid in _children() if pid != spared]:
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The program's name comes before, and may hold anything, parentheses too.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid():
                found.append(int(stat.parent.name))
    return found


def main() -> None:
    """Runs the task whose file the command line names."""
    os.umask(0o077)
    sys.exit(Launcher(Task.read(Path(sys.argv[1]))).run())


__all__ = ["Launcher", "Unfit", "main"]
