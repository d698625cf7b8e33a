"""What the machine types of Compute Engine have, as far as a job can tell: cores and memory.

A series gives so much memory for each core of a shape, so that a name says it all:
`n1-standard-4` has 4 cores and 15 GB. The odd ones are listed.
Source: https://cloud.google.com/compute/docs/machine-resource.
"""

import difflib
import re
from typing import Final

from tensordeck.errors import InvalidArgument
from tensordeck.names import shown

__all__ = ["machine"]

_GIB: Final = 1 << 30
_SHAPE: Final = re.compile(r"(?P<shape>[a-z0-9]+-[a-z]+)-(?P<cores>[1-9][0-9]{0,2})")

_GIB_PER_CORE: Final = {
    **{f"{series}-standard": 4.0 for series in ("e2", "n2", "n2d", "n4", "c2", "c2d", "c3", "c3d")},
    **{f"{series}-highmem": 8.0 for series in ("e2", "n2", "n2d", "n4", "c2d", "c3", "c3d")},
    **{f"{series}-highcpu": 1.0 for series in ("e2", "n2", "n2d")},
    **{f"{series}-highcpu": 2.0 for series in ("n4", "c2d", "c3", "c3d")},
    "n1-standard": 3.75,
    "n1-highmem": 6.5,
    "n1-highcpu": 0.9,
    "g2-standard": 4.0,
}

_LISTED: Final[dict[str, tuple[int, float]]] = {
    "a2-highgpu-1g": (12, 85),
    "a2-highgpu-2g": (24, 170),
    "a2-highgpu-4g": (48, 340),
    "a2-highgpu-8g": (96, 680),
    "a2-megagpu-16g": (96, 1360),
    "a2-ultragpu-1g": (12, 170),
    "a2-ultragpu-2g": (24, 340),
    "a2-ultragpu-4g": (48, 680),
    "a2-ultragpu-8g": (96, 1360),
    "a3-highgpu-1g": (26, 234),
    "a3-highgpu-2g": (52, 468),
    "a3-highgpu-4g": (104, 936),
    "a3-highgpu-8g": (208, 1872),
    "a3-megagpu-8g": (208, 1872),
    "a3-ultragpu-8g": (224, 2952),
    "a4-highgpu-8g": (224, 3968),
    "m1-megamem-96": (96, 1433.6),
    "m1-ultramem-40": (40, 961),
    "m1-ultramem-80": (80, 1922),
    "m1-ultramem-160": (160, 3844),
}


def machine(machine_type: str, field: str) -> tuple[float, int]:
    """Tells what a machine type has.

    Args:
        machine_type: E.g. `n1-standard-4`.
        field: The field that it came in; the error names it.

    Returns:
        Cores and bytes of memory.

    Raises:
        InvalidArgument: If there is no such type.
    """
    if listed := _LISTED.get(machine_type):
        return float(listed[0]), int(listed[1] * _GIB)
    match = _SHAPE.fullmatch(machine_type)
    per_core = _GIB_PER_CORE.get(match["shape"]) if match else None
    if match is None or per_core is None:
        near = difflib.get_close_matches(
            machine_type, [*_LISTED, *(f"{shape}-4" for shape in _GIB_PER_CORE)], n=3
        )
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise InvalidArgument(
            f"`{field}` names no machine type that is known here: {shown(machine_type)}. "
            f"It looks like n1-standard-4.{hint}"
        )
    cores = int(match["cores"])
    return float(cores), int(cores * per_core * _GIB)
