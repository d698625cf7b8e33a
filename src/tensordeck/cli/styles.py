"""Text for a terminal: colours where it has some, and nothing in it that could command it."""

import os
import re
import sys
from typing import Final

__all__ = ["BOLD", "FAINT", "RED", "YELLOW", "printable", "styled"]

BOLD, FAINT, RED, YELLOW = "1", "2", "31", "33"
"""Parameters of Select Graphic Rendition (ECMA-48)."""

_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def styled(style: str, text: str) -> str:
    """A text in a style, where standard output is a terminal that can."""
    plain = not style or not sys.stdout.isatty() or os.environ.get("NO_COLOR")
    return text if plain else f"\x1b[{style}m{text}\x1b[0m"


def printable(text: str) -> str:
    """A text of one line that somebody else chose, without control characters but tabs."""
    return _CONTROL.sub(" ", text)
