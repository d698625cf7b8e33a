"""The JSON API's calls on buckets: https://cloud.google.com/storage/docs/json_api/v1/buckets."""

from typing import Any

from starlette.responses import Response

from tensordeck.errors import InvalidArgument, NotFound, PermissionDenied
from tensordeck.front.storage_api.calls import StorageCall, resource_name
from tensordeck.front.storage_api.replies import json_reply
from tensordeck.front.storage_api.representation import bucket_json, location_type
from tensordeck.services.projects import project_number
from tensordeck.services.storage_buckets import policy_etag
from tensordeck.store.resources import Bucket, Json

_PAGE = 1000


def create_bucket(call: StorageCall) -> Response:
    """`buckets.insert`."""
    project = call.query.get("project", "")
    if not project:
        raise InvalidArgument("`project` is required: the project that the bucket is for.")
    bucket = call.service.buckets.create(project, call.body)
    return json_reply(bucket_json(bucket, call.base), call.fields)


def list_buckets(call: StorageCall) -> Response:
    """`buckets.list`."""
    project = call.query.get("project", "")
    if not project:
        raise InvalidArgument("`project` is required: the project whose buckets to list.")
    token = call.query.get("pageToken", "")
    size = min(call.whole_number("maxResults") or _PAGE, _PAGE)
    found = [
        bucket
        for bucket in call.service.buckets.list(project, call.query.get("prefix", ""))
        if bucket.name > token
    ]
    body: Json = {
        "kind": "storage#buckets",
        "items": [bucket_json(bucket, call.base) for bucket in found[:size]],
    }
    if len(found) > size:
        body["nextPageToken"] = found[size - 1].name
    return json_reply(body, call.fields)


def get_bucket(call: StorageCall) -> Response:
    """`buckets.get`."""
    bucket = call.service.buckets.get(call.bucket)
    call.conditions.check(bucket, reading=True)
    return json_reply(bucket_json(bucket, call.base), call.fields)


def patch_bucket(call: StorageCall) -> Response:
    """`buckets.patch`."""
    bucket = call.service.buckets.update(call.bucket, call.body, call.conditions)
    return json_reply(bucket_json(bucket, call.base), call.fields)


def update_bucket(call: StorageCall) -> Response:
    """`buckets.update`."""
    bucket = call.service.buckets.update(call.bucket, call.body, call.conditions, whole=True)
    return json_reply(bucket_json(bucket, call.base), call.fields)


def delete_bucket(call: StorageCall) -> Response:
    """`buckets.delete`."""
    call.service.buckets.delete(call.bucket, call.conditions)
    return Response(status_code=204)


def get_policy(call: StorageCall) -> Response:
    """`buckets.getIamPolicy`."""
    return json_reply(_policy(call.service.buckets.get(call.bucket)), call.fields)


def set_policy(call: StorageCall) -> Response:
    """`buckets.setIamPolicy`."""
    etag = call.body.get("etag") or ""
    if not isinstance(etag, str):
        raise InvalidArgument("`etag` must be a string.")
    bucket = call.service.buckets.set_policy(call.bucket, call.body, etag)
    return json_reply(_policy(bucket), call.fields)


def test_permissions(call: StorageCall) -> Response:
    """`buckets.testIamPermissions`."""
    call.service.buckets.get(call.bucket)
    asked = call.request.query_params.getlist("permissions")
    return json_reply(
        {
            "kind": "storage#testIamPermissionsResponse",
            "permissions": [permission for permission in asked if _has(call, permission)],
        }
    )


def get_layout(call: StorageCall) -> Response:
    """`buckets.getStorageLayout`: ours have no folders of their own."""
    bucket = call.service.buckets.get(call.bucket)
    return json_reply(
        {
            "kind": "storage#storageLayout",
            "bucket": bucket.name,
            "location": bucket.location,
            "locationType": location_type(bucket),
            "hierarchicalNamespace": {"enabled": False},
        },
        call.fields,
    )


def list_nothing(call: StorageCall) -> Response:
    """Lists of what our buckets never have: caches, notifications, managed folders, ACL entries."""
    call.service.buckets.get(call.bucket)
    return json_reply({"kind": f"storage#{call.names['collection']}", "items": []}, call.fields)


def refuse_folders(call: StorageCall) -> Response:
    """`folders`: only for buckets with a hierarchical namespace, which ours are not."""
    call.service.buckets.get(call.bucket)
    raise InvalidArgument(f"The bucket {call.bucket} does not support hierarchical namespace.")


def get_service_account(call: StorageCall) -> Response:
    """`projects.serviceAccount.get`."""
    number = project_number(call.names["project"])
    return json_reply(
        {
            "kind": "storage#serviceAccount",
            "email_address": f"service-{number}@gs-project-accounts.iam.gserviceaccount.com",
        }
    )


def refuse_unknown(_call: StorageCall) -> Response:
    """Any path that the API does not have."""
    raise NotFound("Not Found: the Cloud Storage API has no such method here.")


def _policy(bucket: Bucket) -> dict[str, Any]:
    return {
        "kind": "storage#policy",
        "resourceId": resource_name(bucket.name),
        "version": bucket.iam_policy.get("version", 1),
        "etag": policy_etag(bucket),
        "bindings": bucket.iam_policy.get("bindings", []),
    }


def _has(call: StorageCall, permission: str) -> bool:
    try:
        call.access.check(call.caller, permission, resource_name(call.bucket))
    except PermissionDenied:
        return False
    return True
