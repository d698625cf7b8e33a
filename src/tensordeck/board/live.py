"""Live refresh: tells open boards when their data changed, by server-sent events.

One cheap question a second for each open board (a few numbers of the catalog, one of each run);
the script on the page (`static/live.js`) does the rest. https://html.spec.whatwg.org/#server-sent-events
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from tensordeck.errors import TensordeckError

__all__ = ["live_response", "live_script"]

POLL_SECONDS: Final = 1.0
HEARTBEAT_POLLS: Final = 15
"""A line of comment after so many silent polls keeps proxies from closing the connection."""
_RETRY: Final = b"retry: 2000\n\n"


def live_script() -> bytes:
    """The script on the page."""
    return (resources.files("tensordeck.board") / "static" / "live.js").read_bytes()


def live_response(state: Callable[[], str], draining: Callable[[], bool]) -> StreamingResponse:
    """A stream with the board's state, now and whenever it changes.

    Args:
        state: Reads the state in a thread; raises when the visitor may no longer see the board.
        draining: Whether the server is about to stop: the stream then ends.
    """
    return StreamingResponse(
        _events(state, draining),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(state: Callable[[], str], draining: Callable[[], bool]) -> AsyncIterator[bytes]:
    yield _RETRY
    last, silent = "", 0
    while not draining():
        try:
            now = await run_in_threadpool(state)
        except TensordeckError:
            return  # the browser asks again and is told why
        if now != last:
            last, silent = now, 0
            yield f"data: {now}\n\n".encode()
        elif (silent := silent + 1) % HEARTBEAT_POLLS == 0:
            yield b":\n\n"
        await asyncio.sleep(POLL_SECONDS)
