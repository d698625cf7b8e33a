"""Lists of objects: prefix, delimiter, offsets, glob, pages.

A delimiter groups names into folders. A folder may hold millions of objects, so that the listing
reads at most one page of it and then seeks to the first name after it.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

from tensordeck.errors import InvalidArgument
from tensordeck.services.storage_glob import Glob
from tensordeck.services.storage_names import object_name
from tensordeck.store import Store
from tensordeck.store.resources import StoredObject

__all__ = ["ObjectPage", "ObjectQuery", "list_objects", "walk"]

_ROWS: Final = 1000
"""Rows read at once."""


class ObjectQuery(Struct, frozen=True, kw_only=True):
    """What to list.

    Attributes:
        prefix: Only names that start with this.
        delimiter: Names that hold it after the prefix are given as one common prefix.
        start: Only names not before this one.
        end: Only names before this one; empty: no end.
        include_trailing_delimiter: Whether an object whose name ends with the common prefix's
            delimiter is listed as an object too.
        match_glob: Only names that match this; empty: all.
        page_size: At most this many objects and prefixes together.
        page_token: From the last page.
    """

    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    end: str = ""
    include_trailing_delimiter: bool = False
    match_glob: str = ""
    page_size: int = 1000
    page_token: str = ""


class ObjectPage(Struct, frozen=True):
    """One page of a list, in order of name.

    Attributes:
        items: The objects.
        prefixes: The common prefixes.
        next_token: Opaque; empty on the last page.
    """

    items: list[StoredObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next_token: str = ""


def list_objects(store: Store, bucket: str, query: ObjectQuery) -> ObjectPage:
    """Lists a page of a bucket's objects.

    Raises:
        NotFound: If there is no such bucket.
        InvalidArgument: If the page token is not ours or the glob can't be read.
    """
    page = ObjectPage()
    for name, row in _entries(store, bucket, query):
        if len(page.items) + len(page.prefixes) >= query.page_size:
            return ObjectPage(page.items, page.prefixes, _write_token(name))
        folder = _folder(name, query)
        if folder is None or (query.include_trailing_delimiter and name == folder):
            page.items.append(row)
        if folder is not None:
            page.prefixes.append(folder)
    return page


def walk(store: Store, bucket: str, prefix: str = "") -> Iterator[StoredObject]:
    """Yields a bucket's objects in order of name, those that start with a prefix.

    Raises:
        NotFound: If there is no such bucket.
    """
    for _, row in _entries(store, bucket, ObjectQuery(prefix=prefix)):
        yield row


def _entries(store: Store, bucket: str, query: ObjectQuery) -> Iterator[tuple[str, StoredObject]]:
    """Yields the objects asked for, of each folder only the first."""
    start = max(query.start, _read_token(query.page_token))
    glob = Glob(query.match_glob) if query.match_glob else None
    rows_at_once = min(query.page_size + 1, _ROWS) if glob is None else _ROWS
    folder: str | None = None
    while True:
        rows = store.catalog.list(
            StoredObject,
            bucket,
            name_prefix=query.prefix,
            start_at=start,
            page_size=rows_at_once + 1,
        ).items
        for row in rows[:rows_at_once]:
            name = object_name(row)
            if query.end and name >= query.end:
                return
            if folder is not None and name.startswith(folder):
                continue
            if glob is not None and not glob.matches(name):
                continue
            folder = _folder(name, query)
            yield name, row
        if len(rows) <= rows_at_once:
            return
        start = object_name(rows[rows_at_once])
        if folder is not None and start.startswith(folder):
            after = _successor(folder)
            if after is None:
                return
            start = after


def _folder(name: str, query: ObjectQuery) -> str | None:
    """The common prefix that a name falls under, if any."""
    if not query.delimiter:
        return None
    end = name.find(query.delimiter, len(query.prefix))
    return None if end < 0 else name[: end + len(query.delimiter)]


def _successor(prefix: str) -> str | None:
    """The first text, by code points, after all that start with a prefix; None if there is none."""
    for end in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[end])
        if point < 0x10FFFF:
            following = 0xE000 if point == 0xD7FF else point + 1  # UTF-8 has no surrogates
            return prefix[:end] + chr(following)
    return None


def _write_token(name: str) -> str:
    """A page token: the name that the next page starts with."""
    return base64.urlsafe_b64encode(name.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("`pageToken` is not one that we gave out.") from error
