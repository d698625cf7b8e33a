"""Remembers that the object store is away, so that not every call has to find that out by waiting.

A call that gets no answer has waited for all its retries. While the store is away, one call at a
time is let through to see whether it is back; the others fail at once and leave their threads to
requests that need no blobs.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

from tensordeck import errors

__all__ = ["NoAnswer", "Outage"]

_PAUSE_SECONDS: Final = 1.0
"""From a call without an answer until the next one is let through."""


class NoAnswer(errors.Unavailable):
    """The store did not answer at all; one that answers with an error is not away."""


class Outage:
    """Whether a store is away. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._away = False
        self._next_try = 0.0

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Wraps a call to the store.

        Raises:
            errors.Unavailable: At once, if the store was away a moment ago.
        """
        self._admit()
        try:
            yield
        except NoAnswer:
            with self._lock:
                self._away = True
                self._next_try = time.monotonic() + _PAUSE_SECONDS
            raise
        except errors.TensordeckError:  # no such blob, say: it answers
            with self._lock:
                self._away = False
            raise
        except BaseException:
            # That says nothing about the store: another call may look at once.
            with self._lock:
                self._next_try = 0.0
            raise
        with self._lock:
            self._away = False

    def _admit(self) -> None:
        with self._lock:
            if not self._away:
                return
            if time.monotonic() >= self._next_try:
                self._next_try = float("inf")  # until the one that goes now is back
                return
        raise errors.Unavailable("The blob store does not answer; try again in a moment.")
