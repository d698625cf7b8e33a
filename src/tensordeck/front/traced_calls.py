"""The outermost span of each call; only where tracing was set up.

Names and attributes: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/ and .../http/.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tensordeck.front.observed_calls import FACE, METHOD, code_of
from tensordeck.telemetry.call_measures import CallMeasures
from tensordeck.telemetry.tracing import Tracing, tracing

__all__ = ["traced_app", "traced_stream", "traced_unary"]

Unary = Callable[[bytes, Any], Awaitable[bytes]]
Stream = Callable[[bytes, Any], AsyncIterator[bytes]]


def traced_unary(path: str, answer: Unary) -> Unary:
    """A gRPC method's handler with a span around it; the handler itself without tracing.

    Args:
        path: The method's path, `/SERVICE/METHOD`.
        answer: The handler.
    """
    present = tracing()
    if present is None:
        return answer
    attributes = _attributes(path)

    async def traced(request: bytes, context: Any) -> bytes:
        headers = context.invocation_metadata() or ()
        with present.call(path[1:], headers, **attributes) as span:
            try:
                return await answer(request, context)
            finally:
                span.set_attribute("rpc.grpc.status_code", code_of(context))

    return traced


def traced_stream(path: str, answer: Stream) -> Stream:
    """As `traced_unary` for a method that answers with a stream."""
    present = tracing()
    if present is None:
        return answer
    attributes = _attributes(path)

    async def traced(request: bytes, context: Any) -> AsyncIterator[bytes]:
        headers = context.invocation_metadata() or ()
        with present.call(path[1:], headers, **attributes) as span:
            try:
                async for reply in answer(request, context):
                    yield reply
            finally:
                span.set_attribute("rpc.grpc.status_code", code_of(context))

    return traced


def _attributes(path: str) -> dict[str, str]:
    service, _, method = path[1:].partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}


def traced_app(app: ASGIApp) -> ASGIApp:
    """An HTTP app with a span around each request; the app itself without tracing."""
    present = tracing()
    return app if present is None else _TracedApp(app, present)


class _TracedApp:
    def __init__(self, app: ASGIApp, present: Tracing) -> None:
        self._app = app
        self._tracing = present

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        verb = CallMeasures.verb(scope["method"])
        attributes = {"http.request.method": verb, "url.path": scope["path"]}
        with self._tracing.call(verb, scope["headers"], **attributes) as span:

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, sending)
            finally:
                span.update_name(f"{verb} {scope.get(METHOD) or scope.get(FACE, 'http')}")
