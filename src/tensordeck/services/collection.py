"""What the collections of the TensorBoard service share: the store, keys and blobs."""

from dataclasses import dataclass, field

from tensordeck.services.blob_objects import BlobObjects
from tensordeck.services.series_keys import SeriesKeys
from tensordeck.store import Store


@dataclass(frozen=True)
class Backing:
    """What stands behind the collections.

    Attributes:
        store: Catalog, points and blobs.
        keys: Keys of runs and series, remembered between writes.
        objects: Blobs of blob sequences.
    """

    store: Store
    keys: SeriesKeys = field(init=False)
    objects: BlobObjects = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", SeriesKeys(self.store.catalog))
        object.__setattr__(self, "objects", BlobObjects(self.store))


class Collection:
    """Calls on one collection of the API.

    Args:
        backing: What stands behind it; one for all collections of a service.
    """

    def __init__(self, backing: Backing) -> None:
        self._catalog = backing.store.catalog
        self._points = backing.store.points
        self._keys = backing.keys
        self._objects = backing.objects
