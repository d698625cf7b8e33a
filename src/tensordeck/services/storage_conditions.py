"""Preconditions of Cloud Storage requests: generations that must, or must not, be there.

Semantics: https://cloud.google.com/storage/docs/request-preconditions.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from msgspec import Struct

from tensordeck.errors import FailedPrecondition, InvalidArgument, OutOfRange
from tensordeck.store.resources import Bucket, StoredObject

__all__ = [
    "UNCONDITIONAL",
    "ConditionNotMet",
    "Conditions",
    "NotModified",
    "RangeNotSatisfiable",
    "metageneration",
]


class ConditionNotMet(FailedPrecondition):
    """A precondition of the request does not hold; nothing was changed."""

    http_status: ClassVar[int] = 412


class NotModified(FailedPrecondition):
    """What the caller has already is still right."""

    http_status: ClassVar[int] = 304


class RangeNotSatisfiable(OutOfRange):
    """A byte range starts past the object's end.

    Attributes:
        size: The object's size in bytes, for `Content-Range`.
    """

    http_status: ClassVar[int] = 416

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


def metageneration(found: Bucket | StoredObject) -> int:
    """The number of the metadata's version; 1 for each new generation of an object.

    A row's `revision` counts on over overwrites, so an object keeps its own count.
    """
    if isinstance(found, Bucket):
        return found.revision
    return int(found.extra.get("metageneration", 1))


class Conditions(Struct, frozen=True, kw_only=True):
    """What must hold for a request to pass. None: not asked for.

    Attributes:
        generation_match: The generation that must be there; 0: there must be no object.
        generation_not_match: The generation that must not; 0: there must be an object.
        metageneration_match: The metadata's version that must be there.
        metageneration_not_match: The one that must not.
    """

    generation_match: int | None = None
    generation_not_match: int | None = None
    metageneration_match: int | None = None
    metageneration_not_match: int | None = None

    @classmethod
    def parse(cls, query: Mapping[str, Any], infix: str = "") -> Self:
        """Reads them from query parameters (`ifGenerationMatch`) or JSON of that form.

        Args:
            query: Where they are.
            infix: `Source` for a copy's source (`ifSourceGenerationMatch`).

        Raises:
            InvalidArgument: If one is not a whole number; the message names it.
        """

        def number(name: str) -> int | None:
            key = f"if{infix}{name}"
            value = query.get(key)
            if value is None or value == "":
                return None
            try:
                return int(value)
            except (TypeError, ValueError) as error:
                raise InvalidArgument(f"`{key}` must be a whole number.") from error

        return cls(
            generation_match=number("GenerationMatch"),
            generation_not_match=number("GenerationNotMatch"),
            metageneration_match=number("MetagenerationMatch"),
            metageneration_not_match=number("MetagenerationNotMatch"),
        )

    def to_json(self) -> dict[str, int]:
        """The form that `parse` reads, for an upload's row."""
        named = {
            "ifGenerationMatch": self.generation_match,
            "ifGenerationNotMatch": self.generation_not_match,
            "ifMetagenerationMatch": self.metageneration_match,
            "ifMetagenerationNotMatch": self.metageneration_not_match,
        }
        return {name: value for name, value in named.items() if value is not None}

    def check(self, found: Bucket | StoredObject | None, *, reading: bool = False) -> None:
        """Lets a request pass, or not.

        Args:
            found: What is there now.
            reading: Whether the request only reads: what matches a "not" is then not modified.

        Raises:
            ConditionNotMet: If one does not hold.
            NotModified: If the request reads and a "not" condition does not hold.
        """
        generation = found.generation if isinstance(found, StoredObject) else 0
        version = metageneration(found) if found is not None else None
        for wanted, present, name in (
            (self.generation_match, generation, "ifGenerationMatch"),
            (self.metageneration_match, version, "ifMetagenerationMatch"),
        ):
            if wanted is not None and wanted != present:
                raise ConditionNotMet(
                    f"`{name}` is {wanted}, but the {_noun(found)} has {present or 'none'}. "
                    "At least one of the pre-conditions you specified did not hold."
                )
        for unwanted, present, name in (
            (self.generation_not_match, generation, "ifGenerationNotMatch"),
            (self.metageneration_not_match, version, "ifMetagenerationNotMatch"),
        ):
            if unwanted is not None and unwanted == present:
                error = NotModified if reading else ConditionNotMet
                raise error(f"`{name}` is {unwanted}, and that is what the {_noun(found)} has.")


UNCONDITIONAL: Final = Conditions()


def _noun(found: Bucket | StoredObject | None) -> str:
    return "bucket" if isinstance(found, Bucket) else "object"
