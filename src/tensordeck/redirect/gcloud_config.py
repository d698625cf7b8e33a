"""What the user's own gcloud configuration says of project and region.

A child runs on a gcloud configuration of ours; with these two it still works in the project and
the region that the user has chosen. File format: `gcloud topic configurations`.
"""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["read"]


def read(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the active configuration's properties as `section/property`; empty where none."""
    folder = Path(environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud")
    name = environ.get("CLOUDSDK_ACTIVE_CONFIG_NAME")
    try:
        if not name:
            name = (folder / "active_config").read_text().strip()
        lines = (folder / "configurations" / f"config_{name}").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    # Four lines instead of configparser, whose import takes longer than all the rest.
    properties, section = {}, ""
    for line in map(str.strip, lines):
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            properties[f"{section}/{key.strip()}"] = value.strip()
    return properties
