"""JSON documents in columns: labels, metadata.

JSON has no NaN and no infinities, which metrics do have. Such a number is kept as an object with
one reserved key, `{"$number": "nan"}`; an object of the caller's own that looks like one is wrapped
once more, so that everything comes back as it went in.
"""

import json
import math
from typing import Any, Final

__all__ = ["dumps", "loads"]

KEY: Final = "$number"
ESCAPE: Final = "$object"

_SEPARATORS: Final = (",", ":")
_plain: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=_SEPARATORS).encode
_any: Final = json.JSONEncoder(ensure_ascii=False, separators=_SEPARATORS).encode


def dumps(value: Any) -> str:
    """Writes a document as JSON text; characters beyond ASCII stay as they are.

    Raises:
        TypeError: If it holds what JSON has no form for.
    """
    try:
        text = _plain(value)
    except ValueError:
        text = ""
    if not text or KEY in text or ESCAPE in text:
        text = _any(_marked(value))
    return text


def loads(text: str | bytes) -> Any:
    """Reads what `dumps` wrote; psycopg hands bytes over."""
    if isinstance(text, bytes):
        text = text.decode()
    value = json.loads(text)
    return _unmarked(value) if KEY in text or ESCAPE in text else value


def _marked(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {KEY: repr(value)}
    if isinstance(value, dict):
        marked = {key: _marked(item) for key, item in value.items()}
        return {ESCAPE: marked} if len(marked) == 1 and marked.keys() & {KEY, ESCAPE} else marked
    if isinstance(value, list | tuple):
        return [_marked(item) for item in value]
    return value


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {KEY}:
        return float(value[KEY])
    pairs = value[ESCAPE] if value.keys() == {ESCAPE} else value
    return {key: _unmarked(item) for key, item in pairs.items()}
