"""What Prometheus reads: how long requests take, how decodes are gathered, what waits, what was found ready."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
PROMPTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Every instrument, in a registry of its own so that two apps in one process do not share numbers."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        registry = self.registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Histogram(
            "segany_request_seconds",
            "Time to answer a request.",
            ("route", "method", "status"),
            buckets=SECONDS,
            registry=registry,
        )
        self.decode_batch = Histogram(
            "segany_decode_batch_prompts", "Prompts decoded together.", buckets=PROMPTS, registry=registry
        )
        self.decode_seconds = Histogram(
            "segany_decode_seconds", "Time to decode a batch.", buckets=SECONDS, registry=registry
        )
        self.encode_seconds = Histogram(
            "segany_encode_seconds", "Time to encode a photo.", buckets=SECONDS, registry=registry
        )
        self.embeddings = Counter(
            "segany_embeddings", "Embeddings asked for, by where they were found.", ("found",), registry=registry
        )
        self.refused = Counter(
            "segany_refused", "Requests turned away before they reached a route.", ("reason",), registry=registry
        )
        self.jobs = Counter("segany_jobs", "Automatic jobs, by how they ended.", ("status",), registry=registry)

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """A gauge that is read when Prometheus asks; an app that starts again watches anew."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, help_text, registry=self.registry)
        self._gauges[name].set_function(value)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
