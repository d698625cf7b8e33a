"""One request to a page: who asks for what, and what goes wrong with it."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import parse_qsl

from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tensordeck.access import SESSION_COOKIE, Caller, LocalAccess
from tensordeck.console.templating import Templates
from tensordeck.errors import NotFound, PermissionDenied, TensordeckError, Unauthenticated
from tensordeck.names import ResourceName, parse

__all__ = ["Handler", "Visit", "guarded"]

LONGEST_FORM: Final = 64 * 1024
"""Bytes. Our forms have a handful of short fields."""


class Visit(Struct, frozen=True):
    """A request of somebody who is signed in.

    Attributes:
        request: The request.
        form: The fields that were posted.
        caller: Who asks.
        csrf_token: What our own forms must carry; empty for a caller without a cookie, whom no
            other site can speak for.
    """

    request: Request
    form: dict[str, str]
    caller: Caller
    csrf_token: str

    def query(self, name: str) -> str:
        """A parameter of the address; empty where it is missing."""
        return self.request.query_params.get(name, "").strip()

    def resource(self, pattern: Sequence[str]) -> ResourceName:
        """The resource that the path names.

        Raises:
            NotFound: If it is no valid name.
        """
        parameters = self.request.path_params
        text = "/".join(f"{part}/{parameters[part]}" for part in pattern)
        try:
            return parse(text, tuple(pattern))
        except TensordeckError as error:
            raise NotFound(error.message) from error

    def require_own_form(self) -> None:
        """Makes sure that a page of ours, not another site's, made this change.

        Raises:
            PermissionDenied: If not.
        """
        given = self.form.get("csrf_token", "")
        if self.csrf_token and not hmac.compare_digest(given.encode(), self.csrf_token.encode()):
            raise PermissionDenied(
                "This form is out of date: the browser signed in anew since it was opened. "
                "Go back, reload the page, and try again."
            )


Handler = Callable[[Visit], Response]


def guarded(
    access: LocalAccess, templates: Templates, handler: Handler
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that lets only callers with a credential to a handler.

    The handler runs in a thread: the store is synchronous. What it raises becomes a page.
    """

    async def endpoint(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_FORM:
                return templates.render(
                    "message.html", status=413, title="Too much", text="This form is too large."
                )
        # Our own forms are url-encoded; what is something else lacks every field.
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        return await run_in_threadpool(answer, request, form)

    def answer(request: Request, form: dict[str, str]) -> Response:
        cookie = request.cookies.get(SESSION_COOKIE)
        authorization = request.headers.get("authorization")
        try:
            if authorization:
                visit = Visit(request, form, access.authenticate(authorization), "")
            else:
                caller = access.authenticate_cookie(cookie)
                visit = Visit(request, form, caller, _csrf_token(cookie or ""))
        except Unauthenticated as error:
            expired = error.message if cookie else ""
            return templates.render("signed_out.html", status=401, problem=expired)
        try:
            return handler(visit)
        except TensordeckError as error:
            title = {404: "Not found", 403: "Not allowed"}.get(error.http_status, "That went wrong")
            return templates.render(
                "message.html",
                status=error.http_status,
                title=title,
                text=error.message,
                visit=visit,
            )

    return endpoint


def _csrf_token(cookie: str) -> str:
    # The cookie is HttpOnly and secret, so only pages that we rendered for it know this.
    return hashlib.sha256(b"tensordeck console form\0" + cookie.encode()).hexdigest()
