"""Bearer tokens for calls to a server, from a credentials file.

Two kinds of file, both in Google's own JSON form: `authorized_user` (what the server writes for
its owner: a refresh token) and `service_account` (a private key). Both are exchanged at the
server's token endpoint for a short-lived token; RFC 6749 section 6 and RFC 7523.
"""

import http.client
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

from tensordeck.errors import InvalidArgument, Unauthenticated, Unavailable

__all__ = ["BearerToken"]

_EARLY: Final = 60.0
_TIMEOUT: Final = 20.0
_KINDS: Final = {
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "service_account": ("client_email", "private_key", "private_key_id"),
}


class BearerToken:
    """A token that is fetched when needed and renewed before it expires. Thread-safe."""

    def __init__(self, credentials: Path, endpoint: str, verify: ssl.SSLContext) -> None:
        """Reads the credentials.

        Args:
            credentials: The file.
            endpoint: URL of the token endpoint.
            verify: How to check the server's certificate.

        Raises:
            InvalidArgument: If the file is missing or of no known kind.
        """
        self._fields = _read(credentials)
        self._endpoint = endpoint
        # Not through a proxy: `tensordeck exec` makes the server itself every program's proxy.
        self._http = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=verify)
        )
        self._lock = threading.Lock()
        self._token = ""
        self._expires = 0.0

    def header(self) -> str:
        """The `Authorization` header's value.

        Raises:
            Unauthenticated: If the server refuses the credentials.
            Unavailable: If it does not answer.
        """
        with self._lock:
            if time.monotonic() > self._expires - _EARLY:
                self._renew()
            return f"Bearer {self._token}"

    def forget(self) -> None:
        """Drops the token: the server no longer takes it."""
        with self._lock:
            self._expires = 0.0

    def _renew(self) -> None:
        form = urllib.parse.urlencode(self._grant()).encode()
        try:
            with self._http.open(self._endpoint, form, timeout=_TIMEOUT) as reply:
                body: dict[str, Any] = json.load(reply)
            self._token = body["access_token"]
            self._expires = time.monotonic() + float(body.get("expires_in", 3600))
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise Unavailable(f"{self._endpoint} answers {error.code}.") from error
            raise Unauthenticated(
                f"{self._endpoint} refuses these credentials (HTTP {error.code}). "
                "Use the file of this very server: DATA_DIR/credentials/owner.json."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise Unavailable(f"No answer from {self._endpoint}: {reason}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Unauthenticated(f"{self._endpoint} is not a token endpoint: {error!r}") from error

    def _grant(self) -> dict[str, str]:
        fields = self._fields
        if fields["type"] == "authorized_user":
            return {
                "grant_type": "refresh_token",
                "client_id": fields["client_id"],
                "client_secret": fields["client_secret"],
                "refresh_token": fields["refresh_token"],
            }
        # Only a key file needs the cryptography library.
        import jwt  # noqa: PLC0415 -- as said

        now = int(time.time())
        claims = {
            "iss": fields["client_email"],
            "sub": fields["client_email"],
            "aud": "https://oauth2.googleapis.com/token",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "iat": now,
            "exp": now + 3600,
        }
        assertion = jwt.encode(
            claims, fields["private_key"], "RS256", headers={"kid": fields["private_key_id"]}
        )
        return {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": assertion,
        }


def _read(path: Path) -> dict[str, str]:
    """Reads and checks a credentials file."""
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"The credentials file {path} can't be read: {error}") from error
    kind = fields.get("type") if isinstance(fields, dict) else None
    missing = [name for name in _KINDS.get(str(kind), ("type",)) if name not in fields]
    if missing:
        raise InvalidArgument(
            f"The credentials file {path} lacks {', '.join(missing)}: it must be an "
            "`authorized_user` or a `service_account` file."
        )
    return dict(fields)
