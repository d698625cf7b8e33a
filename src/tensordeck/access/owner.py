"""The owner's credential file, which `tensordeck env` and `exec` hand to scripts.

An `authorized_user` file as google-auth reads it: a refresh token that our token endpoint trades
for access tokens.
"""

import json
import secrets
from pathlib import Path
from typing import Final

from tensordeck.errors import FailedPrecondition
from tensordeck.whole_file import write_whole

OWNER: Final = "owner@tensordeck.local"
"""The principal of whoever owns the data directory."""

_PREFIX: Final = "td-refresh"


def new_refresh_token(credential_id: str) -> str:
    """A random refresh token that names its credential."""
    return f"{_PREFIX}.{credential_id}.{secrets.token_urlsafe(32)}"


def credential_id_of(refresh_token: str) -> str:
    """The credential that a refresh token names; empty if it is not one of ours."""
    prefix, _, rest = refresh_token.partition(".")
    credential_id, _, secret = rest.partition(".")
    return credential_id if prefix == _PREFIX and secret else ""


def read_refresh_token(path: Path) -> str:
    """The refresh token in an owner file; empty if the file is missing or of no use.

    Raises:
        FailedPrecondition: If the file can't be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FailedPrecondition(f"{path} can't be read: {error.strerror}.") from error
    except ValueError:
        return ""
    token = content.get("refresh_token") if isinstance(content, dict) else None
    return token if isinstance(token, str) else ""


def write_owner_file(path: Path, refresh_token: str) -> None:
    """Writes an owner file, whole or not at all, that only its owner can read.

    Raises:
        FailedPrecondition: If it can't be written.
    """
    content = {
        "type": "authorized_user",
        "client_id": "tensordeck.apps.googleusercontent.com",
        "client_secret": "tensordeck",
        "refresh_token": refresh_token,
        "account": OWNER,
        "universe_domain": "googleapis.com",
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, f"{json.dumps(content, indent=2)}\n".encode(), durable=True)
    except OSError as error:
        raise FailedPrecondition(
            f"The owner's credential can't be written to {path}: {error.strerror}. "
            "Make the folder writable or choose another with --data-dir."
        ) from error
