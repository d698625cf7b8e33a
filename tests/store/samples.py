"""Names and changes that the catalog's tests share."""

import dataclasses
from collections.abc import Callable
from typing import Any

PLACE = "projects/p/locations/us-central1"


def changed(**values: object) -> Callable[[Any], Any]:
    """A change for `Catalog.update` that sets fields."""
    return lambda record: dataclasses.replace(record, **values)
