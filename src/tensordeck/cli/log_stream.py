"""A job's log over the Logging API: read to its end, again and again, each entry once."""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from tensordeck.cli.training_api import Job, job_id
from tensordeck.cli.vertex_api import VertexApi
from tensordeck.names import ResourceName
from tensordeck.redirect.endpoint import Endpoint

__all__ = ["LogEntry", "LogStream"]

LogEntry: TypeAlias = dict[str, Any]
"""A LogEntry as the REST API shows it."""

_MOST: Final = 1000
"""Entries of a page: as many as the API gives."""
_FEW: Final = 100
"""Entries of a page at the log's end, some of which we may have seen."""


class LogStream:
    """The log of one job.

    A last page has no token. What comes after it is got by asking for the same page again, and
    leaving out what was in it the last time.

    Args:
        endpoint: The server.
        job: The job.
        replica: The only replica that is wanted; empty for all.
    """

    def __init__(self, endpoint: Endpoint, job: Job, replica: str = "") -> None:
        self._api = VertexApi(endpoint, "v2")
        self._project = ResourceName.parse(job["name"]).project
        self._filter = f'resource.type="ml_job" AND resource.labels.job_id="{job_id(job)}"'
        if replica:
            self._filter += f' AND resource.labels.task_name="{replica}"'
        self._since = ""
        self._token = ""
        self._size = _MOST
        self._seen: set[str] = set()

    def last(self, count: int) -> list[LogEntry]:
        """Returns the last entries, oldest first; `new` then goes on after them."""
        found: list[LogEntry] = []
        token = ""
        while len(found) < count:
            reply = self._page("timestamp desc", min(count - len(found), _MOST), token)
            found += reply.get("entries", [])
            token = reply.get("nextPageToken", "")
            if not token:
                break
        found.reverse()
        if found:
            moment, first = found[0]["timestamp"], found[0]["insertId"]
            self._since = (
                f' AND ((timestamp="{moment}" AND insertId>="{first}") OR timestamp>"{moment}")'
            )
            self._seen = {entry["insertId"] for entry in found}
        return found

    def new(self) -> Iterator[LogEntry]:
        """Yields what was not yielded before, up to the log's present end."""
        while True:
            reply = self._page("timestamp asc", self._size, self._token)
            entries = reply.get("entries", [])
            for entry in entries:
                if entry["insertId"] not in self._seen:
                    self._seen.add(entry["insertId"])
                    yield entry
            following = reply.get("nextPageToken", "")
            if not following:
                self._size = _FEW
                return
            self._seen.difference_update(entry["insertId"] for entry in entries)
            self._token, self._size = following, _MOST

    def _page(self, order_by: str, size: int, token: str) -> dict[str, Any]:
        body = {
            "resourceNames": [f"projects/{self._project}"],
            "filter": self._filter + self._since,
            "orderBy": order_by,
            "pageSize": size,
        }
        if token:
            body["pageToken"] = token
        return self._api.call("POST", "entries:list", body=body)
