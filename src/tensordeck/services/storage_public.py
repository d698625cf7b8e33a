"""What anybody may do in a bucket without a credential: what its policy gives to `allUsers`.

Roles: https://cloud.google.com/storage/docs/access-control/iam-roles. Whatever a policy says,
nobody writes without a credential.
"""

from collections.abc import Iterator
from typing import Any, Final

from tensordeck.store.resources import Bucket

__all__ = ["EVERYBODY", "GET", "LIST", "is_prevented", "public_permissions"]

EVERYBODY: Final = ("allUsers", "allAuthenticatedUsers")
GET: Final = "storage.objects.get"
LIST: Final = "storage.objects.list"

_GRANTED: Final = {
    "roles/storage.admin": (GET, LIST),
    "roles/storage.objectAdmin": (GET, LIST),
    "roles/storage.objectUser": (GET, LIST),
    "roles/storage.objectViewer": (GET, LIST),
    "roles/storage.legacyBucketOwner": (LIST,),
    "roles/storage.legacyBucketReader": (LIST,),
    "roles/storage.legacyBucketWriter": (LIST,),
    "roles/storage.legacyObjectOwner": (GET,),
    "roles/storage.legacyObjectReader": (GET,),
}


def public_permissions(bucket: Bucket) -> frozenset[str]:
    """The permissions on objects that a bucket gives to everybody: `GET`, `LIST`, both or none."""
    if is_prevented(bucket):
        return frozenset()
    return frozenset(_public(bucket.iam_policy))


def is_prevented(bucket: Bucket) -> bool:
    """Whether public access prevention is enforced on a bucket, so that no policy opens it."""
    configuration = bucket.extra.get("iamConfiguration")
    return (
        isinstance(configuration, dict)
        and configuration.get("publicAccessPrevention") == "enforced"
    )


def _public(policy: dict[str, Any]) -> Iterator[str]:
    for binding in policy.get("bindings", []):
        members = binding.get("members")
        # We evaluate no conditions: what only holds sometimes does not hold here.
        if isinstance(members, list) and "allUsers" in members and not binding.get("condition"):
            yield from _GRANTED.get(str(binding.get("role")), ())
