"""Our style sheet, script and logo: open to anyone, cached for ever under a hashed address."""

from starlette import staticfiles
from starlette.responses import Response
from starlette.types import Scope

from tensordeck.console.templating import STATIC

__all__ = ["StaticFiles"]


class StaticFiles(staticfiles.StaticFiles):
    """Serves the console's static files."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Returns a file; its address carries a hash of the content, see `templating`."""
        response = await super().get_response(path, scope)
        if response.status_code == 200 and scope["query_string"].startswith(b"v="):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        # An SVG opened by itself is a document: it must not run anything.
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'"
        )
        return response
