"""JobService, as far as an upload asks: there are no jobs.

The uploader looks up a custom job whose id is the experiment's when that id is a number.
"""

from typing import Any, Final

from tensordeck import names, protos
from tensordeck.errors import NotFound
from tensordeck.services import paging
from tensordeck.services.call import Call
from tensordeck.store import Store

_CUSTOM_JOB: Final = (*names.LOCATION, "customJobs")


class JobService:
    """Custom jobs.

    Args:
        store: Where they will rest.
    """

    def __init__(self, store: Store) -> None:
        self._catalog = store.catalog

    def get_custom_job(self, request: Any, _call: Call) -> Any:
        """Returns a custom job.

        Raises:
            NotFound: Always, for a well-formed name.
        """
        raise NotFound(f"CustomJob {names.parse(request.name, _CUSTOM_JOB)} does not exist.")

    def list_custom_jobs(self, request: Any, _call: Call) -> Any:
        """Lists no custom jobs."""
        names.parse(request.parent, names.LOCATION, "parent")
        paging.METADATA.of(request.page_size)
        return protos.message("ListCustomJobsResponse")()
