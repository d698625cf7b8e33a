"""A connection to a server's public API: gRPC, and REST for what has no gRPC.

It speaks the same protocol as the official client, with the raw messages of `protos`, so that
uploading and exporting need no cloud library. Calls are retried while the server is away.
"""

import http.client
import logging
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import grpc
import tenacity

from tensordeck import errors, protos
from tensordeck.ingest.bearer_token import BearerToken

__all__ = ["Connection", "Target"]

log = logging.getLogger(__name__)
T = TypeVar("T")

_SERVICE: Final = "/google.cloud.aiplatform.v1.TensorboardService/"
_TRANSIENT: Final = (errors.Unavailable, errors.ResourceExhausted, errors.Aborted)
_LONGEST_PAUSE: Final = 15.0
_CALL_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to upload to, or export from.

    Attributes:
        url: The server: `https://host:port`, or `http://` for one on this machine.
        credentials: The credentials file that it honours.
        tensorboard: Full name of an instance; not needed for an export.
        ca: PEM file of the authority that signed the server's certificate; None means the
            system's.
    """

    url: str
    credentials: Path
    tensorboard: str = ""
    ca: Path | None = None


class Connection:
    """Calls to one server. Thread-safe. Use it as a context manager, or call `close`.

    Attributes:
        patience: How long a call is retried while the server is away, in seconds.
    """

    def __init__(
        self, target: Target, *, patience: float = 60.0, stop: threading.Event | None = None
    ) -> None:
        """Prepares a connection; the first call opens it.

        Args:
            target: The server.
            patience: How long a call is retried while the server is away, in seconds.
            stop: Ends waiting for a server when set.

        Raises:
            errors.InvalidArgument: If the URL or the credentials can't be used.
        """
        address = urlsplit(target.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise errors.InvalidArgument(
                f"The server's URL must look like https://host:port; it is {target.url!r}."
            )
        self._url = f"{address.scheme}://{address.netloc}"
        self.patience = patience
        self._stop = stop or threading.Event()
        try:
            authority = target.ca.read_bytes() if target.ca else None
            verify = ssl.create_default_context(cafile=target.ca)
        except (OSError, ssl.SSLError) as error:
            raise errors.InvalidArgument(f"{target.ca} holds no certificate: {error}") from error
        port = address.port or (443 if address.scheme == "https" else 80)
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # `tensordeck exec` points every program's proxy at the server itself.
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        where = f"{address.hostname}:{port}"
        if address.scheme == "https":
            self._channel = grpc.secure_channel(
                where, grpc.ssl_channel_credentials(root_certificates=authority), options
            )
        else:
            self._channel = grpc.insecure_channel(where, options)
        self._token = BearerToken(target.credentials, f"{self._url}/token", verify)
        self._http = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=verify)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the sockets."""
        self._channel.close()

    def call(self, method: str, request: Any, reply: str) -> Any:
        """Calls a method of the TensorboardService.

        Args:
            method: Its name, e.g. `GetTensorboard`.
            request: The request message.
            reply: The reply's message type.

        Raises:
            errors.TensordeckError: What the server answered, or `Unavailable` when it stayed
                away for longer than `patience`.
        """
        stub = self._channel.unary_unary(
            _SERVICE + method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=protos.message(reply).FromString,
        )

        def attempt() -> Any:
            try:
                return stub(
                    request,
                    metadata=(("authorization", self._token.header()),),
                    timeout=_CALL_SECONDS,
                )
            except grpc.RpcError as error:
                raise self._as_ours(error.code().value[0], error.details() or "") from error

        return self._retried(attempt)

    def pages(self, method: str, request: Any) -> Iterator[Any]:
        """Calls a method that answers in pages, until the last one.

        Args:
            method: Its name; the reply's type is called like it.
            request: The first page's request; its `page_token` is changed.

        Yields:
            The replies.
        """
        while True:
            page = self.call(method, request, f"{method}Response")
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Reads from one of the server's REST faces.

        Args:
            path: Path and query, quoted.
            headers: Further headers of the request.

        Raises:
            errors.TensordeckError: As `call`.
        """

        def attempt() -> bytes:
            request = urllib.request.Request(  # noqa: S310 -- http or https, see the constructor
                self._url + path,
                headers={**(headers or {}), "Authorization": self._token.header()},
            )
            try:
                with self._http.open(request, timeout=_CALL_SECONDS) as reply:
                    content: bytes = reply.read()
                    return content
            except urllib.error.HTTPError as error:
                code = _GRPC_CODES.get(error.code, 2 if error.code >= 500 else 9)
                raise self._as_ours(code, f"{path.partition('?')[0]}: {error}") from error
            except (OSError, http.client.HTTPException) as error:
                raise self._as_ours(14, str(getattr(error, "reason", error))) from error

        return self._retried(attempt)

    def _as_ours(self, code: int, text: str) -> errors.TensordeckError:
        """The error of a gRPC code; a refused token is forgotten, so that a retry renews it."""
        kind = _ERRORS.get(code, errors.Internal)
        if kind is errors.Unauthenticated:
            self._token.forget()
        if kind is errors.Unavailable:
            text = f"The server at {self._url} does not answer ({text})"
        return kind(text)

    def _retried(self, attempt: Callable[[], T]) -> T:
        refused = 0

        def again(error: BaseException) -> bool:
            nonlocal refused
            if isinstance(error, errors.Unauthenticated):
                refused += 1
                return refused == 1
            return isinstance(error, _TRANSIENT)

        def tell(state: tenacity.RetryCallState) -> None:
            if state.attempt_number == 2:
                log.warning("%s; trying again.", state.outcome and state.outcome.exception())

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(again),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=_LONGEST_PAUSE),
            stop=tenacity.stop_after_delay(self.patience)
            | tenacity.stop_when_event_set(self._stop),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=tell,
            reraise=True,
        )
        return retrying(attempt)


_GRPC_CODES: Final = {
    400: 3, 401: 16, 403: 7, 404: 5, 412: 9, 416: 11, 429: 8, 503: 14, 507: 8,
}  # fmt: skip
"""What the statuses of HTTP mean, as gRPC codes."""
_ERRORS: Final = {kind.grpc_code: kind for kind in errors.TensordeckError.__subclasses__()} | {
    2: errors.Unavailable,  # UNKNOWN: the connection broke under the call
    4: errors.Unavailable,  # DEADLINE_EXCEEDED
}
