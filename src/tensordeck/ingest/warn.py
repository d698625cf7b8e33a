"""Where a reader says what it skipped: our own log, or whoever asked for the reading."""

import logging
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Warn", "warn_in_log"]

log = logging.getLogger("tensordeck.ingest")

Warn: TypeAlias = Callable[[str], None]
"""Takes one sentence; called from any thread."""


def warn_in_log(text: str) -> None:
    """Says it in our own log."""
    log.warning("%s", text)
