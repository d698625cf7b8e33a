"""Contexts that several processes write at once: what each of them changed counts.

The official client sends a whole context for each parameter that it logs, with the etag of its
last reading. A stale one must be refused over gRPC, for the client reads again and sends its change
once more, but gives up after its fifth attempt; over REST it does not know that refusal at all. So
the first few stale writers of a context are refused where they may be, and further ones get what
their next attempt would have: their changes, on top of what others have written meanwhile.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Final

from tensordeck.services import structs
from tensordeck.store.resources import Context, Json

__all__ = ["HandedOut", "Refusals", "joined", "rebased"]

_REMEMBERED_BYTES: Final = 8 * 2**20
_ENTRY_BYTES: Final = 1000
"""What a context takes that has no metadata."""
_REFUSALS: Final = 1
"""By each server: all together fewer than the client's five attempts, so that no one of its calls
meets refusals only, unless more than four servers refuse the same client one after the other."""
_WINDOW_SECONDS: Final = 30.0
_CONTEXTS: Final = 1024


class HandedOut:
    """The contexts that callers were given of late, by name and etag.

    Only a short cut: what another server handed out is in the store, as long as it matters.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: OrderedDict[tuple[str, str], tuple[Context, int]] = OrderedDict()
        self._bytes = 0

    def remember(self, record: Context, etag: str, size: int) -> None:
        """Notes what a caller is about to get.

        Args:
            record: The context.
            etag: Its etag.
            size: Bytes of its metadata.
        """
        key = (record.name, etag)
        with self._lock:
            if key in self._records:
                self._records.move_to_end(key)
                return
            self._records[key] = (record, size + _ENTRY_BYTES)
            self._bytes += size + _ENTRY_BYTES
            while self._bytes > _REMEMBERED_BYTES:
                _, (_, freed) = self._records.popitem(last=False)
                self._bytes -= freed

    def find(self, name: str, etag: str) -> Context | None:
        """What a caller had before its eyes, if it is known."""
        with self._lock:
            found = self._records.get((name, etag))
        return found[0] if found else None


class Refusals:
    """How often stale writers of each context were refused of late.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def refuse(self, name: str) -> bool:
        """Whether the next stale writer is to be refused; counted if so."""
        now = self._clock()
        with self._lock:
            times = self._times.setdefault(name, deque())
            self._times.move_to_end(name)
            if len(self._times) > _CONTEXTS:
                self._times.popitem(last=False)
            while times and times[0] < now - _WINDOW_SECONDS:
                times.popleft()
            if len(times) >= _REFUSALS:
                return False
            times.append(now)
            return True


def rebased(given: Any, base: Context | None, current: Context) -> Any:
    """A context as its writer would send it, had it seen the present one.

    Args:
        given: The message that was sent.
        base: What the writer had read; without it, all that it sent counts as changed, and what it
            did not send as unchanged.
        current: The context now.
    """
    result = type(given)()
    result.CopyFrom(given)
    if base is not None:
        for field in ("display_name", "description"):
            if getattr(given, field) == getattr(base, field):
                setattr(result, field, getattr(current, field))
        result.labels.clear()
        result.labels.update(joined(base.labels, dict(given.labels), current.labels))
    if given.HasField("metadata"):
        sent = structs.to_json(given.metadata)
        metadata = (
            structs.merged(current.metadata, sent)
            if base is None
            else joined(base.metadata, sent, current.metadata)
        )
        result.metadata.CopyFrom(structs.to_struct(metadata))
    return result


def joined(base: Json, new: Json, current: Json) -> Json:
    """What `new` changed of `base`, applied to `current`; of what both changed, `new` counts."""
    result = dict(current)
    for key in base.keys() - new.keys():
        result.pop(key, None)
    for key, value in new.items():
        if key in base and _same(base[key], value):
            continue
        ours, theirs = base.get(key), current.get(key)
        if isinstance(value, dict) and isinstance(theirs, dict):
            result[key] = joined(ours if isinstance(ours, dict) else {}, value, theirs)
        else:
            result[key] = value
    return result


def _same(left: Any, right: Any) -> bool:
    # Not a number differs from itself, but not as a text.
    return bool(left == right) or repr(left) == repr(right)
