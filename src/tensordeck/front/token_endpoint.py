"""What Google's account services answer to the clients' credentials, answered by us.

Token requests come to `oauth2.googleapis.com/token` from google-auth, to
`www.googleapis.com/oauth2/v4/token` (service account) and `/v3/token` (refresh token) from
TensorFlow's file system; google-auth asks `iamcredentials` for a service account's allowed
locations beside its calls. Replies: RFC 6749, sections 5.1 and 5.2.
"""

import asyncio
import time
from collections import deque
from typing import Final
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tensordeck.access import GrantRefused, LocalAccess
from tensordeck.errors import TensordeckError, Unauthenticated

TOKEN_PATHS: Final = ("/token", "/oauth2/token", "/oauth2/v3/token", "/oauth2/v4/token")
_INFO_PATHS: Final = (
    "/tokeninfo",
    "/oauth2/v1/tokeninfo",
    "/oauth2/v2/tokeninfo",
    "/oauth2/v3/tokeninfo",
)
_USER_PATHS: Final = ("/oauth2/v2/userinfo", "/oauth2/v3/userinfo", "/v1/userinfo")

_MAX_BODY: Final = 65536
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, 5.1

FREE_FAILURES: Final = 20
"""Refused requests in a minute before each further one waits."""

_FAILURE_PAUSE: Final = 1.0


class _Brake:
    """Slows refusals down when there are many of them; what is granted never waits."""

    def __init__(self) -> None:
        self._failures: deque[float] = deque(maxlen=FREE_FAILURES)

    async def after_failure(self) -> None:
        now = time.monotonic()
        many = len(self._failures) == FREE_FAILURES and now - self._failures[0] < 60
        self._failures.append(now)
        if many:
            await asyncio.sleep(_FAILURE_PAUSE)


def token_routes(access: LocalAccess) -> list[Route]:
    """The routes; none of them needs a credential other than the one that it is about.

    Args:
        access: Grants tokens and knows them.
    """
    brake = _Brake()

    async def token(request: Request) -> Response:
        form = await _form(request)
        if form is None:
            return _refused(400, "invalid_request", f"The form is larger than {_MAX_BODY} bytes.")
        try:
            reply = await run_in_threadpool(access.exchange, form)
        except GrantRefused as refused:
            await brake.after_failure()
            return _refused(400, refused.error, refused.message)
        except TensordeckError as error:
            return _refused(error.http_status, "temporarily_unavailable", error.message)
        return JSONResponse(reply, headers=_NO_STORE)

    async def info(request: Request) -> Response:
        authorization = await _shown(request)
        try:
            reply = await run_in_threadpool(access.token_info, authorization)
        except Unauthenticated as error:
            await brake.after_failure()
            return _refused(400, "invalid_token", error.message)
        return JSONResponse(reply, headers=_NO_STORE)

    async def user(request: Request) -> Response:
        authorization = await _shown(request)
        try:
            reply = await run_in_threadpool(access.token_info, authorization)
        except Unauthenticated as error:
            await brake.after_failure()
            return _refused(401, "invalid_token", error.message)
        person = {"email": reply["email"], "email_verified": True, "sub": reply["sub"]}
        return JSONResponse({**person, "id": reply["sub"]}, headers=_NO_STORE)

    return [
        *(Route(path, token, methods=["POST"]) for path in TOKEN_PATHS),
        *(Route(path, info, methods=["GET", "POST"]) for path in _INFO_PATHS),
        *(Route(path, user, methods=["GET"]) for path in _USER_PATHS),
        Route(
            "/v1/projects/-/serviceAccounts/{email}/allowedLocations",
            _allowed_locations,
            methods=["GET"],
        ),
    ]


async def _allowed_locations(_request: Request) -> Response:
    """Every region: https://cloud.google.com/iam/docs/reference/credentials/rest."""
    return JSONResponse({"locations": [], "encodedLocations": "0x0"})


async def _form(request: Request) -> dict[str, str] | None:
    """The form's fields; None if it is too large. JSON bodies are taken for forms without any."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            return None
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


async def _shown(request: Request) -> str | None:
    """The token that a request asks about, as an `Authorization` value."""
    token = request.query_params.get("access_token")
    if not token and request.method == "POST":
        token = ((await _form(request)) or {}).get("access_token")
    return f"Bearer {token}" if token else request.headers.get("authorization")


def _refused(status: int, error: str, description: str) -> Response:
    reply = {"error": error, "error_description": description}
    return JSONResponse(reply, status, headers=_NO_STORE)
