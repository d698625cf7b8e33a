"""The rules that the API documents for the fields of its resources."""

import secrets
from collections.abc import Mapping
from typing import Final

from tensordeck.errors import InvalidArgument
from tensordeck.names import shown

DISPLAY_NAME_LIMIT: Final = 128
TAG_LIMIT: Final = 1024
"""Display names of time series are tags, which frameworks make of layer names: longer."""
PLUGIN_DATA_LIMIT: Final = 65 * 1024
METADATA_LIMIT: Final = 200 * 1024
BATCH_LIMIT: Final = 1000

_LABELS: Final = 64
_LABEL_LENGTH: Final = 64
_SYSTEM_LABEL: Final = "aiplatform.googleapis.com/"


def check_display_name(value: str, field: str, limit: int = DISPLAY_NAME_LIMIT) -> None:
    """Checks a display name.

    Raises:
        InvalidArgument: If it is empty or longer than the limit, in characters.
    """
    if not value:
        raise InvalidArgument(f"`{field}` is required and must not be empty.")
    if len(value) > limit:
        raise InvalidArgument(
            f"`{field}` must be at most {limit} characters long; it has {len(value)}."
        )


def check_labels(labels: Mapping[str, str], field: str, before: Mapping[str, str]) -> None:
    """Checks a resource's labels.

    Keys and values are at most 64 characters of lower-case letters (of any script), digits, `_`
    and `-`. Keys under `aiplatform.googleapis.com/` are the system's: they may be given when a
    resource is created, do not count, and stay as they are from then on.

    Args:
        labels: The labels to be.
        field: The request's field, for errors.
        before: The labels so far; empty for a new resource.

    Raises:
        InvalidArgument: If there are too many, one has a wrong form, or a system label changes.
    """
    if sum(not key.startswith(_SYSTEM_LABEL) for key in labels) > _LABELS:
        raise InvalidArgument(f"`{field}` may hold at most {_LABELS} labels; it has {len(labels)}.")
    for key, value in labels.items():
        name = key.removeprefix(_SYSTEM_LABEL)
        if not name or not _is_label(name) or not _is_label(value):
            raise InvalidArgument(
                f"`{field}`: the label {shown(key)} = {shown(value)} is not allowed. Keys and "
                f"values hold at most {_LABEL_LENGTH} lower-case letters, digits, `_` and `-`, "
                "and keys are not empty."
            )
    for key, value in before.items():
        if key.startswith(_SYSTEM_LABEL) and labels.get(key) != value:
            raise InvalidArgument(f"`{field}`: the system label {shown(key)} can't be changed.")


def check_plugin_data(data: bytes, field: str) -> None:
    """Checks the size of a time series' plugin data.

    Raises:
        InvalidArgument: If it is over 65 KB.
    """
    if len(data) > PLUGIN_DATA_LIMIT:
        raise InvalidArgument(
            f"`{field}` must be at most {PLUGIN_DATA_LIMIT} bytes; it has {len(data)}."
        )


def check_batch(size: int, field: str) -> None:
    """Checks the number of requests in a batch call.

    Raises:
        InvalidArgument: If there are none or more than 1000.
    """
    if not 1 <= size <= BATCH_LIMIT:
        raise InvalidArgument(f"`{field}` must hold 1 to {BATCH_LIMIT} items; it has {size}.")


def new_numeric_id() -> str:
    """Makes an id as the service does: 19 decimal digits, at most 2**63."""
    return str(10**18 + secrets.randbelow(8 * 10**18))


def _is_label(text: str) -> bool:
    return len(text) <= _LABEL_LENGTH and all(
        character in "_-" or (character.isalnum() and character == character.lower())
        for character in text
    )
