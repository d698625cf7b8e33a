"""Globs over object names: `*` and `?` within a folder, `**` across, `[a-z]`, `{one,two}`.

Grammar: https://cloud.google.com/storage/docs/json_api/v1/objects/list#list-objects-and-prefixes-using-glob.
Matching walks the name once with the set of places in the glob that it may have reached, so that
no glob can take more than the glob's length times the name's steps.
"""

import re
from typing import Final

from msgspec import Struct

from tensordeck.errors import InvalidArgument

__all__ = ["Glob"]

_ALTERNATIVES_LIMIT: Final = 100
_LENGTH_LIMIT: Final = 1024
_TOKEN: Final = re.compile(
    r"\\(?P<escaped>.)|(?P<stars>\*+)|(?P<any>\?)|\[(?P<not>[!^]?)(?P<set>\]?[^\]]*)\]|(?P<char>.)",
    re.DOTALL,
)


class _Step(Struct, frozen=True):
    """One place of a glob: `*` (and `**`, with `across`) repeat, the others take one character."""

    repeat: bool = False
    across: bool = False
    chars: frozenset[str] | None = None
    inverted: bool = False

    def takes(self, char: str) -> bool:
        if self.chars is None:
            return self.across or char != "/"
        return (char in self.chars) != self.inverted


class Glob:
    """A compiled glob.

    Args:
        text: The glob.

    Raises:
        InvalidArgument: If it is too long, or its braces don't close or are too many.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _LENGTH_LIMIT:
            raise InvalidArgument(f"`matchGlob` may have {_LENGTH_LIMIT} characters.")
        self._alternatives = [_steps(plain) for plain in _expand(text)]
        self.head: str = re.split(r"[*?\[{\\]", text, maxsplit=1)[0]
        """The literal start that every matching name has."""

    def matches(self, name: str) -> bool:
        """Whether the whole name matches."""
        return any(_matches(steps, name) for steps in self._alternatives)


def _matches(steps: list[_Step], name: str) -> bool:
    places = _past_repeats(steps, {0})
    for char in name:
        reached = set()
        for place in places:
            if place < len(steps) and steps[place].takes(char):
                reached.add(place if steps[place].repeat else place + 1)
        places = _past_repeats(steps, reached)
        if not places:
            return False
    return len(steps) in places


def _past_repeats(steps: list[_Step], places: set[int]) -> set[int]:
    """Adds the places behind repeats, which may take nothing."""
    found = set(places)
    for place in places:
        here = place
        while here < len(steps) and steps[here].repeat:
            here += 1
            found.add(here)
    return found


def _steps(glob: str) -> list[_Step]:
    steps = []
    for token in _TOKEN.finditer(glob):
        if token["stars"]:
            steps.append(_Step(repeat=True, across=len(token["stars"]) > 1))
        elif token["any"]:
            steps.append(_Step())
        elif token["set"] is not None:
            steps.append(_Step(chars=_members(token["set"]), inverted=bool(token["not"])))
        else:
            steps.append(_Step(chars=frozenset(token["escaped"] or token["char"])))
    return steps


def _members(text: str) -> frozenset[str]:
    members: set[str] = set()
    for first, last in re.findall(r"(.)(?:-(.))?", text, re.DOTALL):
        end = min(ord(last or first), ord(first) + 0xFFF)
        members.update(map(chr, range(ord(first), end + 1)))
    return frozenset(members)


def _expand(text: str) -> list[str]:
    """Writes `a{b,c}` out as `ab` and `ac`; braces do not nest in this grammar."""
    done = [""]
    for literal, group, rest in re.findall(r"((?:[^{\\]|\\.)+)|\{([^{}]*)\}|(.)", text, re.DOTALL):
        if rest:
            raise InvalidArgument("`matchGlob` has a brace or backslash that nothing closes.")
        choices = [literal] if literal else group.split(",")
        done = [before + choice for before in done for choice in choices]
        if len(done) > _ALTERNATIVES_LIMIT:
            raise InvalidArgument("`matchGlob` has too many alternatives in braces.")
    return done
