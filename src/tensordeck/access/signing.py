"""Tokens that we sign ourselves: opaque to their holder, readable by every server on one store.

A token is `PREFIX.PAYLOAD.SIGNATURE`: the payload names the credential it was issued for and when
it ends; the signature is HMAC-SHA256 under a key that is derived from the store's secret for that
one purpose, so that a sign-in link can't be used as an access token.
"""

import base64
import binascii
import hashlib
import hmac
from enum import Enum

from msgspec import Struct

from tensordeck.errors import Unauthenticated


class Purpose(Enum):
    """What a token is good for; the value is its prefix."""

    ACCESS = "td-access"
    SIGN_IN = "td-sign-in"
    SESSION = "td-session"


class SignedToken(Struct, frozen=True):
    """What a genuine token says.

    Attributes:
        credential: The id of the credential it was issued for.
        expires: When it ends, seconds since the epoch.
    """

    credential: str
    expires: int


class TokenSigner:
    """Signs and reads tokens.

    Args:
        secret: The store's signing secret.
    """

    def __init__(self, secret: bytes) -> None:
        self._keys = {
            purpose: hmac.digest(secret, purpose.value.encode(), "sha256") for purpose in Purpose
        }

    def sign(self, purpose: Purpose, credential: str, expires: int) -> str:
        """Makes a token for a credential that ends at `expires`, seconds since the epoch."""
        payload = _encode(f"{expires}:{credential}".encode())
        return f"{purpose.value}.{payload}.{self._signature(purpose, payload)}"

    def read(self, purpose: Purpose, token: str) -> SignedToken:
        """Returns what a token says; whether it has ended is for the caller to compare.

        Raises:
            Unauthenticated: If we did not sign it for this purpose.
        """
        prefix, _, rest = token.partition(".")
        payload, _, signature = rest.partition(".")
        expected = self._signature(purpose, payload)
        if prefix != purpose.value or not hmac.compare_digest(
            expected.encode(), signature.encode("utf-8", "surrogateescape")
        ):
            raise Unauthenticated("The token was not issued by this server, or was altered.")
        try:
            expires, _, credential = _decode(payload).decode().partition(":")
            return SignedToken(credential, int(expires))
        except (ValueError, binascii.Error) as error:
            raise Unauthenticated("The token was issued by another version; get a new one.") from (
                error
            )

    def _signature(self, purpose: Purpose, payload: str) -> str:
        key = self._keys[purpose]
        return _encode(hmac.digest(key, payload.encode("utf-8", "surrogateescape"), "sha256"))


def fingerprint(secret: str) -> str:
    """SHA-256 of a random secret, hexadecimal: what the store keeps in its place."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
