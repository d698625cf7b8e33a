"""A session of a peer whose server is one command that listens on one port."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.client import Client
from benchmarks.peers.peer import Session, blocks
from benchmarks.peers.process_tree import ProcessTree, free_port


class OneServer(Session):
    """A server and its client.

    Args:
        folder: What the server stores lies in `data` below it.
        python: The peer's interpreter, which also runs the client.
        command: The server's command; `{port}` and `{data}` in it are filled in.
        health: The path that answers when it is up.
        script: The client's.
        environ: Variables of the server and the client.
        always: Options of every command of the client, besides `url`; filled in too.
    """

    def __init__(
        self,
        folder: Path,
        python: Path,
        command: Sequence[str | Path],
        health: str,
        script: str,
        environ: Mapping[str, str] | None = None,
        always: Mapping[str, Any] | None = None,
    ) -> None:
        self._folder, self._health, self._environ = folder, health, dict(environ or {})
        self._data = folder / "data"
        self._data.mkdir(exist_ok=True)
        port = free_port()
        given = {"port": port, "data": self._data}
        self._url = f"http://127.0.0.1:{port}"
        self._command = [str(part).format(**given) for part in command]
        self.restart()
        self.client = Client(
            [python],
            script,
            folder / "client.log",
            self._environ,
            {"url": self._url, **{k: v.format(**given) for k, v in (always or {}).items()}},
        )

    def restart(self) -> None:
        began = time.monotonic()
        self._tree = ProcessTree(self._command, self._folder, self._environ)
        self._tree.wait_until(self._url + self._health)
        self.start_seconds = time.monotonic() - began

    def pids(self) -> list[int]:
        return [self._tree.pid]

    def bytes_on_disk(self) -> int:
        return blocks(self._data)

    def kill(self) -> None:
        self._tree.kill()

    def close(self) -> None:
        self.client.close()
        self._tree.stop()
