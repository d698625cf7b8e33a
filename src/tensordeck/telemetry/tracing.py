"""Traces by OpenTelemetry: an extra, set up by the standard variables, and nothing without them.

A call's trace has a span for the RPC or the HTTP request, below it one for the service's method,
and below that one for the group commit that made its change durable. Callers' own spans are taken
up from W3C `traceparent`. Variables:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tensordeck.telemetry.last_commit import Commit, expect_commit, last_commit

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

__all__ = [
    "Tracing",
    "span_fields",
    "step",
    "told_with_commit",
    "tracing",
    "tracing_from_environment",
    "with_commit_span",
]

C = TypeVar("C")
T = TypeVar("T")

log: Final = logging.getLogger(__name__)

_WANTED: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing:
    """Makes spans and sends them.

    Args:
        provider: Where spans go.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer: Tracer = provider.get_tracer("tensordeck")

    @contextmanager
    def call(
        self, name: str, headers: Iterable[tuple[str | bytes, str | bytes]], **attributes: Any
    ) -> "Iterator[Span]":
        """A span of a call that came in, below its caller's if the headers name one.

        It becomes the present span of the block, and of threads that run in a copy of its context.
        """
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        with self._tracer.start_as_current_span(
            name,
            context=_caller(headers),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,  # what a caller did wrong is no exception of ours
            set_status_on_exception=False,
        ) as span:
            yield span

    def step(self, name: str) -> "AbstractContextManager[Span]":
        """A span of a part of a call, below the present one."""
        return self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        )

    def begin(self, name: str) -> "Span":
        """A span below the present one that somebody ends later, in some thread."""
        return self._tracer.start_span(name)

    def commit(self, commit: Commit, parent: "Span | None" = None) -> None:
        """The span of a group commit that is over.

        Args:
            commit: The commit.
            parent: The span that it is below; the present one if not given.
        """
        from opentelemetry.trace import get_current_span, set_span_in_context  # noqa: PLC0415

        above = parent or get_current_span()
        if not above.get_span_context().is_valid:  # work of the store's own, folding for instance
            return
        offset = time.time_ns() - time.perf_counter_ns()
        span = self._tracer.start_span(
            "store commit",
            context=set_span_in_context(above),
            start_time=offset + int(commit.began * 1e9),
            attributes={"tensordeck.commit.pieces": commit.pieces},
        )
        span.end(offset + int(commit.ended * 1e9))

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


class _State:
    """The process's tracing; None, and then no call does anything for it."""

    tracing: Tracing | None = None


def tracing() -> Tracing | None:
    """The process's tracing, if it was set up."""
    return _State.tracing


@contextmanager
def tracing_from_environment(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Sets tracing up for the block if the standard variables ask for it."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not _asked_for(environ):
        yield
        return
    try:
        opened = _opened(environ)
    except ImportError as error:
        log.warning(
            "No traces are sent: %s is missing. Install it with pip install 'tensordeck[otel]'.",
            error.name,
        )
        yield
        return
    _State.tracing = opened
    try:
        yield
    finally:
        _State.tracing = None
        opened.close()


def span_fields() -> dict[str, str]:
    """The present trace and span, as fields of a log entry."""
    if _State.tracing is None:
        return {}
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    context = get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def with_commit_span(write: Callable[[Callable[[C], T]], T], work: Callable[[C], T]) -> T:
    """Has work written, and makes its commit a span below the present one.

    Args:
        write: Has work done in a transaction, and returns its result once that is durable.
        work: The work.
    """
    present = _State.tracing
    if present is None:
        return write(work)
    found: list[Commit] = []

    def watched(connection: C) -> T:
        expect_commit(found)
        return work(connection)

    result = write(watched)
    if found:
        present.commit(found[-1])
    return result


def step(name: str) -> "AbstractContextManager[object]":
    """As `Tracing.step` if there is tracing, else nothing."""
    present = _State.tracing
    return nullcontext() if present is None else present.step(name)


def told_with_commit(name: str, tell: Callable[[T], None]) -> Callable[[T], None]:
    """A span for work whose outcome is told later: it ends then, with its commit below it.

    Args:
        name: The span's name.
        tell: Told the outcome; an exception, None or False is no success.

    Returns:
        What is to be told in place of `tell`; that itself without tracing.
    """
    present = _State.tracing
    if present is None:
        return tell
    span = present.begin(name)

    def told(outcome: T) -> None:
        failed = outcome is None or outcome is False or isinstance(outcome, BaseException)
        if not failed and (commit := last_commit()) is not None:
            present.commit(commit, span)
        span.end()
        tell(outcome)

    return told


def _asked_for(environ: Mapping[str, str]) -> bool:
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    return exporter == "otlp" or (not exporter and any(environ.get(name) for name in _WANTED))


def _opened(environ: Mapping[str, str]) -> Tracing:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from tensordeck import __version__  # noqa: PLC0415

    named = {"service.name": environ.get("OTEL_SERVICE_NAME") or "tensordeck"}
    provider = TracerProvider(resource=Resource.create({**named, "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(_exporter(environ)))
    return Tracing(provider)


def _exporter(environ: Mapping[str, str]) -> Any:
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"
    )
    if protocol.startswith("http"):
        from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: PLC0415

        return trace_exporter.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc  # noqa: PLC0415

    return over_grpc.OTLPSpanExporter()


def _caller(headers: Iterable[tuple[str | bytes, str | bytes]]) -> "Context":
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    carrier = {_text(name): _text(value) for name, value in headers}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
