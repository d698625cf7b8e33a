"""Service accounts: their key files, and the JWTs that clients sign with them.

The key file's format is the one that google-auth reads. Google's clients send JWTs they signed
themselves as bearers (https://google.aip.dev/auth/4111), and trade others for access tokens
(RFC 7523) at the token endpoint.
"""

import re
import secrets
import threading
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

from tensordeck.errors import InvalidArgument, Unauthenticated
from tensordeck.store.resources import Credential

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 -- an address
"""Where clients trade assertions; google-auth puts it into every assertion as `aud`."""

LEEWAY_SECONDS: Final = 60
"""How far a client's clock may be off."""

LONGEST_SECONDS: Final = 3600
"""The longest life that Google lets a self-signed JWT have."""

_EMAIL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})")
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9.:-]{0,62}")


def full_email(email: str, project: str) -> str:
    """Completes a bare account name to an address as Google writes it.

    Raises:
        InvalidArgument: If it can't be an account's address.
    """
    if not _PROJECT.fullmatch(project):
        raise InvalidArgument(
            f"project: {project!r} is not a project id (lower-case letters, digits, hyphens)."
        )
    if "@" not in email and _NAME.fullmatch(email):
        return f"{email}@{project}.iam.gserviceaccount.com"
    if not _EMAIL.fullmatch(email):
        raise InvalidArgument(
            f"email: {email!r} is neither an e-mail address nor a service account's name "
            "(lower-case letters, digits, hyphens)."
        )
    return email


def new_key(email: str, project: str) -> tuple[dict[str, str], Credential]:
    """Makes a key: the file's content for the holder, and the record for us.

    Only the file has the private key; it can't be made again.
    """
    # cryptography takes 100 ms to import, which a server that only checks tokens need not pay.
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key_id = secrets.token_hex(20)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    quoted = urllib.parse.quote(email)
    file = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": key_id,
        "private_key": private.decode(),
        "client_email": email,
        "client_id": str(secrets.randbelow(9 * 10**20) + 10**20),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": TOKEN_URI,
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{quoted}",
        "universe_domain": "googleapis.com",
    }
    record = Credential(
        name=key_id,
        credential_kind="service_account_key",
        principal=email,
        public_key=public.decode(),
    )
    return file, record


class SelfSignedJwts:
    """Verifies RS256 JWTs against credentials' public keys. Thread-safe.

    Args:
        server_names: Host names of ours that a JWT's audience may be, besides Google's.
    """

    def __init__(self, server_names: frozenset[str]) -> None:
        self._server_names = server_names
        self._keys: dict[str, RSAPublicKey] = {}
        self._lock = threading.Lock()

    def key_id(self, token: str) -> str:
        """The `kid` of a JWT's header, which is not verified yet.

        Raises:
            Unauthenticated: If it is no RS256 JWT or names no key.
        """
        import jwt  # noqa: PLC0415 -- 100 ms to import; only service accounts need it

        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"The bearer token is not a JWT: {error}.") from error
        if header.get("alg") != "RS256":
            raise Unauthenticated(
                f"The JWT is signed with {header.get('alg')!r}; only RS256 is accepted."
            )
        key_id = header.get("kid")
        if not isinstance(key_id, str) or not key_id:
            raise Unauthenticated("The JWT's header names no key (kid).")
        return key_id

    def verify(self, token: str, record: Credential, now: float, *, assertion: bool) -> float:
        """Checks signature and claims; returns when the JWT ends, seconds since the epoch.

        Args:
            token: The JWT.
            record: The credential that its `kid` names.
            now: Seconds since the epoch.
            assertion: Whether it came to the token endpoint rather than as a bearer. The two
                have different audiences, so that neither can be replayed as the other.

        Raises:
            Unauthenticated: If it is forged, out of its time, or for someone else.
        """
        import jwt  # noqa: PLC0415 -- as above

        try:
            claims = jwt.decode(
                token,
                key=self._key(record),
                algorithms=["RS256"],
                # Time is compared below, by our clock; the audience has rules of its own.
                options={
                    "require": ["iss", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_aud": False,
                },
            )
        except jwt.InvalidSignatureError as error:
            raise Unauthenticated(
                f"The JWT's signature does not fit key {record.name} of {record.principal}."
            ) from error
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"The JWT can't be accepted: {error}.") from error
        self._check_subject(claims, record)
        self._check_audience(claims, assertion=assertion)
        return _check_times(claims, now)

    def _check_subject(self, claims: dict[str, Any], record: Credential) -> None:
        subject = claims.get("sub", claims["iss"])
        if claims["iss"] != record.principal or subject != record.principal:
            raise Unauthenticated(
                f"The JWT speaks for {subject} (iss {claims['iss']}), "
                f"but key {record.name} belongs to {record.principal}."
            )

    def _check_audience(self, claims: dict[str, Any], *, assertion: bool) -> None:
        audience = claims.get("aud")
        if isinstance(audience, list) and len(audience) == 1:
            audience = audience[0]
        if audience is None and not assertion and claims.get("scope"):
            return
        if not isinstance(audience, str):
            raise Unauthenticated("The JWT says neither what it is for (aud) nor its scope.")
        try:
            url = urllib.parse.urlsplit(audience if "//" in audience else f"//{audience}")
            host = url.hostname or ""
        except ValueError as error:
            raise Unauthenticated(f"The JWT's audience {audience!r} is not a URL.") from error
        ours = host.endswith(".googleapis.com") or host in self._server_names
        for_token_endpoint = url.path.endswith("/token")
        if not ours or for_token_endpoint != assertion:
            raise Unauthenticated(f"The JWT is meant for {audience} (aud), not for this endpoint.")

    def _key(self, record: Credential) -> "RSAPublicKey":
        key = self._keys.get(record.name)
        if key is None:
            from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 -- as above

            loaded: Any = serialization.load_pem_public_key(record.public_key.encode())
            key = loaded
            with self._lock:
                self._keys[record.name] = loaded
        return key


def _check_times(claims: dict[str, Any], now: float) -> float:
    issued, expires = claims["iat"], claims["exp"]
    if not all(
        isinstance(value, int | float) and not isinstance(value, bool)
        for value in (issued, expires)
    ):
        raise Unauthenticated("The JWT's iat and exp must be numbers.")
    if not now - LEEWAY_SECONDS < expires:
        raise Unauthenticated("The JWT has expired; sign a new one.")
    if not issued <= now + LEEWAY_SECONDS:
        raise Unauthenticated("The JWT was issued in the future; check the client's clock.")
    if not 0 < expires - issued <= LONGEST_SECONDS + LEEWAY_SECONDS:
        raise Unauthenticated(
            f"The JWT is valid for {expires - issued:.0f} s; {LONGEST_SECONDS} s is the most."
        )
    return float(expires)
