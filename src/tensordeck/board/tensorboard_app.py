"""TensorBoard's own application over our store: every tab that we do not answer ourselves.

Its import takes a second and 40 MB, so that it happens beside the first answers, not before them.
"""

import argparse
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Final

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tensordeck.board.address import BoardAddress
from tensordeck.board.listing import Listings
from tensordeck.board.replies import PRIVATE
from tensordeck.errors import Internal, InvalidArgument, TensordeckError
from tensordeck.store.contract import Store

__all__ = ["BOARD_ADDRESS", "TensorBoardApp", "error_body", "replayed"]

log: Final = logging.getLogger(__name__)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

BOARD_ADDRESS: Final = "tensordeck.board_address"
"""Where the WSGI environment holds the address of the board that a request came in by."""
_ENVIRON: Final = "tensordeck.environ"
_NO_TENSORFLOW: Final = "tensorboard.compat.notf"
_WORKERS: Final = 8
_HEAD_START: Final = 0.5
"""Seconds that a page's own charts, which do not need the application, are ahead of its import."""


class TensorBoardApp:
    """Builds the application when it is first needed, or in the background. Thread-safe.

    Args:
        store: What it reads from.
        listings: Lists boards.
    """

    def __init__(self, store: Store, listings: Listings) -> None:
        self._store = store
        self._listings = listings
        self._lock = threading.Lock()
        self._app: ASGIApp | None = None
        self._coming = False

    def build_in_background(self) -> None:
        """Starts building soon, so that the first tab that needs it need not wait."""
        if self._app is None and not self._coming:
            self._coming = True
            timer = threading.Timer(_HEAD_START, self._get)
            timer.name, timer.daemon = "tensorboard-import", True
            timer.start()

    def request(self, board: BoardAddress, body: bytes, tag: str) -> ASGIApp:
        """Lets the application answer one request; builds it if need be.

        Args:
            board: The board that the request came in by; the caller may see it.
            body: The request's body.
            tag: The ETag of a good answer; empty for none.
        """
        app = self._get()
        kind = "compare" if board.compares else "experiment"
        environ = {
            # Over any header of the caller's: TensorBoard takes the experiment from there.
            "HTTP_TENSORBOARD_EXPERIMENT_ID": board.text,
            BOARD_ADDRESS: board,
        }

        async def respond(scope: Scope, _receive: Receive, send: Send) -> None:
            async def send_marked(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": _headers(message, tag)}
                await send(message)

            inner = {**scope, "root_path": f"/{kind}/{board.text}", _ENVIRON: environ}
            await app(inner, replayed(body), send_marked)

        return respond

    def _get(self) -> ASGIApp:
        with self._lock:
            if self._app is None:
                from a2wsgi import WSGIMiddleware  # noqa: PLC0415 -- not at the server's start

                plain: Any = _guarded(_build(self._store, self._listings))
                middleware: Any = WSGIMiddleware(plain, workers=_WORKERS)
                self._app = middleware
            app: ASGIApp = self._app
            return app


def replayed(body: bytes) -> Receive:
    """A `receive` that hands out a body which was read already."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _headers(message: Message, tag: str) -> list[tuple[bytes, bytes]]:
    """The application's headers with our word on caching."""
    headers = [
        (name, value)
        for name, value in message["headers"]
        if name.lower() not in (b"cache-control", b"expires", b"etag")
    ]
    headers.append((b"cache-control", PRIVATE.encode()))
    if tag and message["status"] == 200:
        headers.append((b"etag", tag.encode()))
    return headers


def error_body(error: TensordeckError) -> bytes:
    """An error as the API's JSON."""
    return orjson.dumps(
        {
            "error": {
                "code": error.http_status,
                "message": error.message,
                "status": error.status,
            }
        }
    )


def _build(store: Store, listings: Listings) -> WsgiApp:
    # TensorBoard prefers a TensorFlow that happens to be installed to its own few lines of it, and
    # would take a minute and a gigabyte for them; a module of this name tells it not to
    # (tensorboard/compat/__init__.py).
    sys.modules.setdefault(_NO_TENSORFLOW, ModuleType(_NO_TENSORFLOW))

    from tensorboard.backend import application  # noqa: PLC0415 -- see the module's docstring
    from tensorboard.plugins.audio import audio_plugin  # noqa: PLC0415
    from tensorboard.plugins.core import core_plugin  # noqa: PLC0415
    from tensorboard.plugins.custom_scalar import custom_scalars_plugin  # noqa: PLC0415
    from tensorboard.plugins.distribution import distributions_plugin  # noqa: PLC0415
    from tensorboard.plugins.graph import graphs_plugin  # noqa: PLC0415
    from tensorboard.plugins.histogram import histograms_plugin  # noqa: PLC0415
    from tensorboard.plugins.hparams import hparams_plugin  # noqa: PLC0415
    from tensorboard.plugins.image import images_plugin  # noqa: PLC0415
    from tensorboard.plugins.mesh import mesh_plugin  # noqa: PLC0415
    from tensorboard.plugins.metrics import metrics_plugin  # noqa: PLC0415
    from tensorboard.plugins.pr_curve import pr_curves_plugin  # noqa: PLC0415
    from tensorboard.plugins.scalar import scalars_plugin  # noqa: PLC0415
    from tensorboard.plugins.text import text_plugin  # noqa: PLC0415

    from tensordeck.board.board_auth import BOARD, BoardAuth  # noqa: PLC0415
    from tensordeck.board.data_provider import StoreDataProvider  # noqa: PLC0415

    # Those that work through a data provider alone; the others read a log directory themselves.
    plugins: list[Any] = [
        core_plugin.CorePluginLoader(include_debug_info=False),
        metrics_plugin.MetricsPlugin,
        scalars_plugin.ScalarsPlugin,
        custom_scalars_plugin.CustomScalarsPlugin,
        images_plugin.ImagesPlugin,
        audio_plugin.AudioPlugin,
        graphs_plugin.GraphsPlugin,
        distributions_plugin.DistributionsPlugin,
        histograms_plugin.HistogramsPlugin,
        text_plugin.TextPlugin,
        pr_curves_plugin.PrCurvesPlugin,
        hparams_plugin.HParamsPlugin,
        mesh_plugin.MeshPlugin,
    ]
    loaders = [application.make_plugin_loader(plugin) for plugin in plugins]
    parser = argparse.ArgumentParser()
    for loader in loaders:
        loader.define_flags(parser)
    flags = parser.parse_args([])
    app: WsgiApp = application.TensorBoardWSGIApp(
        flags,
        loaders,
        data_provider=StoreDataProvider(store, listings),
        auth_providers={BOARD: BoardAuth()},
    )
    return app


def _guarded(app: WsgiApp) -> WsgiApp:
    """Answers what the plugins raise over bad input as an error of the caller's."""

    def guard(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ.update(environ["asgi.scope"][_ENVIRON])
        try:
            return app(environ, start_response)
        except TensordeckError as error:
            answer: TensordeckError = error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # Plugins read parameters without checking them; what they trip over is the request.
            log.info("TensorBoard refused %s: %r", environ.get("PATH_INFO"), error)
            answer = InvalidArgument(f"TensorBoard can't read this request: {error!r}")
        except Exception:
            log.exception("TensorBoard failed at %s", environ.get("PATH_INFO"))
            answer = Internal("TensorBoard failed over this request; the server's log says how.")
        start_response(
            f"{answer.http_status} {answer.status}", [("Content-Type", "application/json")]
        )
        return [error_body(answer)]

    return guard
