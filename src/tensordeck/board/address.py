"""What a board's address says: which experiments it shows, and under which names.

    /experiment/projects+P+locations+L+tensorboards+T+experiments+E/      one experiment
    /compare/ALIAS:ID,ALIAS:ID/                                           several of them

The web app splits these itself, so that `,`, `:` and `+` must stand in the address unescaped. The
official client and its users write other forms (slashes, an instance's name, Vertex' own compare
links); `forwarded` leads from those to the right page.
"""

import re
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from tensordeck.errors import InvalidArgument
from tensordeck.names import (
    EXPERIMENT,
    RUN,
    TENSORBOARD,
    ResourceName,
    board_id,
    from_board_id,
    shown,
)

__all__ = ["BoardAddress", "Member", "forwarded", "parse_address", "path_of"]

MOST_EXPERIMENTS: Final = 50
"""Of one compare board: more can't be told apart by colour or name anyway."""

_ALIAS: Final = re.compile(r"[A-Za-z0-9+._~-]{1,128}")
_VERTEX_ID: Final = re.compile(r"([^+/,]+)\+([^+/,]+)\+([^+/,]+)\+([^+/,]+)")


class Member(Struct, frozen=True):
    """One experiment of a board.

    Attributes:
        experiment: Its full resource name.
        alias: The visitor's word for it; empty on a board of one experiment.
    """

    experiment: str
    alias: str = ""

    @property
    def tensorboard(self) -> str:
        """The instance's full resource name: what rights are given on."""
        return self.experiment.partition("/experiments/")[0]


class BoardAddress(Struct, frozen=True):
    """The experiments of a board, in the address' order.

    Attributes:
        members: At least one; each experiment once.
        text: The address' own text for them, canonical.
    """

    members: tuple[Member, ...]
    text: str

    @property
    def compares(self) -> bool:
        """Whether this is a compare board."""
        return bool(self.members[0].alias)

    def prefix(self, position: int) -> str:
        """What stands before the run names of a member: the web app takes them apart again."""
        return f"[{position + 1}] {self.members[position].alias}/" if self.compares else ""


def parse_address(kind: str, text: str) -> BoardAddress:
    """Reads the part of an address that names experiments.

    Args:
        kind: `experiment` or `compare`.
        text: The part, unescaped.

    Raises:
        InvalidArgument: If it names none, too many, or one of them twice.
    """
    if kind == "experiment":
        return BoardAddress((Member(from_board_id(text)),), text)
    parts = text.split(",")
    if len(parts) > MOST_EXPERIMENTS:
        raise InvalidArgument(
            f"A board compares at most {MOST_EXPERIMENTS} experiments; this address names "
            f"{len(parts)}."
        )
    members = []
    for part in parts:
        alias, colon, experiment = part.partition(":")
        if not colon or not _ALIAS.fullmatch(alias):
            raise InvalidArgument(
                f"Not an experiment to compare: {shown(part)}. Write NAME:ID, where NAME is made "
                "of letters, digits and + . _ ~ - and ID is what stands after /experiment/."
            )
        members.append(Member(from_board_id(experiment), alias))
    if len({member.experiment for member in members}) < len(members):
        raise InvalidArgument("This address names an experiment twice.")
    return BoardAddress(tuple(members), text)


def path_of(kind: str, text: str) -> str:
    """The path of a board, ending in `/`."""
    return f"/{kind}/{quote(text, safe='+:,@~')}/"


def forwarded(kind: str, text: str) -> str | None:
    """Where an address that people or the official client write leads on our server.

    Args:
        kind: `experiment` or `compare`.
        text: All that follows, unescaped, without slashes at its ends.

    Returns:
        A path, with a query where it takes one; None if the address stands for itself.
    """
    if kind == "compare":
        return _from_vertex_compare(text)
    slashes = text.replace("+", "/") if "/" not in text else text
    try:
        name = ResourceName.parse(slashes)
    except InvalidArgument:
        return None
    if name.collections == TENSORBOARD:
        return "/" + quote(str(name), safe="/@:")
    if name.collections == EXPERIMENT and "/" in text:
        return path_of("experiment", board_id(str(name)))
    if name.collections == RUN:
        run_filter = quote("^" + re.escape(name.id) + "$", safe="")
        return f"{path_of('experiment', board_id(str(name.parent)))}?runFilter={run_filter}"
    return None


def _from_vertex_compare(text: str) -> str | None:
    """`1-E:P+R+T+E,2-…`, as Vertex' own pages and the client write it."""
    parts = []
    for part in text.split(","):
        alias, _, rest = part.partition(":")
        match = _VERTEX_ID.fullmatch(rest)
        if not match:
            return None
        project, location, tensorboard, experiment = match.groups()
        alias = re.sub(r"[^A-Za-z0-9+._~-]", "-", alias) or experiment
        parts.append(
            f"{alias}:projects+{project}+locations+{location}"
            f"+tensorboards+{tensorboard}+experiments+{experiment}"
        )
    return path_of("compare", ",".join(parts))
