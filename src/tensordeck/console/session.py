"""Signing a browser in and out."""

from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tensordeck.access import SESSION_COOKIE, SESSION_SECONDS, LocalAccess
from tensordeck.console.templating import Templates
from tensordeck.console.visit import Visit, guarded
from tensordeck.errors import Unauthenticated

__all__ = ["session_routes"]


def session_routes(access: LocalAccess, templates: Templates) -> list[BaseRoute]:
    """`/sign-in?token=...[&next=/path]` and `/sign-out`."""

    async def sign_in(request: Request) -> Response:
        token = request.query_params.get("token", "")
        if not token:
            return await run_in_threadpool(
                templates.render, "signed_out.html", status=401, problem=""
            )
        try:
            session = await run_in_threadpool(access.open_session, token)
        except Unauthenticated as error:
            return await run_in_threadpool(
                templates.render, "signed_out.html", status=401, problem=error.message
            )
        # A redirect, so that the token does not stay in the address bar and the history.
        response = RedirectResponse(local_path(request.query_params.get("next", "")), 303)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.set_cookie(
            SESSION_COOKIE,
            session,
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response

    def sign_out(visit: Visit) -> Response:
        visit.require_own_form()
        response = templates.render("signed_out.html", problem="You are signed out.")
        response.delete_cookie(SESSION_COOKIE)
        return response

    return [
        Route("/sign-in", sign_in),
        Route("/sign-out", guarded(access, templates, sign_out), methods=["POST"]),
    ]


def local_path(target: str) -> str:
    """A path on this server to go on to; `/` for anything that could lead elsewhere."""
    parts = urlsplit(target)
    # Browsers read a backslash as a slash, and two slashes as the start of a host.
    leads_away = parts.scheme or parts.netloc or "\\" in target or not target.isprintable()
    return "/" if leads_away or not target.startswith("/") or target.startswith("//") else target
