"""LoggingServiceV2: what the replicas of jobs print, as Cloud Logging lists it.

gcloud's `stream-logs` and `tensordeck jobs logs` read logs here. There are no other logs than
those of jobs. The entries' form: https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
and, for resource type `ml_job`, https://cloud.google.com/logging/docs/api/v2/resource-list.
"""

import re
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from msgspec import Struct

from tensordeck import names, protos
from tensordeck.errors import InvalidArgument
from tensordeck.filters import Filter, parse_filter, parse_order_by
from tensordeck.names import shown
from tensordeck.services import paging
from tensordeck.services.call import Call
from tensordeck.services.job_logs import JobLog, JobLogs, LogLine
from tensordeck.services.log_filters import (
    SEVERITIES,
    Entry,
    Period,
    matcher,
    period,
    possible_values,
)
from tensordeck.services.page_tokens import make_token, read_position
from tensordeck.services.times import set_nanos

__all__ = ["LoggingService"]

_TYPE: Final = "ml_job"
_SERVICE: Final = "service"
_RESOURCE: Final = ("resource", "labels")
_OUR_LOGS: Final = re.compile(
    r"projects/[^/]+/logs/(workerpool\d+-\d+|ml\.googleapis\.com(%2F|/)\d+)", re.IGNORECASE
)
_CHUNK: Final = 1000
_MOST_LINES: Final = 100_000
"""How many lines one call looks at: a filter that hardly matches anything must not keep a caller
waiting. The page is then short, or empty, and has a token."""
_LONGEST_TAIL: Final = 20_000
"""How many lines from the end are looked at before the log is read from its beginning."""


class LoggingService:
    """Log entries.

    Args:
        open_logs: Gives the jobs' logs when they are first asked for.
    """

    def __init__(self, open_logs: Callable[[], JobLogs]) -> None:
        self._open_logs = open_logs

    @cached_property
    def _logs(self) -> JobLogs:
        return self._open_logs()

    def list_log_entries(self, request: Any, _call: Call) -> Any:
        """Lists the entries of one job's log, which the filter must name."""
        projects = {_project(name) for name in request.resource_names}
        if not projects:
            raise InvalidArgument(
                '`resource_names` is required: ["projects/PROJECT"], the job\'s project.'
            )
        tree = parse_filter(request.filter)
        query = _Query(
            matcher(tree),
            period(tree),
            paging.LOG_ENTRIES.of(request.page_size),
            (sorted(projects), request.filter, request.order_by),
        )
        newest_first = _is_newest_first(request.order_by)
        job_log = self._find(tree, projects)
        reply = protos.message("google.logging.v2.ListLogEntriesResponse")()
        if job_log is not None:
            reader = _Reader(job_log, query)
            read = reader.newest if newest_first else reader.oldest
            lines, reply.next_page_token = read(request.page_token)
            reply.entries.extend(map(reader.message, lines))
        return reply

    def _find(self, tree: Filter | None, projects: set[str]) -> JobLog | None:
        """The log of the job that a filter names; None if nothing here can match.

        Raises:
            InvalidArgument: If it names none, or several.
        """
        types = possible_values(tree, ("resource", "type"))
        logs = possible_values(tree, ("log_name",))
        if types is not None and _TYPE not in {found.casefold() for found in types}:
            return None
        if logs is not None and not any(map(_OUR_LOGS.fullmatch, logs)):
            return None
        jobs = possible_values(tree, (*_RESOURCE, "job_id"))
        if jobs is None or len(jobs) > 1:
            raise InvalidArgument(
                "`filter` must name one job: "
                'resource.type="ml_job" AND resource.labels.job_id="JOB_ID".'
            )
        found = self._logs.find(next(iter(jobs))) if jobs else None
        if found is None or names.ResourceName.parse(found.job).project not in projects:
            return None
        return found


class _Query(Struct, frozen=True):
    """What is asked for.

    Attributes:
        matches: Tells whether an entry is meant.
        period: When those are that are.
        size: How many a page has.
        key: What must stay the same between pages.
    """

    matches: Callable[[Entry], bool]
    period: Period
    size: int
    key: tuple[object, ...]


class _Reader:
    """Reads pages of one job's log."""

    def __init__(self, log: JobLog, query: _Query) -> None:
        name = names.ResourceName.parse(log.job)
        self._log = log
        self._query = query
        self._since_ns = query.period.since_ns - 1  # a stamp may be later than its line
        self._project = name.project
        self._job_id = name.id
        self._common: dict[tuple[int, str, str], Any] = {}

    def oldest(self, token: str) -> tuple[list[LogLine], str]:
        """The next page from the log's beginning on, and the token of the one after it."""
        query = self._query
        cursor = read_position(query.key, token, (str,))[0] if token else ""
        found: list[LogLine] = []
        limit, seen = query.size, 0
        while len(found) < query.size and seen < _MOST_LINES:
            page = self._log.read(cursor, limit, self._since_ns)
            matching = [place for place, line in enumerate(page.lines) if self._matches(line)]
            room = query.size - len(found)
            if len(matching) > room:
                # The cursor is that of the last line: read again, no further than is wanted.
                limit = matching[room - 1] + 1
                continue
            found += [page.lines[place] for place in matching]
            cursor, seen = page.cursor, seen + len(page.lines)
            if len(page.lines) < limit or page.lines[-1].time_ns > query.period.until_ns:
                return found, ""
            limit = _CHUNK
        return found, make_token(query.key, (cursor,))

    def newest(self, token: str) -> tuple[list[LogLine], str]:
        """The next page from the log's end on, and the token of the one after it."""
        query = self._query
        end: tuple[Any, ...] = (query.period.until_ns + 1,)
        if token:
            end = read_position(query.key, token, (int, str))
        found = self._before(end)
        lines = found[-query.size :]
        more = len(found) > query.size
        following = make_token(query.key, (lines[0].stamp, lines[0].insert_id)) if more else ""
        return lines[::-1], following

    def _before(self, end: tuple[Any, ...]) -> list[LogLine]:
        """The last lines before a place that match, one more than a page has if there are."""
        wanted = self._query.size + 1
        count = wanted
        while count <= _LONGEST_TAIL:
            tail = self._log.last(count)
            found = [line for line in tail.lines if self._is_before(line, end)]
            if len(found) >= wanted or tail.is_whole:
                return found[-wanted:]
            count *= 8
        last: deque[LogLine] = deque(maxlen=wanted)
        cursor = ""
        while True:
            page = self._log.read(cursor, _CHUNK, self._since_ns)
            last.extend(line for line in page.lines if self._is_before(line, end))
            if len(page.lines) < _CHUNK or page.lines[-1].time_ns > end[0]:
                return list(last)
            cursor = page.cursor

    def _is_before(self, line: LogLine, end: tuple[Any, ...]) -> bool:
        return (line.stamp, line.insert_id) < end and self._matches(line)

    def message(self, line: LogLine) -> Any:
        """A line as a LogEntry."""
        key = (line.attempt, line.replica, line.severity)
        if key not in self._common:
            self._common[key] = self._in_common(line)
        entry = protos.message("google.logging.v2.LogEntry")()
        entry.CopyFrom(self._common[key])
        entry.insert_id = line.insert_id
        set_nanos(entry.timestamp, line.stamp)
        set_nanos(entry.receive_timestamp, line.stamp)
        if line.replica == _SERVICE:
            entry.text_payload = line.text
        else:
            entry.json_payload.fields["message"].string_value = line.text
        return entry

    def _in_common(self, line: LogLine) -> Any:
        """What the entries of a replica's lines share, made once because that takes a while."""
        entry = protos.message("google.logging.v2.LogEntry")(
            log_name=self._log_name(line),
            severity=SEVERITIES[line.severity],
            labels={"attempt": str(line.attempt)},
        )
        entry.resource.type = _TYPE
        entry.resource.labels.update(
            job_id=self._job_id, project_id=self._project, task_name=line.replica
        )
        if line.replica != _SERVICE:
            entry.json_payload.update({"levelname": line.severity})
        return entry

    def _matches(self, line: LogLine) -> bool:
        return self._query.matches(self._fields(line))

    def _fields(self, line: LogLine) -> Entry:
        """What a filter may compare."""
        fields: dict[tuple[str, ...], str | int] = {
            ("timestamp",): line.stamp,
            ("insert_id",): line.insert_id,
            ("severity",): SEVERITIES[line.severity],
            ("log_name",): self._log_name(line),
            ("resource", "type"): _TYPE,
            (*_RESOURCE, "job_id"): self._job_id,
            (*_RESOURCE, "project_id"): self._project,
            (*_RESOURCE, "task_name"): line.replica,
            ("labels", "attempt"): str(line.attempt),
        }
        if line.replica == _SERVICE:
            fields["text_payload",] = line.text
        else:
            fields["json_payload", "message"] = line.text
            fields["json_payload", "levelname"] = line.severity
        return fields

    def _log_name(self, line: LogLine) -> str:
        log = line.replica
        if log == _SERVICE:
            log = f"ml.googleapis.com%2F{self._job_id}"
        return f"projects/{self._project}/logs/{log}"


def _project(name: str) -> str:
    """The project of a resource whose logs are asked for, a view's or a bucket's too."""
    kind, _, rest = name.partition("/")
    project = rest.partition("/")[0]
    if kind != "projects" or not project:
        raise InvalidArgument(
            f"`resource_names` must be projects, like projects/PROJECT; {shown(name)} is none."
        )
    return project


def _is_newest_first(order_by: str) -> bool:
    orders = parse_order_by(order_by)
    if not orders:
        return False
    if len(orders) > 1 or orders[0].path != ("timestamp",):
        raise InvalidArgument(
            f"`order_by` must be `timestamp asc` or `timestamp desc`; it is {shown(order_by)}."
        )
    return orders[0].descending
