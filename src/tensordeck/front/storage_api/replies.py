"""Replies in Cloud Storage's two forms: JSON and XML bodies for results and errors."""

from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

import orjson
from starlette.responses import Response

from tensordeck.errors import (
    AlreadyExists,
    DataLoss,
    Internal,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    TensordeckError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from tensordeck.front.storage_api.partial import Selection
from tensordeck.services.storage_buckets import BucketNotEmpty
from tensordeck.services.storage_conditions import (
    ConditionNotMet,
    NotModified,
    RangeNotSatisfiable,
)

__all__ = ["json_error", "json_reply", "xml_error", "xml_reply"]

# (type, JSON reason, XML code), the more special type first.
_FORMS: Final[tuple[tuple[type[TensordeckError], str, str], ...]] = (
    (ConditionNotMet, "conditionNotMet", "PreconditionFailed"),
    (NotModified, "notModified", "NotModified"),
    (RangeNotSatisfiable, "requestedRangeNotSatisfiable", "InvalidRange"),
    (BucketNotEmpty, "conflict", "BucketNotEmpty"),
    (AlreadyExists, "conflict", "BucketAlreadyOwnedByYou"),
    (Unauthenticated, "required", "AuthenticationRequired"),
    (PermissionDenied, "forbidden", "AccessDenied"),
    (ResourceExhausted, "quotaExceeded", "InsufficientQuota"),
    (Unimplemented, "notImplemented", "NotImplemented"),
    (Unavailable, "backendError", "ServiceUnavailable"),
    (DataLoss, "internalError", "InternalError"),
    (Internal, "internalError", "InternalError"),
    (NotFound, "notFound", "NoSuchKey"),
    (TensordeckError, "invalid", "InvalidArgument"),
)
_JSON: Final = "application/json; charset=UTF-8"
_XML: Final = "application/xml; charset=UTF-8"
_BODILESS: Final = (204, 304)


def json_reply(
    body: Mapping[str, Any],
    fields: str = "",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A JSON reply, cut to the fields that the caller asked for.

    Raises:
        InvalidArgument: If `fields` can't be read.
    """
    cut = Selection(fields).of(body) if fields else body
    return Response(orjson.dumps(cut), status, headers, _JSON)


def json_error(error: TensordeckError) -> Response:
    """Google's JSON error body: https://cloud.google.com/storage/docs/json_api/v1/status-codes."""
    detail = {"message": error.message, "domain": "global", "reason": _form(error)[0]}
    if isinstance(error, Unauthenticated):
        detail |= {"locationType": "header", "location": "Authorization"}
    body = {
        "error": {"code": error.http_status, "message": error.message, "errors": [detail]},
    }
    return _error_reply(error, orjson.dumps(body), _JSON)


def xml_error(error: TensordeckError) -> Response:
    """The XML error body: https://cloud.google.com/storage/docs/xml-api/reference-status."""
    code = _form(error)[1]
    if code == "NoSuchKey" and "bucket" in error.message.partition(":")[0]:
        code = "NoSuchBucket"
    body = (
        "<?xml version='1.0' encoding='UTF-8'?>"
        f"<Error><Code>{code}</Code><Message>{xml_text(error.message)}</Message></Error>"
    )
    return _error_reply(error, body.encode(), _XML)


def xml_reply(body: str, status: int = 200) -> Response:
    """An XML reply."""
    return Response(f"<?xml version='1.0' encoding='UTF-8'?>{body}", status, media_type=_XML)


def xml_text(text: str) -> str:
    """Text for an XML body, which can't hold most control characters."""
    return escape("".join(char if char >= " " or char in "\t\n" else "\ufffd" for char in text))


def _form(error: TensordeckError) -> tuple[str, str]:
    return next((reason, code) for kind, reason, code in _FORMS if isinstance(error, kind))


def _error_reply(error: TensordeckError, body: bytes, media_type: str) -> Response:
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/"'
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if error.http_status in _BODILESS:
        return Response(status_code=error.http_status, headers=headers)
    return Response(body, error.http_status, headers, media_type)
