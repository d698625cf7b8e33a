"""A server's processes: started as a group, measured and killed with all their children."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ProcessTree:
    """A command and everything that it starts.

    Args:
        command: The program and its arguments.
        cwd: Where it runs; its output goes to `server.log` there.
        environ: Variables beside this process's.
    """

    def __init__(
        self, command: Sequence[str | Path], cwd: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self._log = (cwd / "server.log").open("ab")
        # As installed: compiled once, not at every start.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=cwd,
            env={**inherited, **(environ or {})},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, url: str) -> float:
        """Waits for any answer but an error of the server's own; returns the seconds.

        Raises:
            RuntimeError: If none comes.
        """
        began = time.monotonic()
        while time.monotonic() - began < START_SECONDS:
            with contextlib.suppress(OSError):
                with contextlib.suppress(urllib.error.HTTPError):
                    urllib.request.urlopen(url, timeout=5).close()
                return time.monotonic() - began
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        words = Path(self._log.name).read_text(errors="replace")[-600:]
        raise RuntimeError(f"{url} did not answer. The server's last words: {words}")

    def stop(self) -> None:
        """Ends it as an administrator would."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self.kill()

    def kill(self) -> None:
        """Kills the whole tree at once."""
        members = tree(self.pid)
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        psutil.wait_procs(members, 20)
        self._log.close()


def tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def memory_mb(pids: Sequence[int]) -> dict[str, float]:
    """Memory of process trees: `rss` as `top` adds it up, `pss` with shared pages counted once."""
    rss = pss = 0
    processes = [process for pid in pids for process in tree(pid)]
    for process in processes:
        with contextlib.suppress(psutil.Error):
            info = process.memory_full_info()
            rss, pss = rss + info.rss, pss + info.pss
    return {
        "rss": round(rss / 2**20, 1),
        "pss": round(pss / 2**20, 1),
        "processes": len(processes),
    }


def cpu_seconds(pids: Sequence[int]) -> float:
    """Processor time of process trees, their ended and waited-for children included."""
    total = 0.0
    for process in (process for pid in pids for process in tree(pid)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
            total += times.children_user + times.children_system
    return total
