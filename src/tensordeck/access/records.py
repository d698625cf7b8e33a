"""Credential records as the hot path sees them: read from the catalog, remembered for a moment."""

import re
import threading
from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from tensordeck import errors
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Credential
from tensordeck.store.walk import walk

REMEMBER_SECONDS: Final = 2.0
"""How long another server's revocation may go unnoticed here."""

_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_LIMIT: Final = 4096


class CredentialRecords:
    """The catalog's credentials. Thread-safe.

    Args:
        catalog: Where they rest.
        clock: Seconds since the epoch.
    """

    def __init__(self, catalog: Catalog, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._clock = clock
        self._seen: dict[str, tuple[float, Credential | None]] = {}
        self._lock = threading.Lock()

    def find(self, credential_id: str) -> Credential | None:
        """Returns a credential that counts, at most `REMEMBER_SECONDS` old; None if none does.

        The id may come from an unverified token.
        """
        now = self._clock()
        seen = self._seen.get(credential_id)
        if seen is None or not 0 <= now - seen[0] < REMEMBER_SECONDS:
            if not _ID.fullmatch(credential_id):
                return None
            seen = (now, self._catalog.find(Credential, credential_id))
            with self._lock:
                if len(self._seen) >= _LIMIT:
                    self._seen.clear()
                self._seen[credential_id] = seen
        record = seen[1]
        return None if record is None or record.revoked else record

    def read_again(self, credential_id: str) -> Credential:
        """Reads a credential from the catalog, whatever is remembered. Raises as `Catalog.get`."""
        return self._catalog.get(Credential, credential_id)

    def counts(self, credential_id: str) -> bool:
        """Whether a credential is known to count without asking the catalog."""
        seen = self._seen.get(credential_id)
        return (
            seen is not None
            and 0 <= self._clock() - seen[0] < REMEMBER_SECONDS
            and seen[1] is not None
            and not seen[1].revoked
        )

    def add(self, record: Credential) -> Credential:
        """Stores a new credential.

        Raises:
            errors.AlreadyExists: If the id is taken.
        """
        created = self._catalog.create(record)
        self._forget(created.name)
        return created

    def revoke(self, credential_id: str) -> Credential:
        """Ends a credential for good: here at once, elsewhere within `REMEMBER_SECONDS`.

        Raises:
            errors.NotFound: If there is no such credential.
        """
        revoked = self._catalog.update(
            Credential, credential_id, lambda record: replace(record, revoked=True)
        )
        self._forget(credential_id)
        return revoked

    def all(self) -> Iterator[Credential]:
        """Every credential, revoked ones included, in order of creation."""
        return walk(self._catalog, Credential, "")

    def get_or_add(self, record: Credential) -> Credential:
        """Returns the stored credential of that id, or stores this one (also in a race)."""
        found = self._catalog.find(Credential, record.name)
        if found is not None:
            return found
        try:
            return self.add(record)
        except errors.AlreadyExists:
            return self._catalog.get(Credential, record.name)

    def _forget(self, credential_id: str) -> None:
        with self._lock:
            self._seen.pop(credential_id, None)
