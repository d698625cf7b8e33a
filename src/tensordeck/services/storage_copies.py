"""Objects made of other objects: compositions and copies."""

import contextlib
from collections.abc import Sequence
from itertools import chain
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.services.storage_attributes import Attributes
from tensordeck.services.storage_conditions import UNCONDITIONAL, Conditions
from tensordeck.services.storage_content import store_content
from tensordeck.services.storage_objects import ObjectReader, Objects
from tensordeck.store import Store
from tensordeck.store.resources import StoredObject

__all__ = ["COMPOSE_LIMIT", "Source", "compose", "copy", "move"]

COMPOSE_LIMIT: Final = 32
"""Sources of one composition."""


class Source(Struct, frozen=True):
    """One source of a composition or copy.

    Attributes:
        name: The object.
        generation: The generation that it must have, if given.
        conditions: What else must hold.
    """

    name: str
    generation: int | None = None
    conditions: Conditions = UNCONDITIONAL


def compose(
    store: Store,
    bucket: str,
    name: str,
    sources: Sequence[Source],
    attributes: Attributes,
    conditions: Conditions = UNCONDITIONAL,
) -> StoredObject:
    """Makes an object of the bytes of others of its bucket, in order.

    Raises:
        InvalidArgument: If there are no sources, or more than `COMPOSE_LIMIT`.
        NotFound: If a source does not exist.
        ConditionNotMet: If a precondition does not hold.
    """
    if not 0 < len(sources) <= COMPOSE_LIMIT:
        raise InvalidArgument(
            f"`sourceObjects` must be 1 to {COMPOSE_LIMIT} objects; it is {len(sources)}."
        )
    objects = Objects(store)
    objects.check_target(bucket, name, conditions)
    # All are opened before the first byte is read: the target may be one of them.
    readers = [_open(objects, bucket, source) for source in sources]
    if not attributes.content_type:
        attributes = replace(attributes, content_type=readers[0].row.content_type)
    content = store_content(store, chain.from_iterable(reader.chunks for reader in readers))
    # A composed object has no MD5, as in the managed service: clients expect that.
    composed = replace(
        content, md5=b"", component_count=sum(_components(reader.row) for reader in readers)
    )
    return objects.place_new(bucket, name, composed, attributes, conditions)


def copy(
    store: Store,
    bucket: str,
    source: Source,
    to_bucket: str,
    to_name: str,
    attributes: Attributes | None = None,
    conditions: Conditions = UNCONDITIONAL,
) -> StoredObject:
    """Copies an object.

    Args:
        store: Where both are.
        bucket: The source's bucket.
        source: What to copy.
        to_bucket: The copy's bucket.
        to_name: The copy's name.
        attributes: The copy's metadata; None keeps the source's.
        conditions: What must hold at the target.

    Raises:
        NotFound: If the source or the target's bucket does not exist.
        ConditionNotMet: If a precondition does not hold.
    """
    objects = Objects(store)
    objects.check_target(to_bucket, to_name, conditions)
    reader = _open(objects, bucket, source)
    content = store_content(store, reader.chunks)
    if not reader.row.md5:
        content = replace(content, md5=b"", component_count=_components(reader.row))
    given = Attributes.of(reader.row) if attributes is None else attributes
    if not given.content_type:
        given = replace(given, content_type=reader.row.content_type)
    return objects.place_new(to_bucket, to_name, content, given, conditions)


def move(
    store: Store,
    bucket: str,
    source: Source,
    to_name: str,
    conditions: Conditions = UNCONDITIONAL,
) -> StoredObject:
    """Renames an object within its bucket. A kill in between leaves both names.

    Args:
        store: Where it is.
        bucket: The bucket.
        source: What to move.
        to_name: Its new name.
        conditions: What must hold at the new name.

    Raises:
        InvalidArgument: If the new name is the old one.
        NotFound: If the source does not exist.
        ConditionNotMet: If a precondition does not hold.
    """
    if source.name == to_name:
        raise InvalidArgument("The object has that name already.")
    objects = Objects(store)
    generation = objects.get(bucket, source.name, source.generation).generation
    moved = copy(
        store,
        bucket,
        replace(source, generation=generation),
        bucket,
        to_name,
        conditions=conditions,
    )
    # What was written to the old name meanwhile is another object, and stays.
    with contextlib.suppress(NotFound):
        objects.delete(bucket, source.name, generation=generation)
    return moved


def _open(objects: Objects, bucket: str, source: Source) -> ObjectReader:
    reader = objects.open(bucket, source.name, source.generation)
    source.conditions.check(reader.row)
    return reader


def _components(row: StoredObject) -> int:
    return int(row.extra.get("componentCount", 1))
