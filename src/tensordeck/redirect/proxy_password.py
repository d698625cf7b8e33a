"""The secret that a remote server's gateway asks of whoever tunnels through it."""

import json
import time
from pathlib import Path
from urllib.parse import quote

from tensordeck.errors import InvalidArgument

__all__ = ["proxy_password"]


def proxy_password(credentials: Path) -> str:
    """Returns the password for the proxy's address, quoted for a URL.

    That is the owner's refresh token or, from a service account's key, a JWT good for an hour.

    Raises:
        InvalidArgument: If the file holds neither.
    """
    try:
        fields = json.loads(credentials.read_text())
        if fields["type"] == "authorized_user":
            return quote(fields["refresh_token"], safe="")
        if fields["type"] == "service_account":
            return _self_signed(fields)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidArgument(
            f"The credentials file {credentials} can't be read: {error}"
        ) from error
    raise InvalidArgument(
        f"The credentials file {credentials} must be an `authorized_user` or a `service_account` "
        f"file, not {fields['type']!r}."
    )


def _self_signed(key: dict[str, str]) -> str:
    """A JWT as google-auth signs it for Vertex AI (https://google.aip.dev/auth/4111)."""
    import jwt  # noqa: PLC0415 -- 100 ms to import; only service accounts need it

    now = int(time.time())
    claims = {
        "iss": key["client_email"],
        "sub": key["client_email"],
        "aud": "https://aiplatform.googleapis.com/",
        "iat": now,
        "exp": now + 3600,
    }
    return jwt.encode(claims, key["private_key"], "RS256", {"kid": key["private_key_id"]})
