"""Whole lists of the catalog, a page at a time: memory stays that of one page."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from tensordeck.store.contract import Catalog, Page
from tensordeck.store.resources import Resource

R = TypeVar("R", bound=Resource)

_PAGE: Final = 1000


def walk(catalog: Catalog, kind: type[R], parent: str, page_size: int = _PAGE) -> Iterator[R]:
    """Yields all children of a resource, in order of creation. Arguments are those of `list`.

    Raises:
        NotFound: If the parent does not exist.
    """
    for page in walk_pages(
        lambda token: catalog.list(kind, parent, page_size=page_size, page_token=token)
    ):
        yield from page


def walk_pages(page_of: Callable[[str], Page[R]]) -> Iterator[list[R]]:
    """Follows page tokens from the first page to the last, and yields what each page holds."""
    token = ""
    while True:
        page = page_of(token)
        yield page.items
        token = page.next_token
        if not token:
            return
