"""The command line of docker or podman.

Both take the same commands: https://docs.docker.com/reference/cli/docker/ and
https://docs.podman.io/en/latest/Commands.html.
"""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tensordeck.errors import FailedPrecondition, InvalidArgument, Unavailable

_PROGRAMS: Final = ("docker", "podman")
_SECONDS: Final = 60.0
"""How long the engine may take for what should take no time."""
_INFO_SECONDS: Final = 60.0
"""How long what is known of the engine counts."""
_LOOK_SECONDS: Final = 0.2
_ABSENT: Final = ("no such container", "no such object", "no container with name")
"""What the two say of a container that is not there."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself.

    Attributes:
        podman: Whether it is podman, under whatever name.
        rootless: Whether it runs without root's rights.
        cpus: The host's cores.
        memory_bytes: The host's memory.
    """

    podman: bool
    rootless: bool
    cpus: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ContainerState:
    """How a container is: `inspect`'s `State`.

    Attributes:
        status: `created`, `running`, `exited` and so on.
        exit_code: Once it has ended.
        out_of_memory: Whether the kernel killed something in it for its memory limit.
        pid: Its first process on this host; 0 if none runs.
        error: Why it could not be started.
        started_at: When it was started, an RFC 3339 time.
    """

    status: str
    exit_code: int
    out_of_memory: bool
    pid: int
    error: str
    started_at: str

    @property
    def began(self) -> bool:
        """Whether it was ever started."""
        return self.status not in ("created", "configured", "initialized")

    @property
    def ended(self) -> bool:
        """Whether it has run and runs no more."""
        return self.status in ("exited", "dead", "stopped")


class ContainerEngine:
    """One engine. Thread-safe."""

    def __init__(self, program: str = "") -> None:
        """Asks nothing yet.

        Args:
            program: The command or its path; empty for docker or podman, whichever is there.
        """
        self._program = program
        self._info: EngineInfo | None = None
        self._info_until = 0.0
        self._lock = threading.Lock()

    @property
    def program(self) -> str:
        """The command's path.

        Raises:
            FailedPrecondition: If there is none.
        """
        for name in (self._program,) if self._program else _PROGRAMS:
            if found := shutil.which(name):
                return found
        raise FailedPrecondition(
            f"The container executor needs {self._program or 'docker or podman'}, which is not on "
            f"this host's PATH. Install it, say where it is (--container-engine), or use another "
            f"executor (--executor process)."
        )

    def info(self) -> EngineInfo:
        """Asks the engine what it is.

        Raises:
            FailedPrecondition: If there is none, it doesn't answer, or it is on another host.
        """
        with self._lock:
            if self._info is None or time.monotonic() > self._info_until:
                self._info = self._ask()
                self._info_until = time.monotonic() + _INFO_SECONDS
            return self._info

    def _ask(self) -> EngineInfo:
        for variable in ("DOCKER_HOST", "CONTAINER_HOST"):
            address = os.environ.get(variable, "unix:")
            if not address.startswith("unix:"):
                raise FailedPrecondition(
                    f"The server's {variable} is {address}, an engine on another host, where the "
                    f"job's folder is not: unset it, or use another executor."
                )
        done = self._call("info", "--format", "{{json .}}")
        try:
            document = json.loads(done.stdout) if done.returncode == 0 else {}
        except ValueError:
            document = {}
        if problems := document.get("ServerErrors"):
            document, done.stderr = {}, str(problems[0])
        if not document:
            raise FailedPrecondition(
                f"{self.program} finds no engine: {_last_line(done.stderr)}. Start it, let the "
                f"server's user use it (docker: the group `docker`), or use another executor "
                f"(--executor process)."
            )
        return _podman_info(document) if "host" in document else _docker_info(document)

    def ensure_image(self, image: str, is_wanted: Callable[[], bool]) -> None:
        """Brings an image here if it is not, which may take long.

        Args:
            image: Its URI.
            is_wanted: Asked meanwhile; the pull breaks off when it says no.

        Raises:
            InvalidArgument: If it can't be had.
            Unavailable: If the engine does not answer.
        """
        if self._call("image", "inspect", "--format", "{{.Id}}", image).returncode == 0:
            return
        with subprocess.Popen(
            [self.program, "pull", "--quiet", image],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as pull:
            while True:
                try:
                    _, errors = pull.communicate(timeout=_LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    if not is_wanted():
                        pull.terminate()
                        return
                else:
                    break
        if pull.returncode:
            self._require_engine()
            raise InvalidArgument(
                f"image_uri {image} can't be pulled: {_last_line(errors)}. Check its name, and log "
                f"the server's user in to the registry if it is a private one ({self.program} "
                f"login)."
            )

    def run(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        """`run --detach`, unless a container of that name is there.

        Args:
            arguments: What follows.
            environ: The command's own environment.

        Raises:
            InvalidArgument: If the container can't be started.
            Unavailable: If the engine does not answer.
        """
        done = self._call("run", "--detach", *arguments, environ=environ)
        if done.returncode and "already in use" not in done.stderr:
            self._require_engine()
            raise InvalidArgument(f"The container can't be started: {_last_line(done.stderr)}.")

    def start(self, name: str) -> None:
        """Starts a container that was made and never started. Errors are those of `run`."""
        done = self._call("start", name)
        if done.returncode:
            self._require_engine()
            raise InvalidArgument(f"The container can't be started: {_last_line(done.stderr)}.")

    def state(self, name: str) -> ContainerState | None:
        """How a container is; None if there is none of that name.

        Raises:
            Unavailable: If the engine does not answer.
        """
        done = self._call("container", "inspect", "--format", "{{json .State}}", name)
        if done.returncode:
            if any(text in done.stderr.lower() for text in _ABSENT):
                return None
            raise Unavailable(f"{self.program} does not answer: {_last_line(done.stderr)}.")
        state = json.loads(done.stdout)
        return ContainerState(
            status=state["Status"],
            exit_code=state.get("ExitCode", 0),
            out_of_memory=state.get("OOMKilled", False),
            pid=state.get("Pid", 0),
            error=state.get("Error", ""),
            started_at=state.get("StartedAt", ""),
        )

    def labels(self, label: str) -> list[str]:
        """The values that containers which are not over have of a label.

        Raises:
            Unavailable: If the engine does not answer.
        """
        shown = f'{{{{.Label "{label}"}}}}'
        done = self._call("ps", "--filter", f"label={label}", "--format", shown)
        if done.returncode:
            raise Unavailable(f"{self.program} does not answer: {_last_line(done.stderr)}.")
        return done.stdout.split()

    def logs(self, name: str, since: str) -> subprocess.Popen[bytes]:
        """Starts `logs --follow --timestamps`, which ends when the container does.

        Args:
            name: The container's name.
            since: An RFC 3339 time; empty for the beginning.
        """
        return subprocess.Popen(
            [
                self.program, "logs", "--follow", "--timestamps",
                *(("--since", since) if since else ()), name,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def stop(self, name: str, grace_seconds: float) -> None:
        """SIGTERM, and SIGKILL after a grace period. Waits for that; no error if it is gone."""
        self._call("stop", "-t", f"{grace_seconds:.0f}", name, seconds=grace_seconds + _SECONDS)

    def remove(self, name: str) -> None:
        """Removes a container, and kills it if it still runs; no error if it is gone.

        Raises:
            Unavailable: If the engine does not answer.
        """
        if self._call("rm", "--force", "--volumes", name).returncode:
            self._require_engine()

    def _require_engine(self) -> None:
        done = self._call("version", "--format", "{{.Server.Version}}")
        if done.returncode:
            raise Unavailable(f"{self.program} does not answer: {_last_line(done.stderr)}.")

    def _call(
        self,
        *arguments: str,
        seconds: float = _SECONDS,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self.program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                env=environ,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{self.program} does not answer: {error}.") from error


def _docker_info(document: Mapping[str, Any]) -> EngineInfo:
    return EngineInfo(
        podman=False,
        rootless=any("rootless" in option for option in document.get("SecurityOptions") or ()),
        cpus=document["NCPU"],
        memory_bytes=document["MemTotal"],
    )


def _podman_info(document: Mapping[str, Any]) -> EngineInfo:
    host = document["host"]
    return EngineInfo(
        podman=True,
        rootless=bool(host.get("security", {}).get("rootless")),
        cpus=host["cpus"],
        memory_bytes=host["memTotal"],
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "it says nothing"


__all__ = ["ContainerEngine", "ContainerState", "EngineInfo"]
