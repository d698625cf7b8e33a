"""A process that the supervisor has started, with its pipes and its end."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from tensordeck.jobs.job_log import LogWriter, Severity
from tensordeck.jobs.process.kernel import settle_child
from tensordeck.jobs.process.output import OutputPipe

_DRAIN_SECONDS = 2.0
"""How long a pipe may stay open when all who could write to it have been killed."""


class Child:
    """One process in a session and process group of its own."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str],
        log: LogWriter,
        errors: Severity = Severity.ERROR,
        user_tasks: int | None = None,
    ) -> None:
        """Starts it.

        Args:
            name: The replica's, or what else it is.
            command: Program and arguments; the program is looked up in env's PATH.
            folder: Its working directory.
            env: All its variables.
            log: Where its output goes.
            errors: What its standard error output is.
            user_tasks: The limit on processes and threads of its user.

        Raises:
            OSError: If it can't be started.
        """
        self.name = name
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            # No thread of ours has started when a child does, so that this is safe after a fork.
            preexec_fn=partial(settle_child, os.getpid(), user_tasks),  # noqa: PLW1509
        )
        self.pipes: list[OutputPipe] = []
        for stream, severity in (
            (self._process.stdout, Severity.INFO),
            (self._process.stderr, errors),
        ):
            assert stream is not None  # noqa: S101 -- both are pipes
            self.pipes.append(OutputPipe(os.dup(stream.fileno()), log, severity))
            stream.close()
        self._errors = self.pipes[-1]
        self._open = set(self.pipes)
        self._ended_at: float | None = None

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def last_words(self) -> list[str]:
        """The last lines that it wrote to its standard error output, else to the other one."""
        return self._errors.last_lines or self.pipes[0].last_lines

    def ended(self) -> bool:
        """Whether it has just ended. Says so once."""
        if self.exit_code is not None or self._process.poll() is None:
            return False
        self._ended_at = time.monotonic()
        return True

    @property
    def drained(self) -> bool:
        """Whether it has ended and all of its output has been read."""
        if self._ended_at is None:
            return False
        return not self._open or time.monotonic() > self._ended_at + _DRAIN_SECONDS

    def read(self, pipe: OutputPipe) -> bool:
        """Reads one of its pipes; returns whether there may be more to come."""
        if more := pipe.read():
            return more
        self._open.discard(pipe)
        return False

    def close(self) -> None:
        """Closes its pipes."""
        for pipe in self.pipes:
            pipe.close()

    def signal(self, number: int) -> None:
        """Sends a signal to its process group."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end."""
        self.signal(signal.SIGTERM)


__all__ = ["Child"]
