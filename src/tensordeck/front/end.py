"""How a server learns that it should stop, and what it does until it takes no more connections."""

import asyncio
import signal
from collections.abc import Callable

from tensordeck.front.handed_connections import HandedConnections

__all__ = ["End"]


class End:
    """Waits for the end. Made on the event loop.

    A server alone drains at SIGINT or SIGTERM: it says so to load balancers, takes connections for
    a while longer, and stops then, or at a second signal. A worker is told both by its supervisor;
    if it gets SIGTERM itself, it asks for no more connections.

    Args:
        delay: Seconds from the signal to the stop.
        drain: Tells load balancers.
        handed: Where a worker's connections come from; None for a server alone.
    """

    def __init__(
        self, delay: float, drain: Callable[[], None], handed: HandedConnections | None
    ) -> None:
        self._delay = delay
        self._drain = drain
        self._handed = handed
        self._signals = 0
        self._over = handed.over if handed else asyncio.Event()
        if handed:
            handed.on_drain = drain
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM,) if handed else (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked)

    async def wait(self) -> None:
        """Returns when it is time to take no more connections."""
        await self._over.wait()
        self._drain()

    def _asked(self) -> None:
        self._signals += 1
        self._drain()
        if self._handed:
            self._handed.tell(closing=True)
        elif self._signals > 1:
            self._over.set()
        else:
            asyncio.get_running_loop().call_later(self._delay, self._over.set)
