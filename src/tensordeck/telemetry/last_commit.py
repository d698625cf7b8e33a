"""Which commit made a piece of work durable, for whoever traces the call that brought it.

A store commits for many callers at once, in threads of its own, and tells each its outcome in the
thread that committed, before it commits again. So what is told there can ask for the last commit;
and work, which runs in that thread too, can ask to be told of the next.
"""

import threading

from msgspec import Struct

__all__ = ["Commit", "expect_commit", "last_commit", "remember_commit"]


class Commit(Struct, frozen=True):
    """A group commit.

    Attributes:
        began: When it began, by `time.perf_counter`.
        ended: When it was durable.
        pieces: How many pieces of work shared it.
    """

    began: float
    ended: float
    pieces: int


class _Here(threading.local):
    def __init__(self) -> None:
        self.commit: Commit | None = None
        self.expecting: list[list[Commit]] = []


_here = _Here()


def remember_commit(commit: Commit) -> None:
    """Notes what this thread has committed; called before any outcome is told."""
    _here.commit = commit
    if _here.expecting:
        for found in _here.expecting:
            found.append(commit)
        _here.expecting.clear()


def last_commit() -> Commit | None:
    """What this thread has committed last."""
    return _here.commit


def expect_commit(found: list[Commit]) -> None:
    """Has the next commit of this thread added to a list."""
    _here.expecting.append(found)
