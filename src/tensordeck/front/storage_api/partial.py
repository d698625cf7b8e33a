"""Partial replies: `fields=items(name,size),nextPageToken` and `fields=a/b`.

Grammar: https://cloud.google.com/storage/docs/json_api#partial-response.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tensordeck.errors import InvalidArgument

__all__ = ["Selection"]

_TOKEN: Final = re.compile(r"\s*([A-Za-z0-9_.-]+|\*|[(),/])")
_DEPTH_LIMIT: Final = 20

Tree = dict[str, "Tree"]
"""Names to keep; below each what to keep of it, all where that is empty."""


class Selection:
    """What a caller wants of a reply.

    Args:
        text: The `fields` parameter.

    Raises:
        InvalidArgument: If it can't be read.
    """

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0
        self._tree = self._names(0)
        if self._place != len(self._tokens):
            raise _unreadable(text)

    def of(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a reply that was asked for; unknown names are left out."""
        kept = _keep(self._tree, body)
        return kept if isinstance(kept, dict) else {}

    def _names(self, depth: int) -> Tree:
        if depth > _DEPTH_LIMIT:
            raise InvalidArgument("`fields` is nested too deep.")
        tree: Tree = {}
        while True:
            branch = tree
            while True:
                name = self._next("a name")
                if name in "(),/":
                    raise _unreadable(name)
                branch = branch.setdefault(name, {})
                if self._peek() != "/":
                    break
                self._place += 1
            if self._peek() == "(":
                self._place += 1
                branch.update(self._names(depth + 1))
                if self._next(")") != ")":
                    raise _unreadable("(")
            if self._peek() != ",":
                return tree
            self._place += 1

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _next(self, wanted: str) -> str:
        token = self._peek()
        if not token:
            raise InvalidArgument(f"`fields` ends where {wanted} was expected.")
        self._place += 1
        return token


def _keep(tree: Tree, value: Any) -> Any:
    if not tree or ("*" in tree and not tree["*"]):
        return value
    if isinstance(value, list):
        return [_keep(tree, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    everything = tree.get("*")
    return {
        key: _keep(tree.get(key, everything or {}), item)
        for key, item in value.items()
        if key in tree or everything is not None
    }


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text.rstrip()):
        found = _TOKEN.match(text, place)
        if found is None:
            raise _unreadable(text[place:])
        yield found[1]
        place = found.end()


def _unreadable(text: str) -> InvalidArgument:
    return InvalidArgument(f"`fields` can't be read at {text[:60]!r}: write items(name,size).")
