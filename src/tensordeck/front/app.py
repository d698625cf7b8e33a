"""The one HTTP app behind the door: sends a request to the face of ours that it is meant for.

Google's hosts arrive here through the gateway, our own address directly. What a request is for
follows from its host and the start of its path; the faces know nothing of each other.
"""

from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from tensordeck.front.metrics import PATH
from tensordeck.front.observed_calls import FACE
from tensordeck.front.readiness import Readiness

_API: Final = ("/v1/", "/v1beta1/", "/ui/", "/v2/", "/v3/")
_BOARD: Final = ("/experiment/", "/compare/", "/board/")


class HttpApp:
    """An ASGI app.

    Args:
        rest: Answers the API's calls.
        storage: Answers Cloud Storage's calls.
        is_storage: Whether a request is meant for Cloud Storage.
        board: Serves boards.
        google_routes: Token endpoint and other small Google services.
        pages: Our own pages, the sign-in page among them.
        metrics: Tells what the server counts.
        readiness: Answers probes.
    """

    def __init__(
        self,
        *,
        rest: ASGIApp,
        storage: ASGIApp,
        is_storage: Callable[[Scope], bool],
        board: ASGIApp,
        google_routes: list[BaseRoute],
        pages: list[BaseRoute],
        metrics: ASGIApp,
        readiness: Readiness,
    ) -> None:
        self._rest = rest
        self._storage = storage
        self._is_storage = is_storage
        self._board = board
        self._google = google_routes
        self._pages = Starlette(routes=pages)
        self._metrics = metrics
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path == PATH:
            scope[FACE] = "metrics"
            await self._metrics(scope, receive, send)
            return
        if path in Readiness.paths:
            scope[FACE] = "health"
            await self._readiness(scope, receive, send)
            return
        if self._is_storage(scope):
            scope[FACE] = "storage"
            await self._storage(scope, receive, send)
            return
        for route in self._google:
            match, child = route.matches(scope)
            if match is not Match.NONE:
                scope.update(child)
                scope[FACE] = "token"
                await route.handle(scope, receive, send)
                return
        if path.startswith(_API):
            scope[FACE] = "rest"
            await self._rest(scope, receive, send)
        elif path.startswith(_BOARD):
            scope[FACE] = "board"
            await self._board(scope, receive, send)
        else:
            scope[FACE] = "console"
            await self._pages(scope, receive, send)
