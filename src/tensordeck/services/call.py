"""What a service method knows of the call besides its request."""

from dataclasses import dataclass
from typing import Literal

from tensordeck.access import Caller


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        caller: Who makes it; allowed already.
        version: The API version it came in by.
        transport: What it came in by. REST callers see only HTTP statuses, which some methods
            must make up for (UpdateContext).
    """

    caller: Caller
    version: Literal["v1", "v1beta1"] = "v1"
    transport: Literal["grpc", "rest"] = "grpc"
