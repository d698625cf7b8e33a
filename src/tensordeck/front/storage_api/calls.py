"""What a handler gets to see of a request."""

from collections.abc import Mapping
from typing import Any, Final

from anyio import CapacityLimiter
from msgspec import Struct
from starlette.requests import Request

from tensordeck.access import Access, Caller
from tensordeck.errors import InvalidArgument
from tensordeck.front.storage_api.addresses import base_url
from tensordeck.services.storage import StorageService
from tensordeck.services.storage_conditions import Conditions
from tensordeck.services.storage_names import resource_name

__all__ = ["ANYBODY", "STORAGE_THREADS", "StorageCall", "resource_name"]

STORAGE_THREADS: Final = CapacityLimiter(64)
"""Threads of calls that may wait for the blob store: calls for anything else must not share them,
or a store that hangs would take the whole server with it."""

ANYBODY: Final = Caller("allUsers", "")
"""Who calls without a credential, where a bucket's policy lets everybody in."""

_TRUE = ("true", "1")


class StorageCall(Struct, frozen=True):
    """One call, allowed already.

    Attributes:
        request: The HTTP request.
        service: Buckets and objects.
        access: Who may do what.
        caller: Who calls.
        names: The parts of the path, unquoted: `bucket`, `object` and so on.
        body: The JSON body; empty for calls without one.
    """

    request: Request
    service: StorageService
    access: Access
    caller: Caller
    names: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.names["bucket"]

    @property
    def object(self) -> str:
        """The object's name."""
        return self.names["object"]

    @property
    def query(self) -> Mapping[str, str]:
        """The query's parameters."""
        return self.request.query_params

    @property
    def fields(self) -> str:
        """What of the reply the caller wants; empty: all."""
        return self.query.get("fields", "")

    @property
    def base(self) -> str:
        """Scheme and host as the client used them."""
        return base_url(self.request.scope)

    @property
    def conditions(self) -> Conditions:
        """The preconditions in the query.

        Raises:
            InvalidArgument: If one is no number.
        """
        return Conditions.parse(self.query)

    @property
    def generation(self) -> int | None:
        """The generation asked for, if any.

        Raises:
            InvalidArgument: If it is no number.
        """
        return self.whole_number("generation")

    def whole_number(self, name: str) -> int | None:
        """A number of the query.

        Raises:
            InvalidArgument: If it is none.
        """
        text = self.query.get(name, "")
        if not text:
            return None
        if not text.isdecimal() or len(text) > 19:
            raise InvalidArgument(f"`{name}` must be a whole number; it is {text[:40]!r}.")
        return int(text)

    def flag(self, name: str) -> bool:
        """A yes-or-no parameter of the query."""
        return self.query.get(name, "").lower() in _TRUE
