"""The id of the request that is being answered: in its logs, its reply, and its errors.

A caller, or a load balancer before us, may give one in `x-request-id`; else the trace id of a W3C
`traceparent` (https://www.w3.org/TR/trace-context/#traceparent-header) is taken, else one is made.
"""

import os
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Final

__all__ = ["HEADER", "TRACEPARENT", "RequestId", "begin_request", "request_id"]

HEADER: Final = "x-request-id"
TRACEPARENT: Final = "traceparent"

# No spaces, quotes or control characters: it goes into log lines and headers as it is.
_GIVEN: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACE: Final = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")

Headers = Iterable[tuple[str | bytes, str | bytes]]


class RequestId:
    """A request's id, found out when it is first asked for.

    Most calls end well and never ask; those pay for this object only.

    Args:
        headers: Gives the request's headers, their names in lower case.
    """

    __slots__ = ("_headers", "_text")

    def __init__(self, headers: Callable[[], Headers | None]) -> None:
        self._headers = headers
        self._text = ""

    def __str__(self) -> str:
        if not self._text:
            self._text = _given(self._headers() or ()) or os.urandom(8).hex()
        return self._text


_current: ContextVar[RequestId | None] = ContextVar("request", default=None)


def begin_request(headers: Callable[[], Headers | None]) -> RequestId:
    """Begins a request in the present task or thread, and in whatever copies its context."""
    current = RequestId(headers)
    _current.set(current)
    return current


def request_id() -> str:
    """The id of the request that is being answered here; empty where there is none."""
    return str(_current.get() or "")


def _given(headers: Headers) -> str:
    trace = ""
    for name, value in headers:
        key = name if isinstance(name, str) else name.decode("latin-1")
        if key not in (HEADER, TRACEPARENT):
            continue
        text = value if isinstance(value, str) else value.decode("latin-1")
        if key == HEADER and _GIVEN.fullmatch(text):
            return text
        if key == TRACEPARENT and (found := _TRACE.fullmatch(text)):
            trace = found[1]
    return trace
