"""The app: finds the call that a request means, asks who calls, and answers in the right form."""

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from anyio import to_thread
from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tensordeck.access import Access, Caller
from tensordeck.errors import Internal, InvalidArgument, NotFound, TensordeckError, Unauthenticated
from tensordeck.front.storage_api import bucket_calls, object_calls, uploads
from tensordeck.front.storage_api.addresses import decoded, is_json_path, raw_path, xml_names
from tensordeck.front.storage_api.batch import answer_batch
from tensordeck.front.storage_api.bodies import JSON_LIMIT, read_json, read_limited
from tensordeck.front.storage_api.calls import (
    ANYBODY,
    STORAGE_THREADS,
    StorageCall,
    resource_name,
)
from tensordeck.front.storage_api.replies import json_error, xml_error
from tensordeck.front.storage_api.xml_calls import answer_xml, permission_of
from tensordeck.services.storage import StorageService
from tensordeck.services.storage_public import LIST, public_permissions
from tensordeck.store import Store

__all__ = ["StorageApp", "storage_app"]

_log = logging.getLogger(__name__)

Handler = Callable[[StorageCall], Response] | Callable[[StorageCall], Awaitable[Response]]

_BODILESS: Final = ("GET", "HEAD", "DELETE")
_READING: Final = ("GET", "HEAD")
NO_BODY: Final[Mapping[str, Any]] = MappingProxyType({})

_BUCKET: Final = r"/storage/v1/b/(?P<bucket>[^/]+)"
_OBJECT: Final = _BUCKET + r"/o/(?P<object>[^/]+)"
_TARGET: Final = r"/b/(?P<to_bucket>[^/]+)/o/(?P<to_object>[^/]+)"
_UPLOAD: Final = r"/(?:resumable/)?upload/storage/v1/b/(?P<bucket>[^/]+)/o(?:/(?P<object>[^/]+))?"
_NOTHING: Final = (
    r"/(?P<collection>anywhereCaches|managedFolders|notificationConfigs|acl|defaultObjectAcl)"
)


class _Route(Struct, frozen=True):
    """One method of the JSON API; asynchronous handlers read the request's body themselves."""

    verb: str
    path: re.Pattern[str]
    permission: str
    handler: Handler


def _route(verb: str, path: str, permission: str, handler: Handler) -> _Route:
    return _Route(verb, re.compile(path), f"storage.{permission}", handler)


_ROUTES: Final = (
    _route("GET", "/storage/v1/b", "buckets.list", bucket_calls.list_buckets),
    _route("POST", "/storage/v1/b", "buckets.create", bucket_calls.create_bucket),
    _route("GET", _BUCKET, "buckets.get", bucket_calls.get_bucket),
    _route("PATCH", _BUCKET, "buckets.update", bucket_calls.patch_bucket),
    _route("PUT", _BUCKET, "buckets.update", bucket_calls.update_bucket),
    _route("DELETE", _BUCKET, "buckets.delete", bucket_calls.delete_bucket),
    _route("GET", _BUCKET + "/iam", "buckets.getIamPolicy", bucket_calls.get_policy),
    _route("PUT", _BUCKET + "/iam", "buckets.setIamPolicy", bucket_calls.set_policy),
    _route("GET", _BUCKET + "/iam/testPermissions", "", bucket_calls.test_permissions),
    _route("GET", _BUCKET + "/storageLayout", "buckets.get", bucket_calls.get_layout),
    _route("GET", _BUCKET + "/folders.*", "buckets.get", bucket_calls.refuse_folders),
    _route("GET", _BUCKET + _NOTHING, "buckets.get", bucket_calls.list_nothing),
    _route(
        "GET",
        "/storage/v1/projects/(?P<project>[^/]+)/serviceAccount",
        "buckets.list",
        bucket_calls.get_service_account,
    ),
    _route("GET", _BUCKET + "/o", "objects.list", object_calls.list_objects),
    _route("POST", _BUCKET + "/o", "objects.create", object_calls.insert_empty),
    _route("GET", _OBJECT, "objects.get", object_calls.get_object),
    _route("GET", "/download" + _OBJECT, "objects.get", object_calls.get_object),
    _route("PATCH", _OBJECT, "objects.update", object_calls.patch_object),
    _route("PUT", _OBJECT, "objects.update", object_calls.update_object),
    _route("DELETE", _OBJECT, "objects.delete", object_calls.delete_object),
    _route("POST", _OBJECT + "/compose", "objects.create", object_calls.compose_object),
    _route("POST", _OBJECT + "/copyTo" + _TARGET, "objects.get", object_calls.copy_object),
    _route("POST", _OBJECT + "/rewriteTo" + _TARGET, "objects.get", object_calls.rewrite_object),
    _route(
        "POST",
        _OBJECT + r"/moveTo/o/(?P<to_object>[^/]+)",
        "objects.get",
        object_calls.move_object,
    ),
    _route("POST", _UPLOAD, "objects.create", uploads.upload_object),
    _route("PUT", _UPLOAD, "objects.create", uploads.upload_object),
    _route("DELETE", _UPLOAD, "objects.create", uploads.cancel_upload),
)


def storage_app(store: Store, access: Access) -> ASGIApp:
    """Makes the app that answers Cloud Storage's JSON and XML APIs.

    It takes the requests for which `is_storage_request` holds.

    Args:
        store: Where buckets and objects are.
        access: Who calls, and what they may do.
    """
    return StorageApp(StorageService(store), access)


class StorageApp:
    """The app; see `storage_app`."""

    def __init__(self, service: StorageService, access: Access) -> None:
        self._service = service
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        path = raw_path(scope)
        json = is_json_path(path)
        try:
            response = await (self._answer_json(request, path) if json else self._xml(request))
        except ClientDisconnect:
            return
        except TensordeckError as error:
            response = json_error(error) if json else xml_error(error)
        except Exception:  # noqa: BLE001 -- the log has it; a caller never sees a traceback
            _log.exception("%s %s failed", request.method, path)
            failure = Internal("The server failed at this request; its log says why.")
            response = json_error(failure) if json else xml_error(failure)
        try:
            await response(scope, receive, send)
        except TensordeckError as error:
            # The head is out. Without the last bytes the client knows that it has not all.
            _log.error("%s %s was cut off: %s", request.method, path, error.message)

    async def _answer_json(self, request: Request, path: str) -> Response:
        if path.startswith("/batch"):
            if request.scope.get("batched"):
                raise InvalidArgument("A batch may hold no batch.")
            await to_thread.run_sync(self._authenticate, request)
            return await answer_batch(request, self)
        found = [(route, match) for route in _ROUTES if (match := route.path.fullmatch(path))]
        for route, match in found:
            if route.verb == request.method:
                return await self._call(route, match, request)
        await to_thread.run_sync(self._authenticate, request)
        if found:
            verbs = sorted({route.verb for route, _ in found})
            return Response(status_code=405, headers={"Allow": ", ".join(verbs)})
        raise NotFound(f"The Cloud Storage API has no {path[:200]}.")

    async def _call(self, route: _Route, match: re.Match[str], request: Request) -> Response:
        names = {key: decoded(text) for key, text in match.groupdict().items() if text}

        def call(body: Mapping[str, Any] = NO_BODY) -> StorageCall:
            caller = self._allow(request, route.permission, names)
            return StorageCall(request, self._service, self._access, caller, names, body)

        handler: Any = route.handler
        if inspect.iscoroutinefunction(handler):
            allowed = await to_thread.run_sync(call)
            response: Response = await handler(allowed)
        elif request.method in _BODILESS:
            response = await to_thread.run_sync(
                lambda: self._read(handler, call()), limiter=STORAGE_THREADS
            )
        else:
            # The credential is looked at before a byte of the body is read.
            allowed = await to_thread.run_sync(call)
            body = read_json(await read_limited(request, JSON_LIMIT))
            response = await to_thread.run_sync(
                handler, replace(allowed, body=body), limiter=STORAGE_THREADS
            )
        return response

    async def _xml(self, request: Request) -> Response:
        try:
            bucket, name = xml_names(request.scope)
            if not bucket:
                raise InvalidArgument("The path must be /BUCKET or /BUCKET/OBJECT.")
            permission = permission_of(request.method, name, request.query_params)
        except TensordeckError:
            await to_thread.run_sync(self._authenticate, request)
            raise
        names = {"bucket": bucket, "object": name}
        caller = await to_thread.run_sync(self._allow, request, permission, names)
        call = StorageCall(request, self._service, self._access, caller, names, NO_BODY)
        try:
            return await answer_xml(call)
        except NotFound:
            await to_thread.run_sync(self._hide_what_is_missing, call)
            raise

    def _read(self, handler: Callable[[StorageCall], Response], call: StorageCall) -> Response:
        try:
            return handler(call)
        except NotFound:
            self._hide_what_is_missing(call)
            raise

    def _hide_what_is_missing(self, call: StorageCall) -> None:
        """Answers as if nothing were public, where everybody may read but not list objects."""
        if call.caller is ANYBODY and not self._is_public(call.bucket, LIST):
            raise _credential_missing()

    def _authenticate(self, request: Request) -> Caller:
        authorization = _authorization(request)
        if authorization is None:
            raise _credential_missing()
        return self._access.authenticate(authorization)

    def _is_public(self, bucket: str, permission: str) -> bool:
        try:
            return permission in public_permissions(self._service.buckets.get(bucket))
        except NotFound:
            return False

    def _allow(self, request: Request, permission: str, names: dict[str, str]) -> Caller:
        if (
            request.method in _READING
            and _authorization(request) is None
            and self._is_public(names.get("bucket", ""), permission)
        ):
            return ANYBODY
        caller = self._authenticate(request)
        if permission != "storage.":
            bucket = names.get("bucket")
            resource = (
                resource_name(bucket, names.get("object", ""))
                if bucket
                else f"projects/{names.get('project') or request.query_params.get('project', '_')}"
            )
            self._access.check(caller, permission, resource)
        return caller


def _authorization(request: Request) -> str | None:
    """The credential that a request carries, as an `Authorization` header has it."""
    authorization = request.headers.get("authorization")
    if authorization is None and (token := request.query_params.get("access_token")):
        return f"Bearer {token}"
    return authorization


def _credential_missing() -> Unauthenticated:
    return Unauthenticated(
        "Anonymous caller does not have storage access. Send an Authorization header; "
        "`tensordeck exec` sets a credential up."
    )
