"""What is noted of every call: how long it took, how it ended, and which request it was.

A line is written of a call that failed through no fault of its caller's, or took long; at the
level `debug`, of every one. Paths are told without their query, which may hold a token.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tensordeck.telemetry.call_measures import CallMeasures
from tensordeck.telemetry.request_id import HEADER, begin_request

__all__ = ["FACE", "METHOD", "CallWatch", "ObservedHttp", "ObservedRpc", "code_of"]

log: Final = logging.getLogger("tensordeck.requests")

FACE: Final = "tensordeck.face"
"""The key in an ASGI scope under which it is noted which face of ours answers."""
METHOD: Final = "tensordeck.method"
"""The key under which the API's method is noted; else the verb stands for it."""

_OUR_FAULT: Final = frozenset(
    (
        *("UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
        *("RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "429"),
    )
)
_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
_GONE: Final = "CANCELLED"


class CallWatch:
    """Counts calls and tells of those that a person should look at. For the event loop.

    Args:
        measures: Where they are counted.
        slow_seconds: A call that takes longer is told of.
    """

    def __init__(self, measures: CallMeasures, slow_seconds: float) -> None:
        self.measures = measures
        self.slow_seconds = slow_seconds
        self.each = log.isEnabledFor(logging.DEBUG)

    def begun(self, transport: str) -> None:
        """Counts a call that comes in."""
        in_flight = self.measures.in_flight
        in_flight[transport] = in_flight.get(transport, 0) + 1

    def ended(
        self,
        transport: str,
        method: str,
        status: str,
        seconds: float,
        *,
        what: str,
        lasting: bool = False,
    ) -> None:
        """Counts a call's end.

        Args:
            transport: `grpc`, `rest`, or what answered.
            method: The method or the verb.
            status: gRPC's name of the code, or HTTP's number.
            seconds: How long it took.
            what: What the line is to name.
            lasting: Whether it is meant to take long.
        """
        self.measures.duration(transport, method, status).observe(seconds)
        failed = status in _OUR_FAULT or (status.isdecimal() and int(status) >= 500)
        slow = seconds > self.slow_seconds and not lasting
        if failed or slow or self.each:
            log.log(
                logging.WARNING if failed or slow else logging.DEBUG,
                "%s %s: %s after %.3f s",
                transport,
                what,
                status,
                seconds,
                extra={
                    "fields": {
                        "transport": transport,
                        "method": method,
                        "status": status,
                        "seconds": round(seconds, 6),
                    }
                },
            )

    def left(self, transport: str) -> None:
        """Counts a call as no longer in flight."""
        self.measures.in_flight[transport] -= 1


class ObservedRpc:
    """A gRPC method that is watched.

    Args:
        watch: What counts.
        method: Its name.
        name_replies: Whether a reply that is no error says its request's id, too. Writes of points,
            of which there are thousands a second, do without.
    """

    def __init__(self, watch: CallWatch, method: str, *, name_replies: bool = True) -> None:
        self._watch = watch
        self._method = method
        self._name_replies = name_replies
        self._ok = watch.measures.duration("grpc", method, "OK")
        watch.measures.in_flight.setdefault("grpc", 0)

    def unary(
        self, answer: Callable[[bytes, Any], Awaitable[bytes]]
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """The handler around one that answers with a message."""
        watch, ok = self._watch, self._ok
        in_flight, slow_seconds = watch.measures.in_flight, watch.slow_seconds
        if watch.each:
            slow_seconds = -1.0
        now, name_replies = time.perf_counter, self._name_replies

        async def observed(request: bytes, context: Any) -> bytes:
            began = now()
            current = begin_request(context.invocation_metadata)
            in_flight["grpc"] += 1
            try:
                reply = await answer(request, context)
            except BaseException as error:
                self._failed(context, error, now() - began)
                raise
            finally:
                in_flight["grpc"] -= 1
            if name_replies:
                context.set_trailing_metadata(((HEADER, str(current)),))
            seconds = now() - began
            if seconds > slow_seconds:
                watch.ended("grpc", self._method, "OK", seconds, what=self._method)
            else:
                ok.observe(seconds)
            return reply

        return observed

    def stream(
        self, answer: Callable[[bytes, Any], AsyncIterator[bytes]]
    ) -> Callable[[bytes, Any], AsyncIterator[bytes]]:
        """The handler around one that answers with a stream of messages."""

        async def observed(request: bytes, context: Any) -> AsyncIterator[bytes]:
            began = time.perf_counter()
            current = begin_request(context.invocation_metadata)
            context.set_trailing_metadata(((HEADER, str(current)),))
            self._watch.begun("grpc")
            try:
                async for reply in answer(request, context):
                    yield reply
            except BaseException as error:
                self._failed(context, error, time.perf_counter() - began)
                raise
            finally:
                self._watch.left("grpc")
            self._watch.ended(
                "grpc", self._method, "OK", time.perf_counter() - began, what=self._method
            )

        return observed

    def _failed(self, context: Any, error: BaseException, seconds: float) -> None:
        status = _NAMES.get(code_of(context), "UNKNOWN")
        if status == "OK":  # the handler ended without saying how: its caller left, or a bug
            status = "UNKNOWN" if isinstance(error, Exception) else _GONE
        self._watch.ended("grpc", self._method, status, seconds, what=self._method)


def code_of(context: Any) -> int:
    """The number of the code that a call was aborted with; 0 while there is none."""
    code = context.code()
    return int(code.value[0] if isinstance(code, grpc.StatusCode) else code or 0)


class ObservedHttp:
    """The HTTP app, watched.

    Args:
        app: What answers; it notes in the scope which face did, under `FACE` and `METHOD`.
        watch: What counts.
    """

    def __init__(self, app: ASGIApp, watch: CallWatch) -> None:
        self._app = app
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        current = begin_request(lambda: scope["headers"])
        status, lasting = "", False

        async def sending(message: Message) -> None:
            nonlocal status, lasting
            if message["type"] == "http.response.start":
                status = str(message["status"])
                headers = MutableHeaders(scope=message)
                headers.setdefault(HEADER, str(current))
                lasting = headers.get("content-type", "").startswith("text/event-stream")
            await send(message)

        self._watch.begun("http")
        try:
            await self._app(scope, receive, sending)
        finally:
            self._watch.left("http")
            verb = CallMeasures.verb(scope["method"])
            self._watch.ended(
                scope.get(FACE, "http"),
                "events" if lasting else scope.get(METHOD, verb),
                status or _GONE,
                time.perf_counter() - began,
                what=f"{verb} {scope['path'][:200]!r}",
                lasting=lasting,
            )
