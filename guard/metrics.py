"""What Prometheus sees. Blocked, unscored, broken and clean are never one number.

This is the home of prometheus_client. With several workers the supervisor sets ``PROMETHEUS_MULTIPROC_DIR`` before a
worker starts, and every scrape adds up all workers whichever of them it reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

# When a series began is noise to whoever reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = CONTENT_TYPE_LATEST
_MS = (0.5, 1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000)


class Metrics:
    """The counters of one worker; ``multiprocess_dir`` is where all workers keep theirs, empty for a single one."""

    def __init__(self, multiprocess_dir: str = "") -> None:
        self._dir = multiprocess_dir
        self.registry = CollectorRegistry()
        self.messages = self._counter("messages", "Messages by how they ended", "outcome")
        self.verdicts = self._counter(
            "verdicts", "Texts by verdict; broken: a filter failed, was late or absent", "direction", "verdict"
        )
        self.reasons = self._counter("reasons", "Reasons behind verdicts", "direction", "label", "purpose")
        self.checks = self._counter(
            "checks", "Checks for integrators by endpoint and how they ended", "endpoint", "outcome"
        )
        self.captures = self._counter("captures", "Exchanges by whether they were captured", "captured")
        self.scoring_failures = self._counter("scoring_failures", "Texts not scored, by what failed", "kind")
        self.upstream_errors = self._counter("upstream_errors", "Failures of the upstream", "kind")
        self.http_errors = self._counter("http_errors", "Requests answered with an error", "status")
        self.hop_ms = Histogram(
            "tayguard_hop_ms", "Milliseconds per hop of a message", ["hop"], registry=self.registry, buckets=_MS
        )
        self.breaker_open = self._gauge("breaker_open", "1 while scoring is not tried because it keeps failing")
        self.score_cache = self._counter("score_cache", "Units looked for among those scored before", "level", "found")
        self.score_cache_entries = self._gauge("score_cache_entries", "Scored units that a worker remembers")
        self.scoring_lost = self._gauge("scoring_threads_lost", "Scoring threads that hang in a filter")
        self.queue = self._gauge("scoring_queue", "Texts that wait for a scoring thread")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"tayguard_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"tayguard_{name}", text, registry=self.registry, multiprocess_mode="livesum")

    @contextmanager
    def timed(self, hop: str, spent_ms: dict[str, float]) -> Iterator[None]:
        """Add the milliseconds of a block to ``spent_ms[hop]``."""
        started = perf_counter()
        try:
            yield
        finally:
            spent_ms[hop] = spent_ms.get(hop, 0.0) + (perf_counter() - started) * 1000

    def observe_hops(self, spent_ms: dict[str, float]) -> None:
        """Record the milliseconds that one message spent in each hop."""
        for hop, spent in spent_ms.items():
            self.hop_ms.labels(hop).observe(spent)

    def render(self) -> bytes:
        """Return the exposition text, of all workers where there are several."""
        if not self._dir:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=self._dir)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
