"""The board as an ASGI app: which page or data an address means, and who may have it.

    /experiment/ID/                 the web app for one experiment
    /compare/NAME:ID,NAME:ID/       the same for several
        …/data/…                    its data
        …/live                      events that tell of new points
    /board/assets/VERSION/FILE      the web app's files, the same for all boards

Every request but those for files is authenticated and authorised by itself.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final
from urllib.parse import quote, unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tensordeck.access import SESSION_COOKIE, Access, Caller
from tensordeck.board import data
from tensordeck.board.address import BoardAddress, Member, forwarded, parse_address, path_of
from tensordeck.board.bundle import WebFiles
from tensordeck.board.data import BoardData, Question
from tensordeck.board.listing import Listings
from tensordeck.board.live import live_response, live_script
from tensordeck.board.pages import problem_page
from tensordeck.board.replies import PRIVATE, board_state
from tensordeck.board.tensorboard_app import TensorBoardApp, error_body, replayed
from tensordeck.errors import (
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    TensordeckError,
    Unauthenticated,
    Unavailable,
)
from tensordeck.store.contract import Store

__all__ = ["BoardApp", "board_app"]

log: Final = logging.getLogger(__name__)

PERMISSION: Final = "aiplatform.tensorboards.recordAccess"
ASSETS: Final = "/board/assets/"
MOST_BYTES: Final = 8 << 20
"""Of a request's body; the web app's own stay below 1 MiB."""

_METHODS: Final = ("GET", "HEAD", "POST")
_CONTENT_POLICY: Final = {
    "default-src": "'self'",
    "font-src": "'self' data:",
    "frame-src": "'self'",
    "img-src": "'self' data: blob:",
    "object-src": "'none'",
    "style-src": "'self' data: 'unsafe-inline'",
    "connect-src": "'self'",
    # The web app compiles expressions (numericjs, Polymer); upstream allows it too.
    "script-src": "'self' 'unsafe-eval'",
    "base-uri": "'self'",
    "frame-ancestors": "'self'",
}


def board_app(
    store: Store, access: Access, *, draining: Callable[[], bool] = lambda: False
) -> "BoardApp":
    """Makes the app.

    Args:
        store: What boards show.
        access: Who may see them.
        draining: Whether the server is about to stop; open event streams then end.
    """
    return BoardApp(store, access, draining)


class BoardApp:
    """The app; `board_app` makes it. Thread-safe."""

    def __init__(self, store: Store, access: Access, draining: Callable[[], bool]) -> None:
        self._store = store
        self._access = access
        self._draining = draining
        self._listings = Listings(store.catalog)
        self._data = BoardData(store)
        self._files = WebFiles(live_script())
        self._tensorboard = TensorBoardApp(store, self._listings)

    def prepare(self) -> None:
        """Does now what the first page and its program would otherwise wait for."""
        self._files.prepare()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            answer = await self._answer(request, scope["path"])
        except TensordeckError as error:
            answer = _error_response(error)
        except Exception:
            log.exception("A board failed at %s", scope["path"])
            answer = _error_response(
                Internal("The board failed over this request; the server's log says how.")
            )
        await answer(scope, receive, send)

    async def _answer(self, request: Request, path: str) -> ASGIApp:
        if request.method not in _METHODS:
            return Response(status_code=405, headers={"Allow": ", ".join(_METHODS)})
        if path.startswith(ASSETS):
            return await run_in_threadpool(self._asset, request, path.removeprefix(ASSETS))
        kind, _, rest = path.lstrip("/").partition("/")
        if kind not in ("experiment", "compare"):
            raise NotFound(f"There is nothing at {path}.")
        text, slash, inner = rest.partition("/")
        query = f"?{request.url.query}" if request.url.query else ""
        if inner.startswith("data/"):
            return await self._answer_data(request, kind, text, inner.removeprefix("data/"))
        if inner == "live":
            state = partial(self._state, request, kind, text)
            await run_in_threadpool(state)  # what is wrong now is an error, not a silent stream
            return live_response(state, self._draining)
        if inner in self._files.names:
            # Scripts load their siblings beside the page; the files lie in one place for all.
            return RedirectResponse(f"../../board/assets/{self._files.version}/{inner}", 307)
        whole = rest.strip("/")
        if target := forwarded(kind, whole):
            return RedirectResponse(target + (query if "?" not in target else ""), 302)
        if inner:
            raise NotFound(f"There is nothing at {path}.")
        if not slash or _needs_unescaping(request, kind, text):
            return RedirectResponse(path_of(kind, text) + query, 302)
        return await run_in_threadpool(self._page, request, kind, text)

    # Pages ----------------------------------------------------------------------------------

    def _page(self, request: Request, kind: str, text: str) -> Response:
        caller: Caller | None = None
        member: Member | None = None
        with suppress(InvalidArgument):
            member = parse_address(kind, text).members[0]
        try:
            caller = self._authenticate(request)
            board = parse_address(kind, text)
            for member in board.members:
                self._access.check(caller, PERMISSION, member.tensorboard)
            for member in board.members:
                if not self._store.catalog.stamps([member.experiment]):
                    raise NotFound(f"There is no experiment {member.experiment}.")
            state = board_state(self._store.points, self._listings.of(board))
            page = self._files.page(root="../../", state=state)
        except TensordeckError as error:
            return problem_page(error, member=member, caller=caller)
        if request.method == "GET":
            self._count_view(board, caller)
        self._tensorboard.build_in_background()
        return HTMLResponse(
            page,
            headers={
                "Content-Security-Policy": "; ".join(
                    f"{name} {sources}" for name, sources in _CONTENT_POLICY.items()
                ),
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "same-origin",
                "Cache-Control": PRIVATE,
            },
        )

    def _count_view(self, board: BoardAddress, caller: Caller) -> None:
        for tensorboard in {member.tensorboard for member in board.members}:
            try:
                self._store.catalog.record_view(tensorboard, caller.principal)
            except (ResourceExhausted, Unavailable) as error:
                log.warning("A view of %s was not counted: %s", tensorboard, error.message)

    def _asset(self, request: Request, path: str) -> Response:
        version, _, name = path.partition("/")
        if name not in self._files.names:
            raise NotFound(f"There is no file {name}.")
        if version != self._files.version:
            return RedirectResponse(f"{ASSETS}{self._files.version}/{quote(name)}", 307)
        found = self._files.file(name, request.headers.get("accept-encoding", ""))
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if found.encoding:
            headers["Content-Encoding"] = found.encoding
        return Response(found.body, media_type=found.media_type, headers=headers)

    # Data -----------------------------------------------------------------------------------

    async def _answer_data(self, request: Request, kind: str, text: str, path: str) -> ASGIApp:
        if not request.url.query.isascii():
            raise InvalidArgument("The query must be escaped.")
        body = await _body(request)
        form = await _form(request, body) if path in data.FORMS else FormData()

        def answer() -> ASGIApp:
            board = self._authorised(request, kind, text)
            question = Question(
                board,
                path,
                request.method,
                request.url.query,
                body,
                form,
                request.headers.get("accept-encoding", ""),
                request.headers.get("if-none-match", ""),
            )
            response, tag = self._data.answer(question, self._listings.of(board))
            return response or self._tensorboard.request(board, body, tag)

        return await run_in_threadpool(answer)

    # Who ------------------------------------------------------------------------------------

    def _state(self, request: Request, kind: str, text: str) -> str:
        board = self._authorised(request, kind, text)
        return board_state(self._store.points, self._listings.of(board))

    def _authorised(self, request: Request, kind: str, text: str) -> BoardAddress:
        """The board of an address, once it is clear that the caller may see all of it."""
        caller = self._authenticate(request)
        board = parse_address(kind, text)
        for member in board.members:
            self._access.check(caller, PERMISSION, member.tensorboard)
        return board

    def _authenticate(self, request: Request) -> Caller:
        authorization = request.headers.get("authorization")
        if authorization:
            return self._access.authenticate(authorization)
        return self._access.authenticate_cookie(request.cookies.get(SESSION_COOKIE))


def _needs_unescaping(request: Request, kind: str, text: str) -> bool:
    """Whether the web app would not find its separators in the address as it stands."""
    raw = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
    escaped = raw.removeprefix(f"/{kind}/").rstrip("/")
    return any(unquote(code) in text for code in ("%2B", "%3A", "%2C") if code in escaped.upper())


async def _body(request: Request) -> bytes:
    """Reads the body, up to the limit."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MOST_BYTES:
            raise InvalidArgument(f"A request may hold at most {MOST_BYTES} bytes.")
    return bytes(received)


async def _form(request: Request, body: bytes) -> FormData:
    """Parses a form: urlencoded or multipart."""
    parsed = Request(request.scope, replayed(body))
    try:
        return await parsed.form(max_files=0, max_fields=20_000, max_part_size=MOST_BYTES)
    except (HTTPException, MultiPartException, ValueError) as error:
        raise InvalidArgument(f"The form can't be read: {error}") from error


def _error_response(error: TensordeckError) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return Response(error_body(error), error.http_status, headers, "application/json")
