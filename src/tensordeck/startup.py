"""What a server's process does before it loads anything else, to start fast and stay small."""

import contextlib
import gc
import os
from collections.abc import Iterator

from tensordeck.malloc_arenas import share_one_arena

__all__ = ["lean_start", "settle"]


@contextlib.contextmanager
def lean_start() -> Iterator[None]:
    """The life of a server's process, from before its imports and its threads.

    Hardly anything that is loaded at a start is ever garbage: searching it takes a tenth of the
    start, and later a part of every full collection. Call `settle` once all is loaded.
    """
    gc.disable()
    share_one_arena()
    try:
        _import_numpy()
        yield
    finally:
        gc.enable()


def settle() -> None:
    """Ends the start: what is there now stays."""
    gc.freeze()
    gc.enable()


def _import_numpy() -> None:
    """Imports numpy without the threads of its linear algebra, which nothing here uses.

    The variable is put back, because the programs that the server starts may do linear algebra.
    """
    variable = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        import numpy as np  # noqa: F401, PLC0415 -- for its effect
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
