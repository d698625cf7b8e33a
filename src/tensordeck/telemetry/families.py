"""Measures as Prometheus has them (https://prometheus.io/docs/instrumenting/exposition_formats/).

The library is loaded at the first scrape: no start waits for it.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final, TypeVar

from tensordeck.telemetry.histogram import Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

__all__ = ["Exposition", "Families", "counter", "gauge", "histogram"]

PREFIX: Final = "tensordeck_"

Families = Callable[[], "Iterable[Metric]"]
Labels = tuple[str, ...]
K = TypeVar("K", bound=Labels)


def counter(name: str, text: str, labels: Labels, values: Mapping[K, float]) -> "Metric":
    """A number that only grows, once for each combination of labels."""
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415

    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def gauge(name: str, text: str, labels: Labels, values: Mapping[K, float]) -> "Metric":
    """A number that goes up and down."""
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def histogram(name: str, text: str, labels: Labels, values: Mapping[K, Histogram]) -> "Metric":
    """Observations by size."""
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415

    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for key, observed in sorted(values.items()):
        counts, total = list(observed.counts), observed.total
        bounds = [*(f"{bound:g}" for bound in observed.bounds), "+Inf"]
        family.add_metric(
            key,
            buckets=[
                (bound, float(n)) for bound, n in zip(bounds, accumulate(counts), strict=True)
            ],
            sum_value=total,
        )
    return family


class Exposition:
    """Writes families in the form that a scrape asks for.

    Args:
        families: Gives our own families; those of the process come in addition.
    """

    def __init__(self, families: Families) -> None:
        self._families = families
        self._registry: CollectorRegistry | None = None

    def write(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type.

        Args:
            accept: The request's `Accept` header.
        """
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

        encode, content_type = choose_encoder(accept)
        if self._registry is None:
            self._registry = _registry(self._families)
        return encode(self._registry), content_type


def _registry(families: Families) -> "CollectorRegistry":
    from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector  # noqa: PLC0415

    class Ours:
        """Collects at the moment of a scrape."""

        def collect(self) -> "Iterable[Metric]":
            return families()

        def describe(self) -> "Iterable[Metric]":
            return ()  # or else the registry would collect once to learn the names

    registry = CollectorRegistry()
    registry.register(Ours())
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
