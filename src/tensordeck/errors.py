"""The errors that callers see, each with its gRPC code and HTTP status.

    TensordeckError
    ├── InvalidArgument        INVALID_ARGUMENT     400   the request can never work
    ├── FailedPrecondition     FAILED_PRECONDITION  400   it can't work in the present state
    ├── OutOfRange             OUT_OF_RANGE         400
    ├── Unauthenticated        UNAUTHENTICATED      401   no or bad credential
    ├── PermissionDenied       PERMISSION_DENIED    403
    ├── NotFound               NOT_FOUND            404
    ├── AlreadyExists          ALREADY_EXISTS       409
    ├── Aborted                ABORTED              409   lost a race; read again and retry
    ├── ResourceExhausted      RESOURCE_EXHAUSTED   429   disk full, over a limit
    ├── Internal               INTERNAL             500   a bug; the cause is in the log
    ├── DataLoss               DATA_LOSS            500   stored bytes are not what was written
    ├── Unimplemented          UNIMPLEMENTED        501
    └── Unavailable            UNAVAILABLE          503   draining or a backend is away

Every layer raises these; `front` is the one place that turns them into replies. Statuses:
https://cloud.google.com/apis/design/errors.
"""

from typing import ClassVar

from tensordeck.telemetry.request_id import request_id


class TensordeckError(Exception):
    """An error with a designed message: the resource, what is wrong, what to do."""

    grpc_code: ClassVar[int] = 13
    status: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500

    @property
    def message(self) -> str:
        """The text that the caller sees."""
        return str(self)


class InvalidArgument(TensordeckError):  # noqa: N818 -- the API's own names for its statuses
    """The request can never work; the message names the field."""

    grpc_code, status, http_status = 3, "INVALID_ARGUMENT", 400


class FailedPrecondition(TensordeckError):  # noqa: N818 -- as above
    """The request can't work in the resource's present state."""

    grpc_code, status, http_status = 9, "FAILED_PRECONDITION", 400


class OutOfRange(TensordeckError):  # noqa: N818 -- as above
    """A position lies past the end."""

    grpc_code, status, http_status = 11, "OUT_OF_RANGE", 400


class Unauthenticated(TensordeckError):  # noqa: N818 -- as above
    """No credential, or one that is expired, revoked or forged."""

    grpc_code, status, http_status = 16, "UNAUTHENTICATED", 401


class PermissionDenied(TensordeckError):  # noqa: N818 -- as above
    """The caller is known but may not do this."""

    grpc_code, status, http_status = 7, "PERMISSION_DENIED", 403


class NotFound(TensordeckError):  # noqa: N818 -- as above
    """A resource does not exist; the message holds its name."""

    grpc_code, status, http_status = 5, "NOT_FOUND", 404


class AlreadyExists(TensordeckError):  # noqa: N818 -- as above
    """A resource of that id exists already."""

    grpc_code, status, http_status = 6, "ALREADY_EXISTS", 409


class Aborted(TensordeckError):  # noqa: N818 -- as above
    """A concurrent change won: read again and retry."""

    grpc_code, status, http_status = 10, "ABORTED", 409


class ResourceExhausted(TensordeckError):  # noqa: N818 -- as above
    """Disk full, or over a limit."""

    grpc_code, status, http_status = 8, "RESOURCE_EXHAUSTED", 429


class Internal(TensordeckError):  # noqa: N818 -- as above
    """A bug of ours; the log has the cause, under the request's id."""

    @property
    def message(self) -> str:
        """The text that the caller sees, with what to look for in the log."""
        current, text = request_id(), str(self)
        return f"{text} [request {current}]" if current and current not in text else text


class DataLoss(TensordeckError):  # noqa: N818 -- as above
    """Stored bytes are not what was written; the message names what they belong to."""

    grpc_code, status, http_status = 15, "DATA_LOSS", 500


class Unimplemented(TensordeckError):  # noqa: N818 -- as above
    """No such method."""

    grpc_code, status, http_status = 12, "UNIMPLEMENTED", 501


class Unavailable(TensordeckError):  # noqa: N818 -- as above
    """Try again later: the server drains or a backend is away."""

    grpc_code, status, http_status = 14, "UNAVAILABLE", 503
