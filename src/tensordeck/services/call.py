"""What a service method knows of the call besides its request."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from tensordeck.access import Caller


def _permitted(_resource: str) -> None:
    """The default: the transport has checked the permission already."""


class Call(Struct, frozen=True):
    """One call.

    Attributes:
        caller: Who makes it.
        version: The API version it came in by.
        transport: What it came in by. REST callers see only HTTP statuses, which some methods
            must make up for (UpdateContext).
        authorize: Checks the method's permission on a resource; raises PermissionDenied. Only a
            method that takes raw bytes must call it, with every resource it decodes; for the
            others the dispatcher has done so.
    """

    caller: Caller
    version: Literal["v1", "v1beta1"] = "v1"
    transport: Literal["grpc", "rest"] = "grpc"
    authorize: Callable[[str], None] = _permitted
