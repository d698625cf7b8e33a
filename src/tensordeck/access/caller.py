"""The seam between transports and rights: a caller, and the two questions asked about one."""

from abc import ABC, abstractmethod

from msgspec import Struct


class Caller(Struct, frozen=True):
    """Who makes a call.

    Attributes:
        principal: An e-mail address: `owner@tensordeck.local`, or a service account's.
        credential: The id of the credential that was shown, for the log and for revocation.
    """

    principal: str
    credential: str


class Access(ABC):
    """Says who a caller is and what they may do. Thread-safe; called on every request."""

    @abstractmethod
    def authenticate(self, authorization: str | None) -> Caller:
        """Turns an `Authorization` header's value into a caller.

        Takes our own access tokens and service accounts' self-signed JWTs.

        Raises:
            errors.Unauthenticated: If there is none, or it is malformed, expired or revoked.
        """

    def remembered(self, authorization: str | None) -> Caller | None:  # noqa: ARG002 -- for those that remember
        """As `authenticate` if that can be told at once, without waiting for a store; else None.

        None says nothing about the caller: `authenticate` must then be asked.
        """
        return None

    @abstractmethod
    def authenticate_cookie(self, cookie: str | None) -> Caller:
        """Turns the browser's session cookie (its value) into a caller.

        Raises:
            errors.Unauthenticated: As `authenticate`.
        """

    @abstractmethod
    def check(self, caller: Caller, permission: str, resource: str) -> None:
        """Lets a call pass, or not.

        Args:
            caller: Who asks.
            permission: An IAM permission, e.g. `aiplatform.tensorboards.get`.
            resource: The full resource name it is asked for (`projects/_/buckets/b` for a bucket).

        Raises:
            errors.PermissionDenied: If the caller lacks the permission there.
        """
