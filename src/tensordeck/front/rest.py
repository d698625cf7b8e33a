"""The REST transport: HTTP requests to messages by the method table, replies and errors to JSON.

Rules: AIP-127 (transcoding), the proto3 JSON mapping, and Google's error body
(https://cloud.google.com/apis/design/errors#http_mapping).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import orjson
from anyio import to_thread
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tensordeck import errors, protos
from tensordeck.access import Caller
from tensordeck.front.dispatch import Dispatcher, internal
from tensordeck.front.method import VERSIONS, HttpRule, Method, Version
from tensordeck.front.methods import METHODS
from tensordeck.front.observed_calls import METHOD
from tensordeck.names import shown

BODY_LIMIT: Final = 128 * 2**20
"""Bytes of a request's body."""

_SYSTEM_PARAMETERS: Final = frozenset(
    [
        "access_token",
        "alt",
        "callback",
        "fields",
        "key",
        "oauth_token",
        "prettyPrint",
        "quotaUser",
        "uploadType",
        "upload_protocol",
        "userIp",
    ]
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")


@dataclass(frozen=True)
class _Route:
    rule: HttpRule
    method: Method
    version: Version

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        # Some 200 of them take 40 ms to compile, for which no start should wait.
        return self.rule.pattern(self.version)


class RestApi:
    """An ASGI app that answers the API's REST calls.

    Args:
        dispatcher: Where calls go.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._routes: dict[str, list[_Route]] = {}
        for method in METHODS:
            if not dispatcher.serves(method):
                continue
            for rule in method.http:
                for version in VERSIONS if "{v}" in rule.template else (_version(rule.template),):
                    self._routes.setdefault(rule.verb, []).append(_Route(rule, method, version))

    def prepare(self) -> None:
        """Compiles the routes now, for which the first call would otherwise wait."""
        for routes in self._routes.values():
            for route in routes:
                _ = route.pattern

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except errors.TensordeckError as error:
            response = error_response(error)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = (
            request.scope.get("raw_path", request.url.path.encode())
            .split(b"?")[0]
            .decode("latin-1")
        )
        route, variables = self._find(request.method, path)
        request.scope[METHOD] = route.method.name
        caller = await to_thread.run_sync(
            self._dispatcher.authenticate, request.headers.get("authorization")
        )
        body = await _read_body(request)
        query = request.scope["query_string"]
        return await to_thread.run_sync(self._run, route, variables, query, body, caller)

    def _find(self, verb: str, path: str) -> tuple[_Route, dict[str, str]]:
        for route in self._routes.get(verb, ()):
            if match := route.pattern.fullmatch(path):
                return route, match.groupdict()
        allowed = sorted(
            other
            for other, routes in self._routes.items()
            if any(route.pattern.fullmatch(path) for route in routes)
        )
        if allowed:
            raise _MethodNotAllowed(
                f"{verb} is not possible on {shown(unquote(path))}; use {' or '.join(allowed)}.",
                allowed,
            )
        raise errors.NotFound(
            f"There is no {verb} method at {shown(unquote(path))}. Paths look like "
            "/v1/projects/PROJECT/locations/REGION/tensorboards."
        )

    def _run(
        self,
        route: _Route,
        variables: Mapping[str, str],
        query: bytes,
        body: bytes,
        caller: Caller,
    ) -> Response:
        try:
            message = build_request(route.method, route.rule.body, variables, query, body)
            reply = self._dispatcher.call(route.method, message, caller, route.version, "rest")
            if route.method.streaming:
                content: Any = [protos.to_json(item) for item in reply]
            else:
                content = _to_json(reply, route.version)
            return _json(content)
        except errors.TensordeckError as error:
            return error_response(error)
        except Exception as error:  # noqa: BLE001 -- a bug must not reach the client as a traceback
            return error_response(internal(error, route.method.name))


class _MethodNotAllowed(errors.TensordeckError):
    """HTTP only: the path exists under other verbs."""

    grpc_code, status, http_status = 12, "UNIMPLEMENTED", 405

    def __init__(self, text: str, allowed: list[str]) -> None:
        super().__init__(text)
        self.allowed = allowed


class _TooLarge(errors.TensordeckError):
    """HTTP only: the body is over the limit."""

    grpc_code, status, http_status = 8, "RESOURCE_EXHAUSTED", 413


def build_request(
    method: Method, body_field: str, variables: Mapping[str, str], query: bytes, body: bytes
) -> Any:
    """Puts a request message together from path, query string and body.

    Raises:
        errors.InvalidArgument: If a part does not fit; the message names the field.
    """
    message = protos.message(method.request)()
    if body_field:
        value = _parse_body(body)
        if body_field == "*":
            protos.from_json(value, message)
        else:
            protos.from_json(value, getattr(message, body_field), f'"{body_field}"')
            getattr(message, body_field).SetInParent()
    elif body.strip():
        raise errors.InvalidArgument(f"{method.name} takes no body; send the fields in the query.")
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20_000
        )
    except ValueError as error:
        raise errors.InvalidArgument(f"The query string is malformed: {error}") from error
    for key, text in pairs:
        if key not in _SYSTEM_PARAMETERS and not key.startswith("$"):
            _set_parameter(message, key, text)
    for key, text in variables.items():
        target = message
        *outer, last = key.split("__")
        for field in outer:
            target = getattr(target, field)
        try:
            setattr(target, last, unquote(text, errors="strict"))
        except UnicodeDecodeError as error:
            raise errors.InvalidArgument(f"`{key}` in the path is not UTF-8.") from error
    return message


def _parse_body(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.InvalidArgument(f"The request's body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise errors.InvalidArgument("The request's body must be a JSON object.")
    return value


def _set_parameter(message: Any, key: str, text: str) -> None:
    """Sets a query parameter (`pageSize`, `read_mask`, `tensorboard.display_name`)."""
    *outer, last = key.split(".")
    target = message
    for name in outer:
        field = _field(target.DESCRIPTOR, name, key)
        if field.message_type is None or field.is_repeated:
            raise errors.InvalidArgument(f"Unknown query parameter {shown(key)}.")
        target = getattr(target, field.name)
    field = _field(target.DESCRIPTOR, last, key)
    if field.message_type is not None and field.message_type.full_name == (
        "google.protobuf.FieldMask"
    ):
        # gcloud sends snake_case paths, the REST client camelCase ones.
        paths = [part.strip() for part in text.split(",") if part.strip()]
        getattr(target, field.name).paths.extend(_snake(path) for path in paths)
        return
    value: Any = text
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text.lower() not in ("true", "false"):
            raise errors.InvalidArgument(f"`{key}` must be true or false; it is {shown(text)}.")
        value = text.lower() == "true"
    elif field.type == FieldDescriptor.TYPE_ENUM and text.lstrip("-").isdecimal():
        value = int(text)
    where = f'query parameter "{key}"'
    if field.is_repeated:
        # Read on its own: JSON that names a repeated field replaces what came before.
        one = type(target)()
        protos.from_json({field.name: [value]}, one, where)
        target.MergeFrom(one)
    else:
        protos.from_json({field.name: value}, target, where)


def _field(descriptor: Descriptor, name: str, key: str) -> Any:
    field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
    if field is None:
        raise errors.InvalidArgument(f"Unknown query parameter {shown(key)}.")
    return field


def _snake(path: str) -> str:
    return _CAMEL.sub(lambda match: "_" + match[0].lower(), path)


async def _read_body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            raise _TooLarge(f"The request's body is over {BODY_LIMIT // 2**20} MiB.")
        chunks.append(chunk)
    return b"".join(chunks)


def _version(template: str) -> Version:
    return "v1beta1" if template.startswith("/v1beta1/") else "v1"


def _to_json(reply: Any, version: str) -> dict[str, Any]:
    """As `protos.to_json`; the pool knows the messages inside operations by their v1 names."""
    if version == "v1" or not reply.DESCRIPTOR.full_name.startswith("google.longrunning."):
        return protos.to_json(reply)
    for operation in reply.operations if hasattr(reply, "operations") else (reply,):
        for packed in (operation.metadata, operation.response):
            packed.type_url = packed.type_url.replace(f".{version}.", ".v1.")
    result: dict[str, Any] = _retype(protos.to_json(reply))
    return result


def _retype(value: Any) -> Any:
    """Names the caller's API version in the `@type` of every Any."""
    if isinstance(value, dict):
        return {
            key: item.replace(".aiplatform.v1.", ".aiplatform.v1beta1.")
            if key == "@type" and isinstance(item, str)
            else _retype(item)
            for key, item in value.items()
        }
    return [_retype(item) for item in value] if isinstance(value, list) else value


def _json(content: Any, status: int = 200) -> Response:
    return Response(
        orjson.dumps(content, option=orjson.OPT_INDENT_2 if status >= 400 else 0),
        status,
        media_type="application/json",
    )


def error_response(error: errors.TensordeckError) -> Response:
    """An error in Google's JSON form."""
    response = _json(
        {
            "error": {
                "code": error.http_status,
                "message": error.message.encode(errors="replace").decode(),
                "status": error.status,
            }
        },
        error.http_status,
    )
    if isinstance(error, _MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, errors.Unauthenticated):
        response.headers["WWW-Authenticate"] = 'Bearer realm="tensordeck"'
    return response
