"""What the injector counts, in Prometheus' text format."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from sidecar.kube.review import Result

MALFORMED: Final = "malformed"
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Counts:
    """One process's metrics."""

    def __init__(self) -> None:
        # A series more for each other one, which says when the process began.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._reviews = Counter(
            "sidecar_injector_reviews", "Reviews answered, by how they ended.", ["result"], registry=registry
        )
        # Rates of what has not happened yet are zero, and not absent.
        for result in (*Result, MALFORMED):
            self._reviews.labels(str(result))
        self._seconds = Histogram(
            "sidecar_injector_review_seconds", "How long reviews took.", buckets=BUCKETS_S, registry=registry
        )
        self._reloads = Counter(
            "sidecar_injector_certificate_reloads", "Changed certificates met.", ["result"], registry=registry
        )
        for outcome in ("ok", "unfit"):
            self._reloads.labels(outcome)
        self._expires = Gauge(
            "sidecar_injector_certificate_expiry_timestamp_seconds",
            "When the certificate in force expires, Unix time.",
            registry=registry,
        )
        ProcessCollector(registry=registry)

    def count_review(self, result: str, seconds: float) -> None:
        self._reviews.labels(result).inc()
        self._seconds.observe(seconds)

    def count_malformed(self) -> None:
        self._reviews.labels(MALFORMED).inc()

    def count_reload(self, *, fit: bool) -> None:
        self._reloads.labels("ok" if fit else "unfit").inc()

    def show_expiry(self, expires: datetime) -> None:
        self._expires.set(expires.timestamp())

    def expose(self, accept: str) -> tuple[bytes, str]:
        """(body, content type) in the best format that an Accept header takes."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
