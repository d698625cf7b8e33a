"""Access by credentials that this installation issued itself, kept in its own catalog."""

import base64
import contextlib
import hmac
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from tensordeck.access.caller import Access, Caller
from tensordeck.access.owner import (
    OWNER,
    credential_id_of,
    new_refresh_token,
    read_refresh_token,
    write_owner_file,
)
from tensordeck.access.permissions import PERMISSIONS
from tensordeck.access.records import CredentialRecords
from tensordeck.access.service_account import SelfSignedJwts, full_email, new_key
from tensordeck.access.signing import Purpose, TokenSigner, fingerprint
from tensordeck.errors import InvalidArgument, Unauthenticated
from tensordeck.settings import Settings
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Credential

ACCESS_TOKEN_SECONDS: Final = 3600
SIGN_IN_SECONDS: Final = 12 * 3600
SESSION_SECONDS: Final = 30 * 24 * 3600
SESSION_COOKIE: Final = "tensordeck_session"
"""The browser's cookie; set it HttpOnly, SameSite=Lax, and Secure where the page came by https."""

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

_REMEMBERED_TOKENS: Final = 4096
_SERVER: Final = "server"
_OWNER_KIND: Final = "owner"
_WAY_OUT: Final = (
    "Run the program with `tensordeck exec -- ...`, or point GOOGLE_APPLICATION_CREDENTIALS at a "
    "key file made by `tensordeck keys create`."
)


class CredentialInfo(Struct, frozen=True):
    """A credential as people list it; holds no secret.

    Attributes:
        id: What `revoke` takes.
        kind: `owner` or `service_account_key`.
        principal: The e-mail address it speaks for.
        create_time: Microseconds since the epoch.
        revoked: Whether it was ended.
    """

    id: str
    kind: str
    principal: str
    create_time: int
    revoked: bool


class GrantRefused(InvalidArgument):
    """A token request that the endpoint turns down (RFC 6749, section 5.2).

    Attributes:
        error: OAuth's own code: `invalid_grant`, `invalid_request`, `unsupported_grant_type`.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


def open_access(
    catalog: Catalog, settings: Settings, clock: Callable[[], float] = time.time
) -> "LocalAccess":
    """Opens the installation's credentials; makes the first ones when there are none.

    Those are the signing secret that all servers on one store share, and the owner's credential
    file in the data directory. A file that was lost or no longer counts is made anew; on an
    embedded store, where nobody else can hold one, the old credential is revoked with it.

    Args:
        catalog: Where credentials rest.
        settings: For the data directory and the server's names.
        clock: Seconds since the epoch.

    Raises:
        errors.FailedPrecondition: If the owner's file can't be read or written.
    """
    records = CredentialRecords(catalog, clock)
    server = records.get_or_add(
        Credential(name=_SERVER, credential_kind=_SERVER, secret=secrets.token_bytes(32))
    )
    names = {"localhost", settings.host, *settings.server_names}
    if settings.public_url:
        names.add(urllib.parse.urlsplit(settings.public_url).hostname or "")
    owner_id = _ensure_owner(records, settings)
    return LocalAccess(
        records, TokenSigner(server.secret), SelfSignedJwts(frozenset(names)), owner_id, clock
    )


def _ensure_owner(records: CredentialRecords, settings: Settings) -> str:
    path = settings.data_dir / "credentials" / "owner.json"
    token = read_refresh_token(path)
    record = records.find(credential_id_of(token)) if token else None
    if record is not None and _is_refresh_token_of(record, token):
        with contextlib.suppress(OSError):  # a file of another user's is not ours to tighten
            path.chmod(0o600)
        return record.name
    if not settings.database_url:
        for old in records.all():
            if old.credential_kind == _OWNER_KIND and not old.revoked:
                records.revoke(old.name)
    credential_id = f"owner-{secrets.token_hex(8)}"
    token = new_refresh_token(credential_id)
    # The record first: a file whose record is missing is replaced at the next start.
    records.add(
        Credential(
            name=credential_id,
            credential_kind=_OWNER_KIND,
            principal=OWNER,
            secret_hash=fingerprint(token),
        )
    )
    write_owner_file(path, token)
    return credential_id


def _is_refresh_token_of(record: Credential, token: str) -> bool:
    return bool(record.secret_hash) and hmac.compare_digest(record.secret_hash, fingerprint(token))


class LocalAccess(Access):
    """See `open_access`. Thread-safe; a token that was seen before costs two dict look-ups."""

    def __init__(
        self,
        records: CredentialRecords,
        signer: TokenSigner,
        jwts: SelfSignedJwts,
        owner_id: str,
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._signer = signer
        self._jwts = jwts
        self._owner_id = owner_id
        self._clock = clock
        self._tokens: dict[str, tuple[Caller, float]] = {}
        self._lock = threading.Lock()

    def check_store(self) -> None:
        """Reads a little of what every call needs, to see whether the store answers.

        Raises:
            errors.TensordeckError: If it does not.
        """
        self._records.read_again(_SERVER)

    def authenticate(self, authorization: str | None) -> Caller:
        """See `Access.authenticate`."""
        return self._identify(authorization)[0]

    def remembered(self, authorization: str | None) -> Caller | None:
        """See `Access.remembered`."""
        seen = self._tokens.get(authorization or "")
        if seen is None or self._clock() >= seen[1]:
            return None
        return seen[0] if self._records.counts(seen[0].credential) else None

    def token_info(self, authorization: str | None) -> dict[str, Any]:
        """What Google's tokeninfo says of a bearer: whose it is, how many seconds it has left.

        Raises:
            Unauthenticated: As `authenticate`.
        """
        caller, expires = self._identify(authorization)
        return {
            "email": caller.principal,
            "email_verified": "true",
            "expires_in": str(max(0, int(expires - self._clock()))),
            "scope": SCOPE,
            "sub": caller.principal,
        }

    def _identify(self, authorization: str | None) -> tuple[Caller, float]:
        if not authorization:
            raise Unauthenticated(f"The call carries no credential. {_WAY_OUT}")
        seen = self._tokens.get(authorization)
        if seen is not None and self._clock() < seen[1]:
            if self._records.find(seen[0].credential) is None:
                raise _revoked(seen[0].credential)
            return seen
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                f"The Authorization header must be `Bearer TOKEN`, not {scheme!r}. {_WAY_OUT}"
            )
        identified = self._bearer(token.strip())
        with self._lock:
            if len(self._tokens) >= _REMEMBERED_TOKENS:
                self._tokens.clear()
            self._tokens[authorization] = identified
        return identified

    def authenticate_cookie(self, cookie: str | None) -> Caller:
        """See `Access.authenticate_cookie`."""
        if not cookie:
            raise Unauthenticated(
                "Nobody is signed in. Open the link that `tensordeck open` prints."
            )
        return self._signed(Purpose.SESSION, cookie, "session")

    def authenticate_proxy(self, authorization: str | None) -> Caller:
        """Turns a `Proxy-Authorization` header's value into a caller, for the gateway.

        Takes `Bearer TOKEN`, and `Basic` whose password is an access token, a service account's
        JWT or a refresh token; the user's name is not looked at.

        Raises:
            Unauthenticated: As `authenticate`.
        """
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return self.authenticate(authorization)
        try:
            decoded = base64.b64decode(value.strip(), validate=True).decode()
        except ValueError as error:
            raise Unauthenticated("The proxy credential is not valid base64.") from error
        password = decoded.partition(":")[2]
        if credential_id_of(password):
            record = self._refresh_token(password)
            return Caller(record.principal, record.name)
        return self.authenticate(f"Bearer {password}")

    def check(
        self,
        caller: Caller,  # noqa: ARG002 -- roles, which come later, look at it
        permission: str,
        resource: str,
    ) -> None:
        """See `Access.check`. Every caller with a credential may do everything, for now.

        Raises:
            ValueError: If there is no such permission: a mistake in the method table.
        """
        if permission not in PERMISSIONS:
            raise ValueError(f"{permission!r} for {resource!r} is not a permission we know.")

    def exchange(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Answers a token request (RFC 6749 section 6, RFC 7523).

        Args:
            form: The request's form fields.

        Returns:
            The reply's JSON: an access token and its lifetime in seconds.

        Raises:
            GrantRefused: If the grant is of no use or of an unknown type.
        """
        grant = form.get("grant_type", "")
        if grant == "refresh_token":
            token = form.get("refresh_token", "")
            if not token:
                raise GrantRefused("invalid_request", "refresh_token is missing.")
            try:
                credential = self._refresh_token(token)
            except Unauthenticated as error:
                raise GrantRefused("invalid_grant", error.message) from error
        elif grant == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            assertion = form.get("assertion", "")
            if not assertion:
                raise GrantRefused("invalid_request", "assertion is missing.")
            try:
                credential, _ = self._jwt(assertion, assertion=True)
            except Unauthenticated as error:
                raise GrantRefused("invalid_grant", error.message) from error
        else:
            raise GrantRefused(
                "unsupported_grant_type",
                f"grant_type: {grant!r} is not supported; refresh_token and "
                "urn:ietf:params:oauth:grant-type:jwt-bearer are.",
            )
        return {
            "access_token": self.access_token(credential.name),
            "expires_in": ACCESS_TOKEN_SECONDS,
            "scope": SCOPE,
            "token_type": "Bearer",
        }

    def access_token(self, credential_id: str) -> str:
        """Mints an access token for a credential, good for `ACCESS_TOKEN_SECONDS`."""
        expires = int(self._clock()) + ACCESS_TOKEN_SECONDS
        return self._signer.sign(Purpose.ACCESS, credential_id, expires)

    def create_service_account_key(self, email: str, project: str = "tensordeck") -> dict[str, str]:
        """Makes a key for a service account, which comes into being with its first key.

        Args:
            email: The account's address, or a bare name that the project completes.
            project: The project id that the key file names.

        Returns:
            The key file's content (JSON); the only place that has the private key.

        Raises:
            InvalidArgument: If the address or the project can't be one.
        """
        file, record = new_key(full_email(email, project), project)
        self._records.add(record)
        return file

    def list_credentials(self) -> list[CredentialInfo]:
        """Lists owner credentials and service account keys, revoked ones too, oldest first."""
        return [
            CredentialInfo(
                id=record.name,
                kind=record.credential_kind,
                principal=record.principal,
                create_time=record.create_time,
                revoked=record.revoked,
            )
            for record in self._records.all()
            if record.credential_kind != _SERVER
        ]

    def revoke(self, credential_id: str) -> None:
        """Ends a credential and every token and session made from it, within seconds everywhere.

        Raises:
            errors.NotFound: If there is no such credential.
            InvalidArgument: If it is the signing secret, which is no one's credential.
        """
        if credential_id == _SERVER:
            raise InvalidArgument("The server's signing secret can't be revoked as a credential.")
        self._records.revoke(credential_id)

    def sign_in_link(self, base_url: str) -> str:
        """A link that signs a browser in as the owner; it works for `SIGN_IN_SECONDS`."""
        expires = int(self._clock()) + SIGN_IN_SECONDS
        token = self._signer.sign(Purpose.SIGN_IN, self._owner_id, expires)
        return f"{base_url.rstrip('/')}/sign-in?token={token}"

    def open_session(self, token: str) -> str:
        """Trades a sign-in link's token for the value of `SESSION_COOKIE`.

        Raises:
            Unauthenticated: If the token is forged, has ended, or its credential was revoked.
        """
        caller = self._signed(Purpose.SIGN_IN, token, "sign-in link")
        expires = int(self._clock()) + SESSION_SECONDS
        return self._signer.sign(Purpose.SESSION, caller.credential, expires)

    def _bearer(self, token: str) -> tuple[Caller, float]:
        if token.startswith(f"{Purpose.ACCESS.value}."):
            signed = self._signer.read(Purpose.ACCESS, token)
            if self._clock() >= signed.expires:
                raise Unauthenticated("The access token has expired; get a new one.")
            record = self._live(signed.credential)
            return Caller(record.principal, record.name), signed.expires
        if token.count(".") == 2:
            record, expires = self._jwt(token, assertion=False)
            return Caller(record.principal, record.name), expires
        raise Unauthenticated(f"The access token was not issued by this server. {_WAY_OUT}")

    def _jwt(self, token: str, *, assertion: bool) -> tuple[Credential, float]:
        key_id = self._jwts.key_id(token)
        record = self._records.find(key_id)
        if record is None or not record.public_key:
            raise Unauthenticated(
                f"Key {key_id[:64]} is not known here, or was revoked. Make one with "
                "`tensordeck keys create`."
            )
        return record, self._jwts.verify(token, record, self._clock(), assertion=assertion)

    def _refresh_token(self, token: str) -> Credential:
        record = self._records.find(credential_id_of(token)) if credential_id_of(token) else None
        if record is None or not _is_refresh_token_of(record, token):
            raise Unauthenticated(
                "The refresh token is not known here, or was revoked. Use the file "
                "credentials/owner.json of this server's data directory."
            )
        return record

    def _signed(self, purpose: Purpose, token: str, what: str) -> Caller:
        signed = self._signer.read(purpose, token)
        if self._clock() >= signed.expires:
            raise Unauthenticated(f"The {what} has expired. `tensordeck open` prints a new link.")
        record = self._live(signed.credential)
        return Caller(record.principal, record.name)

    def _live(self, credential_id: str) -> Credential:
        record = self._records.find(credential_id)
        if record is None:
            raise _revoked(credential_id)
        return record


def _revoked(credential_id: str) -> Unauthenticated:
    return Unauthenticated(f"Credential {credential_id} was revoked. {_WAY_OUT}")
