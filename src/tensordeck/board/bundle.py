"""TensorBoard's own web app, as files: taken from the installed package, with our routes in it.

The packaged app knows one page, at `/`. It also carries the pages for one experiment and for a
comparison, but no routes to them; its one route is replaced by those two. Nothing else of the
program is changed, and a package in which that route can't be found for certain is refused.
"""

import gzip
import hashlib
import mimetypes
import re
import threading
import zipfile
from collections.abc import Callable
from functools import cached_property
from importlib import metadata, resources
from typing import Final, Literal

from msgspec import Struct

from tensordeck.errors import FailedPrecondition

__all__ = ["WebFile", "WebFiles"]

SUPPORTED: Final = "tensorboard>=2.20,<2.22"

Encoding = Literal["zstd", "gzip", ""]

_ROUTE: Final = re.compile(
    rb'\{routeKind:(?P<kind>[\w$]+)\.EXPERIMENT,path:"/",ngComponent:(?P<page>[\w$]+),'
    rb"defaultRoute:!0,deepLinkProvider:new (?P<links>[\w$]+)\}"
)
_SCRIPT: Final = re.compile(r'<script src="index\.js(?:\?[^"]*)?"></script>')
_FONT: Final = "url(/font-roboto/"
_COMPRESSIBLE: Final = frozenset({".js", ".css", ".html", ".svg", ".json"})


class WebFile(Struct, frozen=True):
    """A file as it goes over the wire.

    Attributes:
        body: Its bytes, encoded.
        encoding: The Content-Encoding; empty for none.
        media_type: The Content-Type.
    """

    body: bytes
    encoding: Encoding
    media_type: str


class WebFiles:
    """The files. Thread-safe; each is read and compressed when it is first asked for.

    Args:
        live_script: Our script that reloads a board when points arrive.
    """

    def __init__(self, live_script: bytes) -> None:
        self._live_script = live_script
        self._lock = threading.Lock()
        self._encoded: dict[tuple[str, Encoding], WebFile] = {}

    def prepare(self) -> None:
        """Makes page and program ready for the first who asks, as nearly all browsers take them.

        Raises:
            FailedPrecondition: If the installed TensorBoard is none that we can patch.
        """
        self.page(root="", state="")
        self.file("index.js", "zstd")

    @cached_property
    def names(self) -> frozenset[str]:
        """Paths of the files that pages may ask for."""
        with _archive() as archive:
            found = {name for name in archive.namelist() if not name.endswith("/")}
        return frozenset(found - {"index.html"} | {"live.js"})

    @cached_property
    def version(self) -> str:
        """Changes with any file's content: part of their addresses, which may be kept for ever."""
        with _archive() as archive:
            checksums = sorted((info.filename, info.CRC) for info in archive.infolist())
        patch = (_ROUTE.pattern, _routes(b"", b"", b""))
        seed = repr((checksums, *patch)).encode() + self._live_script
        return hashlib.sha256(seed).hexdigest()[:16]

    def file(self, name: str, accepted: str) -> WebFile:
        """Returns a file in an encoding that the browser takes.

        Args:
            name: One of `names`.
            accepted: The Accept-Encoding header.

        Raises:
            FailedPrecondition: If the installed TensorBoard is none that we can patch.
        """
        encoding: Encoding = "zstd" if "zstd" in accepted else "gzip" if "gzip" in accepted else ""
        if "." + name.rpartition(".")[2] not in _COMPRESSIBLE:
            encoding = ""
        with self._lock:
            found = self._encoded.get((name, encoding))
            if found is None:
                found = WebFile(
                    _ENCODERS[encoding](self._content(name)),
                    encoding,
                    mimetypes.guess_type(name)[0] or "application/octet-stream",
                )
                if encoding:  # plain copies would only take memory: hardly anybody wants them
                    self._encoded[name, encoding] = found
        return found

    def page(self, *, root: str, state: str) -> str:
        """Returns the page that starts the app.

        Args:
            root: The way from the page to the app's root, e.g. `../../`.
            state: The board's state before the app reads any data, for the live script.
        """
        before, head, after = self._page_parts
        assets = f"{root}board/assets/{self.version}/"
        return "".join(
            (
                before,
                f'<meta name="tb-relative-root" content="{root}">',
                f'<meta name="tensordeck-state" content="{state}">',
                head.replace(_FONT, f"url({assets}font-roboto/"),
                f'<script src="{assets}index.js"></script>',
                f'<script src="{assets}live.js" defer></script>',
                after,
            )
        )

    @cached_property
    def _page_parts(self) -> tuple[str, str, str]:
        """The page up to its head, up to its script, and after that."""
        page = self._read("index.html").decode()
        start, opened, rest = page.partition("<head>")
        parts = _SCRIPT.split(rest)
        if not opened or len(parts) != 2:
            raise _unsupported("its page does not load index.js once")
        # Until its own program runs once, a page whose program we can't patch is of no use.
        patch_routes(self._read("index.js"))
        return start + opened, parts[0], parts[1]

    def _content(self, name: str) -> bytes:
        if name == "live.js":
            return self._live_script
        content = self._read(name)
        return patch_routes(content) if name == "index.js" else content

    def _read(self, name: str) -> bytes:
        with _archive() as archive:
            return archive.read(name)


def patch_routes(program: bytes) -> bytes:
    """Gives the web app its two routes.

    On bytes, for the first page waits for it: to make text of a program takes longer than this.

    Raises:
        FailedPrecondition: If its one route is not there exactly once.
    """
    found = list(_ROUTE.finditer(program))
    if len(found) != 1:
        raise _unsupported(f"its route was found {len(found)} times")
    match = found[0]
    return (
        program[: match.start()]
        + _routes(match["kind"], match["page"], match["links"])
        + program[match.end() :]
    )


def _routes(kind: bytes, page: bytes, links: bytes) -> bytes:
    return b",".join(
        b'{routeKind:%b.%b,path:"%b",ngComponent:%b,deepLinkProvider:new %b}'
        % (kind, name, path, page, links)
        for name, path in (
            (b"EXPERIMENT", b"/experiment/:experimentId/"),
            (b"COMPARE_EXPERIMENT", b"/compare/:experimentIds/"),
        )
    )


def _archive() -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(str(resources.files("tensorboard") / "webfiles.zip"))
    except (ModuleNotFoundError, OSError, zipfile.BadZipFile) as error:
        raise _unsupported(f"its web files can't be read ({error})") from error


def _unsupported(problem: str) -> FailedPrecondition:
    try:
        version = metadata.version("tensorboard")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    return FailedPrecondition(
        f"The installed TensorBoard {version} can't serve boards: {problem}. "
        f"Install a supported one: pip install '{SUPPORTED}'."
    )


def _zstd(content: bytes) -> bytes:
    import zstandard  # noqa: PLC0415 -- with the first file, not at start

    return zstandard.ZstdCompressor(level=9).compress(content)


_ENCODERS: Final[dict[Encoding, Callable[[bytes], bytes]]] = {
    "zstd": _zstd,
    "gzip": lambda content: gzip.compress(content, 6, mtime=0),
    "": lambda content: content,
}
