"""How a client is driven: commands in, results out, every command in a process of its own.

Standard library only: this runs in each peer's own virtual environment. The client's library is
imported once, by the process that reads commands, and used only in its forked children, so that
sixteen clients cost the import of one, and no connection or thread is shared between them.
"""

import contextlib
import gzip
import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Command = Callable[..., Any]
_FORK = multiprocessing.get_context("fork")
_PATIENCE = 120
"""Seconds that clients may take to connect."""


def serve(*commands: Command) -> None:
    """Reads commands from standard input, a JSON line each, and answers each with a JSON line.

    Whatever a library prints goes to standard error.
    """
    by_name = {command.__name__: command for command in commands}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = {"result": apart(by_name[request["command"]], **request["options"])}
        except Exception as error:  # noqa: BLE001 -- whatever it is, the benchmark reports it
            result = {"error": str(error)}
        print(json.dumps(result), file=answers, flush=True)


def apart(work: Command, *arguments: Any, **options: Any) -> Any:
    """Calls a function in a child process; returns its result.

    Raises:
        RuntimeError: With the child's traceback if it failed.
    """
    return _Child(work, *arguments, **options).result()


class _Child:
    """A function that runs in a child process."""

    def __init__(self, work: Command, *arguments: Any, **options: Any) -> None:
        self._pipe, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_run, args=(theirs, work, arguments, options))
        self._process.start()
        theirs.close()

    def result(self) -> Any:
        try:
            failed, result = self._pipe.recv()
        except EOFError:
            failed, result = True, "a client's process ended without a result"
        self._process.join()
        if failed:
            raise RuntimeError(result)
        return result


def _run(pipe: Any, work: Command, arguments: Sequence[Any], options: dict[str, Any]) -> None:
    # Only what was sent matters: libraries' threads and exit handlers shall not hold the child.
    try:
        pipe.send((False, work(*arguments, **options)))
    except BaseException:  # noqa: BLE001 -- the parent raises it
        pipe.send((True, traceback.format_exc(limit=-4)))
    sys.stderr.flush()
    os._exit(0)


def crowd(tasks: Sequence[Any], connect: Command, work: Command, begun: str = "") -> dict[str, Any]:
    """Lets clients work at once, each in a process of its own.

    Args:
        tasks: One a client.
        connect: Called with a task; returns what `work` needs. Not timed.
        work: Called with that; ends when everything was handed over. Its result must be JSON.
        begun: A file to make when they begin.

    Returns:
        `seconds` from the moment all clients are ready until the last is done, and `results`.
    """
    ready, go = _FORK.Barrier(len(tasks) + 1), _FORK.Event()

    def client(task: Any) -> Any:
        try:
            connected = connect(task)
        except BaseException:
            ready.abort()
            raise
        ready.wait(_PATIENCE)
        go.wait()
        return work(connected), time.monotonic()

    children = [_Child(client, task) for task in tasks]
    with contextlib.suppress(threading.BrokenBarrierError):  # the client that broke it says why
        ready.wait(_PATIENCE)
    if begun:
        Path(begun).touch()
    began = time.monotonic()
    go.set()
    results, ended = zip(*[child.result() for child in children], strict=True)
    return {"seconds": max(ended) - began, "results": list(results)}


def shares(runs: Sequence[str], clients: int) -> list[list[tuple[int, str]]]:
    """Deals numbered runs out to clients."""
    numbered = list(enumerate(runs))
    return [numbered[at::clients] for at in range(clients)]


def until_refused(write: Callable[[int], Any]) -> int:
    """Writes step after step until the server is gone; returns how many it has acknowledged."""
    step = 0
    while True:
        try:
            write(step)
        except Exception:  # noqa: BLE001 -- libraries differ in what they raise
            return step
        step += 1


def plain(content: bytes) -> bytes:
    """A reply's body, unpacked if the server has packed it."""
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def milliseconds(work: Callable[[], Any], times: int) -> list[float]:
    """How long each of several calls takes."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return taken
