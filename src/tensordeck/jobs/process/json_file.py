"""JSON files that are whole or not there, and that nobody else may read."""

import json
from pathlib import Path
from typing import Any

from tensordeck.whole_file import write_whole


def write_json(path: Path, document: Any) -> None:
    """Replaces a file; readers see the old one or the new one."""
    write_whole(path, json.dumps(document).encode())


def read_json(path: Path) -> Any:
    """Reads a file; None if it is not there, or was cut when the host lost power."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


__all__ = ["read_json", "write_json"]
