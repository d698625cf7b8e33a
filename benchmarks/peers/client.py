"""The other end of a client script: sends it commands and reads its results."""

import contextlib
import json
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "clients"


class ClientFailed(Exception):  # noqa: N818 -- as in `environments`
    """A command failed; the message is the client's traceback."""


class Client:
    """A client script in a process.

    Args:
        command: The interpreter, with whatever stands before it.
        script: The script's name in `clients/`.
        log: Where its standard error goes.
        environ: Variables beside this process's.
        always: Options that every command takes.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        script: str,
        log: Path,
        environ: Mapping[str, str] | None = None,
        always: Mapping[str, Any] | None = None,
    ) -> None:
        self._always = dict(always or {})
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*map(str, command), str(SCRIPTS / script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
                text=True,
            )
        self._answer()  # it is ready

    def call(self, command: str, **options: Any) -> Any:
        """Runs a command; returns its result.

        Raises:
            ClientFailed: If it failed.
        """
        self.send(command, **options)
        return self.result()

    def send(self, command: str, **options: Any) -> None:
        """Starts a command."""
        assert self._process.stdin is not None
        request = {"command": command, "options": {**self._always, **options}}
        print(json.dumps(request), file=self._process.stdin, flush=True)

    def result(self) -> Any:
        """Waits for the result of the command that was sent."""
        answer = self._answer()
        if "error" in answer:
            raise ClientFailed(answer["error"])
        return answer["result"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ClientFailed(f"{self._process.args} ended with {self._process.wait()}")
        return json.loads(line)

    def waiting(self) -> bool:
        """Whether the command that was sent has not been answered yet."""
        assert self._process.stdout is not None
        return not select.select([self._process.stdout], [], [], 0)[0]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
