"""Names and changes that the catalog's tests share."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

PLACE = "projects/p/locations/us-central1"


def changed(**values: object) -> Callable[[Any], Any]:
    """A change for `Catalog.update` that sets fields."""
    return lambda record: replace(record, **values)
