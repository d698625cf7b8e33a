"""Who looks after a job: leases in the jobs' rows, so that N servers never run one twice.

A lease is held by `<place>/<server>`. The place is a data directory, in which one server lives at a
time and where the processes of its jobs have their files: a server takes up at once what another
one left in the same place. What was left elsewhere it takes when the lease has run out, and, if
processes may go on there, only after a good while more, in which that place may come back.
"""

import time
import uuid
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from tensordeck.errors import Aborted, NotFound
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import CustomJob

__all__ = ["LEASE_SECONDS", "PATIENCE_SECONDS", "LeaseLost", "Leases"]

LEASE_SECONDS: Final = 30.0
"""How long a lease lasts; it is renewed when a third of that is over."""
PATIENCE_SECONDS: Final = 300.0
"""How much longer a job that runs elsewhere is left alone: its server may be on its way back."""

_MICROS: Final = 1_000_000


class LeaseLost(Aborted):
    """Somebody else looks after the job by now, or it was deleted."""


class Leases:
    """The leases of one server. Thread-safe.

    Attributes:
        owner: What this server writes into `lease_owner`.

    Args:
        catalog: Where jobs rest.
        place: The name of the server's data directory.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, catalog: Catalog, place: str, clock: Callable[[], float] = time.time
    ) -> None:
        self.owner = f"{place}/{uuid.uuid4().hex[:12]}"
        self._catalog = catalog
        self._place = place
        self._clock = clock

    def is_free(self, job: CustomJob) -> bool:
        """Whether this server may take a job up."""
        if job.state.ended:
            return False
        if not job.lease_owner or self.is_from_here(job):
            return True
        patience = PATIENCE_SECONDS if job.handle else 0.0
        return self._clock() > job.lease_until / _MICROS + patience

    def is_from_here(self, job: CustomJob) -> bool:
        """Whether the last who looked after a job lived in this data directory."""
        return job.lease_owner.partition("/")[0] == self._place

    def claim(self, name: str, change: Callable[[CustomJob], CustomJob]) -> CustomJob:
        """Takes a job up.

        Args:
            name: The job's full name.
            change: What else to write, given the row as it was before.

        Raises:
            LeaseLost: If it is not free any more.
        """
        return self._update(name, self.is_free, change)

    def change(
        self, name: str, change: Callable[[CustomJob], CustomJob] = lambda job: job
    ) -> CustomJob:
        """Renews the lease of a job that this server looks after.

        Args:
            name: The job's full name.
            change: What else to write.

        Raises:
            LeaseLost: If another server looks after it by now, or it has ended or was deleted.
        """
        return self._update(name, lambda job: job.lease_owner == self.owner, change)

    def _update(
        self,
        name: str,
        condition: Callable[[CustomJob], bool],
        change: Callable[[CustomJob], CustomJob],
    ) -> CustomJob:
        def held(job: CustomJob) -> CustomJob:
            if not condition(job):
                raise LeaseLost(f"{name} is looked after by {job.lease_owner or 'nobody'}.")
            until = int((self._clock() + LEASE_SECONDS) * _MICROS)
            return replace(change(job), lease_owner=self.owner, lease_until=until)

        try:
            return self._catalog.update(CustomJob, name, held)
        except NotFound as error:
            raise LeaseLost(error.message) from error
