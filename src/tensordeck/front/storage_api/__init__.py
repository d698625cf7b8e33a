"""Cloud Storage's JSON and XML APIs over our own buckets, so that `gs://` means this server."""

from tensordeck.front.storage_api.addresses import is_storage_request
from tensordeck.front.storage_api.app import storage_app

__all__ = ["is_storage_request", "storage_app"]
