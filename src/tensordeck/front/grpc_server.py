"""The gRPC transport: the method table behind grpcio's server on the event loop.

Requests stay wire bytes until the dispatcher, so that the hot path may decode them its own way.
Methods run in a pool of threads, but for writes of scalars, which nearly all calls are, and of
parameters: those wait for their commit as coroutines. A thread each, asleep and woken for every
commit, would cost more than the writing.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc

from tensordeck import errors
from tensordeck.front.dispatch import Begin, Dispatcher, internal
from tensordeck.front.method import VERSIONS, Method, Version
from tensordeck.front.methods import METHODS
from tensordeck.front.observed_calls import CallWatch, ObservedRpc
from tensordeck.front.traced_calls import traced_stream, traced_unary
from tensordeck.telemetry.request_id import HEADER, request_id

MESSAGE_LIMIT: Final = 256 * 2**20
"""Bytes; the client sends without limit, grpc's own default of 4 MiB is too low."""

DETAILS_LIMIT: Final = 4096
"""Characters of an error's text: it travels in a header."""

WINDOW: Final = 4 * 2**20
"""Bytes that a client may have under way, and that one frame may have: as gRPC would begin with."""

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_idle_ms", 600_000),
    # No pings to measure the path: a client that connects for one call would have to answer one,
    # and each passes the door. Without them both sizes are HTTP/2's smallest if not said here.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW),
    ("grpc.http2.max_frame_size", WINDOW),
)


class GrpcServer:
    """A server on unix sockets, one with TLS and one without; made and used on one event loop.

    Args:
        dispatcher: Where calls go.
        watch: Counts them.
        tls_socket: Path of the socket that speaks TLS.
        plain_socket: Path of the socket that does not; the door lets only loopback reach it.
        credentials: The server's certificate and key.
        threads: How many calls run at once, writes of scalars not counted.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        watch: CallWatch,
        *,
        tls_socket: Path,
        plain_socket: Path,
        credentials: grpc.ServerCredentials,
        threads: int = 64,
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        self._server = grpc.aio.server(
            handlers=(_Handlers(dispatcher, watch, self._pool),), options=list(_OPTIONS)
        )
        self._server.add_secure_port(f"unix:{tls_socket}", credentials)
        self._server.add_insecure_port(f"unix:{plain_socket}")

    async def start(self) -> None:
        """Starts to take calls."""
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new calls, lets those in flight finish for a while, then ends them."""
        await self._server.stop(grace_seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
    """Looks a call's path up in the method table."""

    def __init__(self, dispatcher: Dispatcher, watch: CallWatch, pool: ThreadPoolExecutor) -> None:
        self._handlers: dict[str, Any] = {}
        answers = _Answers(asyncio.get_running_loop())
        for method in METHODS:
            if dispatcher.serves(method):
                dispatcher.handler(method)
                observed = ObservedRpc(watch, method.name, name_replies=not method.raw)
                for version in VERSIONS if method.versioned else VERSIONS[:1]:
                    served = _Served(dispatcher, method, version, pool)
                    path = method.grpc_path(version)
                    if method.streaming:
                        handler = grpc.unary_stream_rpc_method_handler(
                            traced_stream(path, observed.stream(served.stream))
                        )
                    else:
                        begin = dispatcher.beginner(method, version, "grpc")
                        unary = _Begun(served, begin, answers).unary if begin else served.unary
                        answer = traced_unary(path, observed.unary(unary))
                        handler = grpc.unary_unary_rpc_method_handler(answer)
                    self._handlers[path] = handler

    def service(self, handler_call_details: Any) -> Any:
        return self._handlers.get(handler_call_details.method)


class _Served:
    """One method of the table in one version of the API."""

    def __init__(
        self, dispatcher: Dispatcher, method: Method, version: Version, pool: ThreadPoolExecutor
    ) -> None:
        self.dispatcher = dispatcher
        self.method = method
        self.version = version
        self._pool = pool

    async def unary(self, request: bytes, context: Any) -> bytes:
        run = asyncio.get_running_loop().run_in_executor
        try:
            work = copy_context().run  # the thread's log lines are the request's, too
            return await run(self._pool, work, self._answer, request, _authorization(context))
        except errors.TensordeckError as error:
            await _aborted(context, error)

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        run = asyncio.get_running_loop().run_in_executor
        work = copy_context().run
        replies = self._replies(request, _authorization(context))

        def following() -> bytes | None:
            return next(replies, None)

        try:
            while (reply := await run(self._pool, work, following)) is not None:
                yield reply
        except errors.TensordeckError as error:
            await _aborted(context, error)
        finally:
            await run(self._pool, work, replies.close)

    def _answer(self, request: bytes, authorization: str | None) -> bytes:
        caller = self.dispatcher.authenticate(authorization)
        reply = self.dispatcher.call(self.method, request, caller, self.version, "grpc")
        data: bytes = reply.SerializeToString()  # type: ignore[union-attr]  # only streaming methods return iterators
        return data

    def _replies(self, request: bytes, authorization: str | None) -> Generator[bytes, None, None]:
        caller = self.dispatcher.authenticate(authorization)
        replies = self.dispatcher.call(self.method, request, caller, self.version, "grpc")
        try:
            for reply in replies:
                yield reply.SerializeToString()
        except errors.TensordeckError:
            raise
        except Exception as error:  # the generator runs outside the dispatcher
            raise internal(error, self.method.name) from error


class _Begun:
    """A method whose calls wait without a thread where they can."""

    def __init__(self, served: _Served, begin: Begin, answers: "_Answers") -> None:
        self._served = served
        self._begin = begin
        self._answers = answers
        self._remembered = served.dispatcher.remembered

    async def unary(self, request: bytes, context: Any) -> bytes:
        caller = self._remembered(_authorization(context))
        if caller is not None:
            answer = self._answers.expect()
            self._begin(request, caller, lambda reply: self._answers.post(answer, reply))
            try:
                reply = await answer
            except errors.TensordeckError as error:
                await _aborted(context, error)
            except Exception as error:  # noqa: BLE001 -- a bug of ours: the log has it
                await _aborted(context, internal(error, self._served.method.name))
            if reply is not None:
                return reply
        return await self._served.unary(request, context)


class _Answers:
    """Brings answers from the store's threads to the event loop: all that are there in one go."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[asyncio.Future[bytes | None], bytes | BaseException | None]]
        self._arrived = deque()
        self._called = False

    def expect(self) -> "asyncio.Future[bytes | None]":
        return self._loop.create_future()

    def post(
        self, future: "asyncio.Future[bytes | None]", reply: bytes | BaseException | None
    ) -> None:
        """Answers; from any thread."""
        self._arrived.append((future, reply))
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._called = False  # first: what arrives from here on calls again
        arrived = self._arrived
        while arrived:
            future, reply = arrived.popleft()
            if future.done():  # its client is gone
                continue
            if isinstance(reply, BaseException):
                future.set_exception(reply)
            else:
                future.set_result(reply)


def _authorization(context: Any) -> str | None:
    for key, value in context.invocation_metadata():
        if key == "authorization":
            return value if isinstance(value, str) else None
    return None


async def _aborted(context: Any, error: errors.TensordeckError) -> NoReturn:
    """Ends the call with an error: grpcio raises."""
    context.set_trailing_metadata(((HEADER, request_id()),))
    await context.abort(_CODES[error.grpc_code], error.message[:DETAILS_LIMIT])
    raise AssertionError("grpcio did not end the call")


__all__ = ["MESSAGE_LIMIT", "GrpcServer"]
