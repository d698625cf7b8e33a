"""All children of the supervisor, and the one thread's turn around their pipes and ends."""

import os
import selectors
import signal
from contextlib import suppress

from tensordeck.jobs.process.child import Child
from tensordeck.jobs.process.output import OutputPipe
from tensordeck.jobs.process.process_tree import ProcessTree

_TURN_SECONDS = 0.2
"""How long a turn waits when nothing happens: so long a request to cancel may go unseen."""


class Children:
    """Reads what children print, and takes note of their ends.

    Attributes:
        tree: Their descendants.
    """

    def __init__(self, tree: ProcessTree) -> None:
        """Makes this process wake up whenever a child ends."""
        self.tree = tree
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._wake, woken = os.pipe()
        for descriptor in (self._wake, woken):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def add(self, child: Child) -> None:
        """Looks after a child that has just been started."""
        self._children.append(child)
        for pipe in child.pipes:
            self._selector.register(pipe, selectors.EVENT_READ, child)
        self.tree.add(child.pid, child.name)

    def turn(self) -> None:
        """Waits for something to happen, and reads what there is to read."""
        for key, _ in self._selector.select(_TURN_SECONDS):
            if not isinstance(key.fileobj, OutputPipe):
                with suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            elif not key.data.read(key.fileobj):
                self._selector.unregister(key.fileobj)
        for child in self._children:
            child.ended()

    def drain(self, child: Child) -> None:
        """Waits for a child's end, and reads the rest of its output."""
        while not child.drained:
            self.turn()

    def close(self) -> None:
        """Kills everything, and closes all pipes."""
        self.tree.kill()
        self._selector.close()
        for child in self._children:
            child.close()
        self._children.clear()


__all__ = ["Children"]
