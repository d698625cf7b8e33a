"""`GET /metrics`: what the server counts, for Prometheus.

Who may read it: any credential that may call the API, and besides the bearer token in the file
that `--metrics-token-file` names, which opens nothing else. Prometheus reads such a file by itself,
while our own access tokens end after an hour.
"""

import hmac
import os
import platform
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tensordeck import __version__
from tensordeck.access import Access
from tensordeck.errors import FailedPrecondition, TensordeckError, Unauthenticated
from tensordeck.front.rest import error_response
from tensordeck.store.contract import Store
from tensordeck.store.resources import CustomJob, JobState
from tensordeck.telemetry.call_measures import CallMeasures
from tensordeck.telemetry.families import Exposition, Families, counter, gauge, histogram
from tensordeck.telemetry.store_measures import StoreMeasures

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["PATH", "MetricsPage", "read_token_file", "server_families"]

PATH: Final = "/metrics"
PERMISSION: Final = "monitoring.timeSeries.list"
_LIVE_STATES: Final = tuple(state for state in JobState if not state.ended)
_LOOK_SECONDS: Final = 1.0
"""How long a scrape waits for the database; a late answer is used by the next one."""
_SHORTEST_TOKEN: Final = 16


def read_token_file(path: str) -> Callable[[], bytes]:
    """Makes what reads the bearer token of `--metrics-token-file` anew each time it is asked.

    So a rotated secret counts at once. An unreadable file gives no token.

    Raises:
        FailedPrecondition: If the file can't be read now, or its token is too short to be one.
    """
    if not path:
        return bytes
    try:
        token = Path(path).read_bytes().strip()
    except OSError as error:
        raise FailedPrecondition(
            f"metrics-token-file: {path} can't be read ({error.strerror})."
        ) from error
    if len(token) < _SHORTEST_TOKEN:
        raise FailedPrecondition(
            f"metrics-token-file: {path} holds fewer than {_SHORTEST_TOKEN} characters; make a "
            "token with `openssl rand -hex 32`."
        )

    def read() -> bytes:
        try:
            found = Path(path).read_bytes().strip()
        except OSError:
            return b""
        return found if len(found) >= _SHORTEST_TOKEN else b""

    return read


class MetricsPage:
    """An ASGI app.

    Args:
        families: What there is to tell.
        access: Says who may read; None lets everybody who can reach it.
        token: Gives a bearer token that counts besides; empty for none.
        of_many: Whether the process is one of several behind one port. Whoever reads there would
            see now this one's counters, now another's, and is told so instead.
    """

    def __init__(
        self,
        families: Families,
        access: Access | None,
        token: Callable[[], bytes] = bytes,
        *,
        of_many: bool = False,
    ) -> None:
        self._exposition = Exposition(families)
        self._access = access
        self._token = token
        self._of_many = of_many

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope)
        response: Response
        if request.method not in ("GET", "HEAD"):
            response = PlainTextResponse("use GET\n", 405, {"Allow": "GET, HEAD"})
        elif self._access is None and scope["path"] != PATH:
            response = PlainTextResponse(f"only {PATH} is here\n", 404)
        else:
            response = await to_thread.run_sync(self._answer, request)
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        try:
            if self._access is not None:
                self._authorize(self._access, request.headers.get("authorization"))
            if self._of_many:
                raise FailedPrecondition(
                    "Each of this server's workers counts for itself, and this port is answered "
                    "by any of them. Scrape the ports that follow --metrics-port, one a worker."
                )
        except TensordeckError as error:
            return error_response(error)
        content, content_type = self._exposition.write(request.headers.get("accept", ""))
        return Response(
            content, headers={"Content-Type": content_type, "Cache-Control": "no-store"}
        )

    def _authorize(self, access: Access, authorization: str | None) -> None:
        scheme, _, token = (authorization or "").partition(" ")
        ours = self._token()
        if (
            ours
            and scheme.lower() == "bearer"
            and hmac.compare_digest(token.strip().encode(), ours)
        ):
            return
        if not authorization:
            raise Unauthenticated(
                "Metrics are for callers with a credential. Give Prometheus a token with "
                "`authorization: {credentials_file: FILE}`, and the server the same file with "
                "--metrics-token-file."
            )
        access.check(access.authenticate(authorization), PERMISSION, "projects/_")


def server_families(
    store: Store,
    calls: CallMeasures,
    connections: Callable[[], tuple[int, int]],
    certificate_ends: Callable[[], float],
) -> Families:
    """Gathers everything that there is to tell.

    Args:
        store: The store.
        calls: The calls.
        connections: Gives how many connections are served and how many wait for their turn.
        certificate_ends: Gives when the certificate ends, in seconds since the epoch.
    """
    jobs = _LiveJobs(store)

    def families() -> "Iterable[Metric]":
        labels = ("version", "python", "pid")
        build = (__version__, platform.python_version(), str(os.getpid()))
        yield gauge("build_info", "What runs; always 1.", labels, {build: 1})
        yield from _of_calls(calls)
        served, waiting = connections()
        yield gauge(
            "connections",
            "Connections at the front door.",
            ("state",),
            {("served",): served, ("waiting",): waiting},
        )
        yield gauge(
            "certificate_end_timestamp_seconds",
            "When the server's certificate ends.",
            (),
            {(): certificate_ends()},
        )
        yield from _of_store(store.measures)
        yield from jobs()

    return families


def _of_calls(calls: CallMeasures) -> "Iterable[Metric]":
    observed = {key: found for key, found in list(calls.durations.items()) if found.count}
    yield histogram(
        "request_duration_seconds",
        "How long requests took, by how they came, what they asked for and how they ended.",
        ("transport", "method", "status"),
        observed,
    )
    yield gauge(
        "requests_in_flight",
        "Requests that are being answered.",
        ("transport",),
        {(key,): value for key, value in list(calls.in_flight.items())},
    )


def _of_store(measures: StoreMeasures) -> "Iterable[Metric]":
    points = measures.points
    for name, text, value in (
        ("written_points", "Points in acknowledged writes.", points.points),
        ("acknowledged_writes", "Calls that wrote points and were acknowledged.", points.calls),
        ("journal_written_bytes", "Bytes that those took in the journal.", points.journal_bytes),
    ):
        yield counter(name, text, (), {(): value})
    yield histogram(
        "write_group_calls",
        "How many writes of points were handed to the database together.",
        (),
        {(): points.group_calls},
    )
    commits = list(measures.commits.items())
    yield histogram(
        "commit_duration_seconds",
        "How long commits took, from their begin to the disk.",
        ("work",),
        {(work,): found.seconds for work, found in commits},
    )
    yield histogram(
        "commit_pieces",
        "How many pieces of work shared a commit.",
        ("work",),
        {(work,): found.pieces for work, found in commits},
    )
    yield counter(
        "commit_failures",
        "Commits that were given up.",
        ("work",),
        {(work,): found.failures for work, found in commits},
    )
    yield gauge(
        "commit_queue_length",
        "Pieces of work that wait for a commit.",
        ("work",),
        {(work,): value for work, value in measures.waiting().items()},
    )
    backlog = measures.backlog()
    for name, text, amount in (
        ("backlog_rows", "Journal rows that are not folded yet.", backlog.rows),
        ("backlog_bytes", "Bytes in them.", backlog.byte_count),
        ("backlog_runs", "Runs that they belong to.", backlog.runs),
        ("backlog_oldest_seconds", "How long the oldest has waited.", backlog.oldest_seconds),
    ):
        yield gauge(name, text, (), {(): amount})
    yield counter("folding_failures", "How often folding failed.", (), {(): backlog.failures})
    yield from _of_pools(measures)
    yield from _of_blobs(measures)


def _of_pools(measures: StoreMeasures) -> "Iterable[Metric]":
    pools = measures.pools()
    uses = {
        (pool, state): getattr(use, state)
        for pool, use in pools.items()
        for state in ("used", "idle")
    }
    yield gauge("database_connections", "Connections to the database.", ("pool", "state"), uses)
    yield gauge(
        "database_connections_limit",
        "The most that may be in use.",
        ("pool",),
        {(pool,): use.limit for pool, use in pools.items()},
    )
    yield histogram(
        "database_connection_wait_seconds",
        "How long readers waited for a connection.",
        (),
        {(): measures.connection_wait},
    )


def _of_blobs(measures: StoreMeasures) -> "Iterable[Metric]":
    blobs = measures.blobs
    yield histogram(
        "blob_operation_duration_seconds",
        "How long operations of the object store took.",
        ("operation", "outcome"),
        dict(list(blobs.seconds.items())),
    )
    yield counter(
        "blob_bytes",
        "Bytes that went to and came from the object store.",
        ("operation",),
        {("read",): blobs.read_bytes, ("write",): blobs.written_bytes},
    )


class _LiveJobs:
    """Jobs by state, asked of the database, which may be away: a scrape waits but a moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._asked: Future[dict[int, int]] | None = None

    def __call__(self) -> "Iterable[Metric]":
        if self._asked is None:
            self._asked = self._pool.submit(self._count)
        try:
            counts = self._asked.result(_LOOK_SECONDS)
            self._asked = None
            up = 1
        except TooLate:
            counts, up = {}, 0
        except TensordeckError:
            self._asked = None
            counts, up = {}, 0
        yield gauge("database_up", "Whether the database answered at this scrape.", (), {(): up})
        if up:
            yield gauge(
                "jobs",
                "Training jobs that have not ended, of all servers on the store.",
                ("state",),
                {(state.name,): counts.get(int(state), 0) for state in _LIVE_STATES},
            )

    def _count(self) -> dict[int, int]:
        return self._store.catalog.count_values(CustomJob, "state", _LIVE_STATES)
