"""`/healthz` and `/readyz`: whether the process lives, and whether it should be sent calls.

A process that lives but can't reach its store must not be restarted for it, which would help
nobody: so the two are apart, as Kubernetes' liveness and readiness probes are.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tensordeck.errors import TensordeckError

__all__ = ["Readiness"]

CHECK_SECONDS: Final = 3.0
"""How long the store may take to answer: less than a probe commonly waits."""
HOLDS_SECONDS: Final = 1.0
"""How long an answer of the store holds, so that many probes cost it no more than one."""


class Readiness:
    """Answers the probes of load balancers and orchestrators.

    Attributes:
        draining: Set once a stop was asked for; never cleared.

    Args:
        check: Reads a little from the store; raises if that can't be.
    """

    paths: Final = ("/healthz", "/readyz")

    def __init__(self, check: Callable[[], object]) -> None:
        self._check = check
        self._checking: asyncio.Task[str] | None = None
        self._checked = -HOLDS_SECONDS
        self._reason = ""
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request for one of `paths`."""
        request = Request(scope)
        response: Response
        if request.method not in ("GET", "HEAD"):
            response = PlainTextResponse("use GET\n", 405, {"Allow": "GET, HEAD"})
        elif request.url.path == "/healthz":
            response = PlainTextResponse("ok\n")
        else:
            response = _readiness(await self.reason())
        await response(scope, receive, send)

    async def reason(self) -> str:
        """Why no calls should be sent here; empty if they should."""
        if self.draining:
            return "draining: the server is about to stop"
        if time.monotonic() - self._checked < HOLDS_SECONDS:
            return self._reason
        if self._checking is None:
            self._checking = asyncio.get_running_loop().create_task(self._ask())
        # Not cancelled when it takes too long: a thread that waits can't be.
        done, _ = await asyncio.wait({self._checking}, timeout=CHECK_SECONDS)
        if not done:
            return f"the store has not answered for {CHECK_SECONDS:g} s"
        return self._reason

    async def _ask(self) -> str:
        try:
            await run_in_threadpool(self._check)
            self._reason = ""
        except TensordeckError as error:
            self._reason = f"the store does not answer: {error.message}"
        finally:
            self._checked = time.monotonic()
            self._checking = None
        return self._reason


def _readiness(reason: str) -> Response:
    answer = {"ready": False, "reason": reason} if reason else {"ready": True}
    return Response(
        json.dumps(answer) + "\n",
        503 if reason else 200,
        {"Retry-After": "1"} if reason else {},
        "application/json",
    )
