"""Resource names: parse, format, validate.

A name is a path of collections and ids, `projects/p/locations/l/tensorboards/1/experiments/e`
(https://google.aip.dev/122). The server takes any project and any region: it answers for all.

Example:
    >>> name = ResourceName.parse("projects/p/locations/l/tensorboards/1/experiments/e")
    >>> name.kind, name.id, name.project, str(name.parent)
    ('experiments', 'e', 'p', 'projects/p/locations/l/tensorboards/1')
"""

import re
from functools import lru_cache
from typing import Final, Self

from msgspec import Struct

from tensordeck.errors import InvalidArgument

__all__ = ["BOARD_ID", "ResourceName", "board_id", "from_board_id", "parse", "validate_id"]

LOCATION: Final = ("projects", "locations")
TENSORBOARD: Final = (*LOCATION, "tensorboards")
EXPERIMENT: Final = (*TENSORBOARD, "experiments")
RUN: Final = (*EXPERIMENT, "runs")
TIME_SERIES: Final = (*RUN, "timeSeries")
METADATA_STORE: Final = (*LOCATION, "metadataStores")
CUSTOM_JOB: Final = (*LOCATION, "customJobs")
TRAINING_PIPELINE: Final = (*LOCATION, "trainingPipelines")
MODEL: Final = (*LOCATION, "models")

ROOT_RUN: Final = "default"
"""The run of event files that lie in a log directory itself, as the official uploader has it."""

_FORM: Final = "projects/{project}/locations/{location}/tensorboards/{tensorboard}"
_SEGMENT = re.compile(r"[^/\x00-\x1f\x7f]{1,256}")
_IDS: Final = {
    # The documentation says lower case; the official uploader sends upper case too.
    "run": re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,127}"),
    "time_series": re.compile(r"[a-z0-9][a-z0-9-]{0,127}"),
    "metadata": re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.~-]{0,127}"),
}
BOARD_ID: Final = re.compile(
    r"projects\+[^+/,]+\+locations\+[^+/,]+\+tensorboards\+[^+/,]+\+experiments\+[^+/,]+"
)


class ResourceName(Struct, frozen=True):
    """A parsed resource name.

    Attributes:
        collections: The collection ids in order, e.g. `("projects", "locations")`.
        ids: One id a collection, e.g. `("p", "us-central1")`.
    """

    collections: tuple[str, ...]
    ids: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, field: str = "name", form: str = _FORM) -> Self:
        """Splits a name.

        Args:
            text: The name.
            field: The request's field that it came in; errors name it.
            form: What it should look like; errors say so.

        Raises:
            InvalidArgument: If it is no sequence of collection/id pairs.
        """
        parts = text.split("/")
        if not text or len(parts) % 2 or not all(_SEGMENT.fullmatch(part) for part in parts):
            raise InvalidArgument(
                f"`{field}` is not a resource name: {shown(text)}. It looks like {form}."
            )
        return cls(tuple(parts[::2]), tuple(parts[1::2]))

    def __str__(self) -> str:
        return "/".join(f"{c}/{i}" for c, i in zip(self.collections, self.ids, strict=True))

    @property
    def kind(self) -> str:
        """The last collection, e.g. `runs`."""
        return self.collections[-1]

    @property
    def id(self) -> str:
        """The last id."""
        return self.ids[-1]

    @property
    def project(self) -> str:
        """The project's id or number."""
        return self.ids[0]

    @property
    def location(self) -> str:
        """The region; empty for a name without one."""
        return self.ids[1] if len(self.ids) > 1 else ""

    @property
    def parent(self) -> Self:
        """The name without its last pair."""
        return type(self)(self.collections[:-1], self.ids[:-1])

    def child(self, collection: str, child_id: str) -> Self:
        """The name of a resource below this one."""
        return type(self)((*self.collections, collection), (*self.ids, child_id))

    def up_to(self, kind: str) -> Self:
        """The ancestor (or self) whose last collection is `kind`.

        Raises:
            ValueError: If there is none.
        """
        end = self.collections.index(kind) + 1
        return type(self)(self.collections[:end], self.ids[:end])


_REMEMBERED: Final = 4096
"""Names that `parse` remembers, about 2 MB: those of runs that are written just now."""


@lru_cache(maxsize=_REMEMBERED)
def parse(text: str, pattern: tuple[str, ...], field: str = "name") -> ResourceName:
    """Parses a name and checks its collections.

    Args:
        text: The name.
        pattern: The collections it must have, e.g. `names.RUN`.
        field: The request's field, for the error.

    Raises:
        InvalidArgument: If the name has another form; the message shows the right one.
    """
    form = "/".join(f"{c}/{{{c.removesuffix('s')}}}" for c in pattern)
    name = ResourceName.parse(text, field, form)
    if name.collections != pattern:
        raise InvalidArgument(f"`{field}` must have the form {form}; it is {shown(text)}.")
    return ResourceName(pattern, name.ids)  # remembered: all share the pattern


def validate_id(value: str, rule: str, field: str) -> str:
    """Checks an id that a caller chose.

    Args:
        value: The id.
        rule: `run` (experiments and runs), `time_series`, or `metadata`.
        field: The request's field, for the error.

    Raises:
        InvalidArgument: If it does not match; the message holds the rule.
    """
    if not _IDS[rule].fullmatch(value):
        raise InvalidArgument(
            f"`{field}` must be 1 to 128 characters that match {_IDS[rule].pattern}; "
            f"it is {shown(value)}."
        )
    return value


def board_id(experiment: str) -> str:
    """The experiment's id in a board URL: the client prints `projects+p+locations+...`."""
    return experiment.replace("/", "+")


def from_board_id(text: str) -> str:
    """The resource name in a board URL.

    Raises:
        InvalidArgument: If the text is no experiment's id.
    """
    if not BOARD_ID.fullmatch(text):
        raise InvalidArgument(f"Not an experiment's address: {shown(text)}.")
    return text.replace("+", "/")


def shown(text: str, limit: int = 120) -> str:
    """A caller's text for an error message: quoted, printable, cut."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return f'"{cut.encode("unicode_escape").decode() if not cut.isprintable() else cut}"'
