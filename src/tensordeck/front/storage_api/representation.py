"""Buckets and objects as the JSON API shows them.

https://cloud.google.com/storage/docs/json_api/v1/buckets#resource and .../objects#resource.
"""

import base64
from datetime import UTC, datetime
from typing import Any, Final

from tensordeck.front.storage_api.addresses import quoted
from tensordeck.services.projects import project_number
from tensordeck.services.storage_attributes import WRITABLE
from tensordeck.services.storage_conditions import metageneration
from tensordeck.services.storage_names import object_name
from tensordeck.store.resources import Bucket, StoredObject

__all__ = ["bucket_json", "etag", "hash_header", "location_type", "object_json", "timestamp"]

_MULTI_REGIONS: Final = ("ASIA", "EU", "US")
_STANDARD: Final = "STANDARD"


def timestamp(microseconds: int) -> str:
    """A time in RFC 3339, milliseconds."""
    moment = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def etag(row: StoredObject | Bucket) -> str:
    """A tag that changes with content and metadata."""
    generation = row.generation if isinstance(row, StoredObject) else row.pk
    return base64.b64encode(f"{generation}/{metageneration(row)}".encode()).decode()


def hash_header(row: StoredObject) -> str:
    """The checksums as `X-Goog-Hash` has them."""
    crc32c = f"crc32c={_crc(row)}"
    return f"{crc32c},md5={base64.b64encode(row.md5).decode()}" if row.md5 else crc32c


def location_type(bucket: Bucket) -> str:
    """Whether a bucket's location is one region, two, or a continent."""
    if bucket.location in _MULTI_REGIONS:
        return "multi-region"
    return "region" if "-" in bucket.location else "dual-region"


def bucket_json(bucket: Bucket, base: str) -> dict[str, Any]:
    """A bucket resource.

    Args:
        bucket: The bucket.
        base: Scheme and host for links.
    """
    asked = bucket.extra.get("iamConfiguration")
    access = {
        "publicAccessPrevention": "inherited",
        **(asked if isinstance(asked, dict) else {}),
        "uniformBucketLevelAccess": {"enabled": True},  # there are no rights on single objects
    }
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "selfLink": f"{base}/storage/v1/b/{bucket.name}",
        "projectNumber": project_number(bucket.project) if bucket.project else "0",
        "name": bucket.name,
        "metageneration": str(bucket.revision),
        "location": bucket.location,
        "locationType": location_type(bucket),
        "storageClass": bucket.storage_class,
        "etag": etag(bucket),
        "timeCreated": timestamp(bucket.create_time),
        "updated": timestamp(bucket.update_time),
        **({"labels": bucket.labels} if bucket.labels else {}),
        **bucket.extra,
        "iamConfiguration": access,
    }


def object_json(row: StoredObject, base: str) -> dict[str, Any]:
    """An object resource.

    Args:
        row: The object.
        base: Scheme and host for links.
    """
    bucket, name = row.name.partition("/")[0], object_name(row)
    path = f"storage/v1/b/{bucket}/o/{quoted(name)}"
    created = timestamp(row.generation)  # which is the moment of the write
    shown: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{row.name}/{row.generation}",
        "selfLink": f"{base}/{path}",
        "mediaLink": f"{base}/download/{path}?generation={row.generation}&alt=media",
        "name": name,
        "bucket": bucket,
        "generation": str(row.generation),
        "metageneration": str(metageneration(row)),
        "contentType": row.content_type,
        "storageClass": _STANDARD,
        "size": str(row.size),
        "crc32c": _crc(row),
        "etag": etag(row),
        "timeCreated": created,
        "updated": timestamp(row.update_time),
        "timeStorageClassUpdated": created,
        "timeFinalized": created,
        **{key: row.extra[key] for key in WRITABLE if key in row.extra},
    }
    if row.md5:
        shown["md5Hash"] = base64.b64encode(row.md5).decode()
    if row.metadata:
        shown["metadata"] = row.metadata
    if "componentCount" in row.extra:
        shown["componentCount"] = row.extra["componentCount"]
    return shown


def _crc(row: StoredObject) -> str:
    return base64.b64encode(row.crc32c.to_bytes(4)).decode()
