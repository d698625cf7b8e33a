"""The gRPC transport: the method table behind a threaded grpcio server.

Requests stay wire bytes until the dispatcher, so that the hot path may decode them its own way.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc

from tensordeck import errors
from tensordeck.access import Caller
from tensordeck.front.dispatch import Dispatcher, internal
from tensordeck.front.method import VERSIONS, Method
from tensordeck.front.methods import METHODS

MESSAGE_LIMIT: Final = 256 * 2**20
"""Bytes; the client sends without limit, grpc's own default of 4 MiB is too low."""

DETAILS_LIMIT: Final = 4096
"""Characters of an error's text: it travels in a header."""

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_idle_ms", 600_000),
)


class GrpcServer:
    """A server on unix sockets, one with TLS and one without.

    Args:
        dispatcher: Where calls go.
        tls_socket: Path of the socket that speaks TLS.
        plain_socket: Path of the socket that does not; the door lets only loopback reach it.
        key: PEM file of the server's key.
        certificate: PEM file of the server's certificate.
        threads: How many calls run at once; writes wait for their commit in them.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        tls_socket: Path,
        plain_socket: Path,
        key: Path,
        certificate: Path,
        threads: int = 64,
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._pool, handlers=(_Handlers(dispatcher),), options=list(_OPTIONS)
        )
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        self._server.add_secure_port(f"unix:{tls_socket}", credentials)
        self._server.add_insecure_port(f"unix:{plain_socket}")

    def start(self) -> None:
        """Starts to take calls."""
        self._server.start()

    def stop(self, grace_seconds: float) -> None:
        """Refuses new calls, lets those in flight finish for a while, then ends them."""
        self._server.stop(grace_seconds).wait()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
    """Looks a call's path up in the method table."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._handlers: dict[str, Any] = {}
        for method in METHODS:
            if dispatcher.serves(method):
                dispatcher.handler(method)
                for version in VERSIONS if method.versioned else VERSIONS[:1]:
                    self._handlers[method.grpc_path(version)] = _handler(
                        dispatcher, method, version
                    )

    def service(self, handler_call_details: Any) -> Any:
        return self._handlers.get(handler_call_details.method)


def _handler(dispatcher: Dispatcher, method: Method, version: str) -> Any:
    def caller(context: Any) -> Caller:
        for key, value in context.invocation_metadata():
            if key == "authorization":
                return dispatcher.authenticate(value if isinstance(value, str) else None)
        return dispatcher.authenticate(None)

    def unary(request: bytes, context: Any) -> bytes | None:
        try:
            reply = dispatcher.call(method, request, caller(context), version, "grpc")
            data: bytes = reply.SerializeToString()  # type: ignore[union-attr]  # only streaming methods return iterators
        except errors.TensordeckError as error:
            _abort(context, error)
            return None
        return data

    def stream(request: bytes, context: Any) -> Iterator[bytes]:
        try:
            replies = dispatcher.call(method, request, caller(context), version, "grpc")
            for reply in replies:
                yield reply.SerializeToString()
        except errors.TensordeckError as error:
            _abort(context, error)
        except Exception as error:  # noqa: BLE001 -- the generator runs outside the dispatcher
            _abort(context, internal(error, method.name))

    make: Callable[..., Any] = (
        grpc.unary_stream_rpc_method_handler
        if method.streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(stream if method.streaming else unary)


def _abort(context: Any, error: errors.TensordeckError) -> None:
    context.abort(_CODES[error.grpc_code], error.message[:DETAILS_LIMIT])


__all__ = ["MESSAGE_LIMIT", "GrpcServer"]
