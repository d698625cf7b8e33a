"""Etags: what a client shows to say which state of a resource it has seen."""

from tensordeck.errors import Aborted
from tensordeck.store.resources import Resource


def etag(resource: Resource) -> str:
    """The etag of a record: changes with every change, and differs after re-creation."""
    return f"{resource.pk:x}-{resource.revision:x}"


def check_etag(resource: Resource, shown: str) -> None:
    """Lets a change pass if its etag is the present one, or if it has none.

    Raises:
        Aborted: If the resource has changed since.
    """
    if shown and shown != etag(resource):
        raise Aborted(
            f"{resource.name} has changed since it was read: its `etag` is {etag(resource)}, "
            f"the request's is {shown[:64]!r}. Read it again, then retry."
        )
