"""Templates to responses: one environment, and the headers that every page carries."""

import time
import zlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import HTMLResponse

from tensordeck import __version__
from tensordeck.console import display

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["STATIC", "Templates"]

STATIC: Final = Path(__file__).with_name("static")

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # The sign-in page's address holds a token, which no other site may be told.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Templates:
    """The console's templates. Thread-safe."""

    def prepare(self) -> None:
        """Compiles the templates now, for which the first page would otherwise wait."""
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def render(self, template: str, /, *, status: int = 200, **context: Any) -> HTMLResponse:
        """Returns a page.

        Args:
            template: The template's file.
            status: The HTTP status.
            context: What the template uses.
        """
        text = self._environment.get_template(template).render(now=time.time(), **context)
        return HTMLResponse(text, status, HEADERS)

    @cached_property
    def _environment(self) -> "Environment":
        # Jinja takes 50 ms to import; the first page can wait for it better than the start.
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

        result = Environment(
            loader=PackageLoader("tensordeck.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        result.filters |= {
            "bytes": display.human_bytes,
            "count": display.human_count,
            "iso": display.iso_time,
            "exact": display.exact_time,
            "ago": display.human_time,
        }
        result.globals |= {"asset": _asset_url, "version": __version__}
        return result


def _asset_url(file: str) -> str:
    """The address of a static file, which changes with its content: it may be cached for ever."""
    return f"/static/{file}?v={zlib.crc32((STATIC / file).read_bytes()):08x}"
