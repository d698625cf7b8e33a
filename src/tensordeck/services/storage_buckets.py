"""Buckets: create, find, list, change, delete, and who may use them.

Reference: https://cloud.google.com/storage/docs/json_api/v1/buckets.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec.structs import replace

from tensordeck.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from tensordeck.names import shown
from tensordeck.services.storage_conditions import ConditionNotMet, Conditions
from tensordeck.services.storage_names import validate_bucket
from tensordeck.services.storage_objects import missing_bucket
from tensordeck.services.storage_public import EVERYBODY, is_prevented
from tensordeck.store import Store
from tensordeck.store.resources import Bucket, Json, StoredObject
from tensordeck.store.walk import walk

__all__ = ["BucketNotEmpty", "Buckets"]

_OUTPUT_ONLY: Final = frozenset(
    (
        "acl",
        "defaultObjectAcl",
        "etag",
        "generation",
        "id",
        "kind",
        "location",
        "locationType",
        "metageneration",
        "name",
        "owner",
        "projectNumber",
        "selfLink",
        "storageClass",
        "labels",
        "timeCreated",
        "updated",
    )
)
"""Fields that are ours to set or have a column of their own; any other is kept as it came."""

_EXTRA_LIMIT: Final = 64


class BucketNotEmpty(FailedPrecondition):
    """A bucket with objects can't be deleted."""

    http_status = 409


class Buckets:
    """The buckets of a store. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog

    def create(self, project: str, body: Mapping[str, Any]) -> Bucket:
        """Makes a bucket from its JSON resource.

        Raises:
            InvalidArgument: If the name or a field is invalid.
            AlreadyExists: If there is one of that name.
        """
        name = body.get("name")
        if not isinstance(name, str):
            raise InvalidArgument("`name` is required: the bucket's name.")
        bucket = _changed(Bucket(name=validate_bucket(name), project=project), body)
        location = body.get("location") or "US"
        if not isinstance(location, str) or not location.replace("-", "").isalnum():
            raise InvalidArgument(f"`location` is not a location: {shown(str(location))}.")
        try:
            return self._catalog.create(replace(bucket, location=location.upper()))
        except AlreadyExists as error:
            raise AlreadyExists(
                f"The bucket {name} already exists. Use it, or choose another name."
            ) from error

    def ensure(self, name: str, project: str, location: str = "US") -> Bucket:
        """Returns a bucket, made when it is missing."""
        try:
            return self.get(name)
        except NotFound:
            pass
        try:
            return self.create(project, {"name": name, "location": location})
        except AlreadyExists:
            return self.get(name)

    def get(self, name: str) -> Bucket:
        """Returns a bucket.

        Raises:
            NotFound: If there is none.
        """
        bucket = self._catalog.find(Bucket, name)
        if bucket is None:
            raise missing_bucket(name)
        return bucket

    def list(self, project: str, prefix: str = "") -> Iterator[Bucket]:
        """Yields a project's buckets in order of name, and those of no project."""
        found = [
            bucket
            for bucket in walk(self._catalog, Bucket, "")
            if bucket.project in (project, "") and bucket.name.startswith(prefix)
        ]
        yield from sorted(found, key=lambda bucket: bucket.name)

    def update(
        self, name: str, body: Mapping[str, Any], conditions: Conditions, *, whole: bool = False
    ) -> Bucket:
        """Changes a bucket's fields: those of a patch, or all of them.

        Raises:
            NotFound: If there is none.
            InvalidArgument: If a field has the wrong type.
            ConditionNotMet: If a precondition does not hold.
        """

        def change(old: Bucket) -> Bucket:
            conditions.check(old)
            return _changed(replace(old, labels={}, extra={}) if whole else old, body)

        return self._change(name, change)

    def set_policy(self, name: str, policy: Mapping[str, Any], etag: str) -> Bucket:
        """Sets a bucket's IAM policy.

        Args:
            name: The bucket.
            policy: `bindings` and `version`.
            etag: The one that the caller read; empty overwrites whatever is there.

        Raises:
            NotFound: If there is no such bucket.
            InvalidArgument: If the policy is none.
            ConditionNotMet: If it was changed since the caller read it, or would make a bucket
                public whose public access is prevented.
        """
        bindings = policy.get("bindings", [])
        if not isinstance(bindings, list) or not all(isinstance(item, dict) for item in bindings):
            raise InvalidArgument("`bindings` must be a list of {role, members}.")

        def change(old: Bucket) -> Bucket:
            if is_prevented(old) and any(map(_is_for_everybody, bindings)):
                raise ConditionNotMet(
                    f"The bucket {name} enforces public access prevention: its policy can't have "
                    f"{' or '.join(EVERYBODY)}. Take the prevention off, or name the members."
                )
            if etag and etag != policy_etag(old):
                raise ConditionNotMet(
                    f"The policy of the bucket {name} was changed meanwhile; read it again."
                )
            count = int(old.iam_policy.get("count", 0)) + 1
            version = policy.get("version", 1)
            return replace(
                old, iam_policy={"bindings": bindings, "version": version, "count": count}
            )

        return self._change(name, change)

    def delete(self, name: str, conditions: Conditions) -> None:
        """Deletes an empty bucket.

        Raises:
            NotFound: If there is none.
            BucketNotEmpty: If there are objects in it.
            ConditionNotMet: If a precondition does not hold.
        """
        self.get(name)
        if self._catalog.list(StoredObject, name, page_size=1).items:
            raise BucketNotEmpty(
                f"The bucket {name} is not empty. Delete its objects before the bucket."
            )
        try:
            self._catalog.delete(Bucket, name, check=conditions.check)
        except NotFound as error:
            raise missing_bucket(name) from error

    def _change(self, name: str, change: Callable[[Bucket], Bucket]) -> Bucket:
        try:
            return self._catalog.update(Bucket, name, change)
        except NotFound as error:
            raise missing_bucket(name) from error


def policy_etag(bucket: Bucket) -> str:
    """The IAM policy's version, in the API's form: base64, which gcloud reads and writes anew."""
    count = int(bucket.iam_policy.get("count", 0))
    return base64.b64encode(b"\b" + count.to_bytes(4)).decode()


def _is_for_everybody(binding: Mapping[str, Any]) -> bool:
    members = binding.get("members")
    return isinstance(members, list) and any(member in members for member in EVERYBODY)


def _changed(bucket: Bucket, body: Mapping[str, Any]) -> Bucket:
    """Returns the bucket with the fields of a patch; a null removes one."""
    storage_class = body.get("storageClass") or bucket.storage_class
    if not isinstance(storage_class, str):
        raise InvalidArgument("`storageClass` must be a string.")
    labels = body.get("labels", {})
    if labels is not None and (
        not isinstance(labels, Mapping)
        or not all(isinstance(value, str | None) for value in labels.values())
    ):
        raise InvalidArgument("`labels` must be an object of strings.")
    extra = dict(bucket.extra)
    for key, value in body.items():
        if key in _OUTPUT_ONLY:
            continue
        if value is None:
            extra.pop(key, None)
        else:
            extra[key] = value
    if len(extra) > _EXTRA_LIMIT:
        raise InvalidArgument(f"A bucket may have {_EXTRA_LIMIT} fields.")
    return replace(
        bucket,
        storage_class=storage_class,
        labels={} if labels is None else _merged(bucket.labels, labels),
        extra=extra,
    )


def _merged(old: Json, new: Mapping[str, Any]) -> Json:
    return {key: value for key, value in {**old, **new}.items() if value is not None}
