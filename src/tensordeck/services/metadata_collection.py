"""What the collections of the metadata service share: the store that is simply there.

The official client expects a metadata store `default` in every project and region, and asks for
it before anything else. It exists as soon as somebody asks.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from tensordeck import names
from tensordeck.errors import AlreadyExists, NotFound
from tensordeck.filters import Filter
from tensordeck.names import ResourceName
from tensordeck.services import paging
from tensordeck.store import Store
from tensordeck.store.contract import Page
from tensordeck.store.resources import MetadataStore, Resource
from tensordeck.store.walk import walk_pages

R = TypeVar("R", bound=Resource)
T = TypeVar("T")

DEFAULT: Final = "default"


class MetadataCollection:
    """Calls on one collection of the metadata service.

    Args:
        store: Where everything rests.
    """

    def __init__(self, store: Store) -> None:
        self._catalog = store.catalog

    def _store_name(self, text: str, field: str = "parent") -> ResourceName:
        return names.parse(text, names.METADATA_STORE, field)

    def _ensure_store(self, store: ResourceName) -> None:
        """Makes the default store if it is missing."""
        if store.id == DEFAULT:
            with contextlib.suppress(AlreadyExists):
                self._catalog.create(MetadataStore(name=str(store)))

    def _in_store(self, store: ResourceName, work: Callable[[], T]) -> T:
        """Runs `work`; once more with the default store made if that was missing."""
        try:
            return work()
        except NotFound:
            if store.id != DEFAULT:
                raise
        if self._catalog.find(MetadataStore, str(store)) is None:
            self._ensure_store(store)
        return work()  # also if another caller was faster

    def _page(
        self,
        kind: type[R],
        store: ResourceName,
        tree: Filter | None,
        page_size: int,
        page_token: str = "",
        order_by: str = "",
    ) -> Page[R]:
        """One page of a store's resources; a default store that is not made yet is empty."""
        try:
            return self._catalog.list(
                kind,
                str(store),
                filter=tree,
                order_by=order_by,
                page_size=page_size,
                page_token=page_token,
            )
        except NotFound:
            if store.id == DEFAULT:
                return Page([], "")
            raise

    def _every(self, kind: type[R], store: ResourceName, tree: Filter | None = None) -> Iterator[R]:
        """All of a store's resources that match."""
        for page in walk_pages(
            lambda token: self._page(kind, store, tree, paging.METADATA.maximum, token)
        ):
            yield from page
