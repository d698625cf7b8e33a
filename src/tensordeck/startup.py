"""What a server's process does before it loads anything else, to start fast and stay small."""

import contextlib
import gc
import os
from collections.abc import Iterator
from typing import Final

from tensordeck.malloc_arenas import share_one_arena

__all__ = ["lean_start", "settle"]

_EXPERIMENTS: Final = "GRPC_EXPERIMENTS"
_ONE_POLLER: Final = "-event_engine_listener"
"""Has the thread that waits for calls read the connections.

See docs/adr/0026-one-thread-polls-grpc.md. gRPC knows the name as long as it has
the choice, and ignores it afterwards.
"""


@contextlib.contextmanager
def lean_start() -> Iterator[None]:
    """The life of a server's process, from before its imports and its threads.

    Hardly anything that is loaded at a start is ever garbage: searching it takes a tenth of the
    start, and later a part of every full collection. Call `settle` once all is loaded.
    """
    gc.disable()
    share_one_arena()
    try:
        _import_configured()
        yield
    finally:
        gc.enable()


def settle() -> None:
    """Ends the start: what is there now stays."""
    gc.freeze()
    gc.enable()


def _import_configured() -> None:
    """Imports what reads the environment once, with what suits a server and nobody has set.

    The variables are put back, because the programs that the server starts have needs of their own.
    """
    with _variable("OPENBLAS_NUM_THREADS", "1"):  # nothing here uses numpy's linear algebra
        import numpy as np  # noqa: F401, PLC0415 -- for its effect
    with _variable(_EXPERIMENTS, os.environ.get(_EXPERIMENTS, _ONE_POLLER)):
        import grpc  # noqa: F401, PLC0415 -- for its effect


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
