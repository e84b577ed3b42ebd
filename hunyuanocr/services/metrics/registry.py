"""Counters and histograms, in a registry per appliance, so that two appliances in one process count separately.

Labels have a fixed set of values: templates of routes, error codes, tasks. Every unknown route or method is `other`, so that
clients cannot create time series.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hunyuanocr.pipeline import Timing
from hunyuanocr.services.metrics.gauges import Monitored, Snapshot, collect, take_snapshot

OTHER = "other"  # unknown route or method
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_RATES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)


class Metrics:
    """The metrics of one process: the apps on both ports count into them, and each reports all of them."""

    def __init__(self, services: Monitored) -> None:
        self._services = services  # not complete yet: read it in `render` only
        self._registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        self._requests = Counter("hunyuanocr_http_requests", "Requests answered.", ("method", "route", "status"), registry=own)
        self._request_s = Histogram(
            "hunyuanocr_http_request_seconds",
            "Time from the first byte of a request to the last of its response.",
            ("route",),
            buckets=_SECONDS,
            registry=own,
        )
        self._in_flight = Gauge("hunyuanocr_http_requests_in_flight", "Requests that are being answered.", registry=own)
        self._readings = Counter(
            "hunyuanocr_readings",
            "Recognition requests, by outcome: 'ok', 'cancelled' or an error code.",
            ("task", "outcome"),
            registry=own,
        )
        self._stage_s = Histogram(
            "hunyuanocr_stage_seconds",
            "Stages of a request: wait, decode, read (first: up to the model's first text), evidence, fields, total.",
            ("stage",),
            buckets=_SECONDS,
            registry=own,
        )
        self._pages = Counter("hunyuanocr_pages", "Pages read.", registry=own)
        self._tokens = Counter("hunyuanocr_tokens", "Tokens of the language model.", ("kind",), registry=own)
        self._rate = Histogram(
            "hunyuanocr_tokens_per_second", "Tokens per second of one request, after the first.", buckets=_RATES, registry=own
        )
        self._cache = Counter("hunyuanocr_cache_lookups", "Lookups in the result cache.", ("result",), registry=own)
        for kind in ("prompt", "completion"):
            self._tokens.labels(kind)
        for result in ("hit", "miss"):
            self._cache.labels(result)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as running inside the context."""
        self._in_flight.inc()
        try:
            yield
        finally:
            self._in_flight.dec()

    def answered(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a response. `route`: the template of its route, None without one; `status`: 0 when the client left first."""
        if route is None:
            method = route = OTHER
        elif method not in _METHODS:
            method = OTHER
        self._requests.labels(method, route, str(status)).inc()
        self._request_s.labels(route).observe(seconds)

    def observe_request(self, timing: Timing) -> None:
        """Count a finished request of the pipeline."""
        self._readings.labels(timing.task, timing.outcome).inc()
        if timing.cached:
            self._cache.labels("hit").inc()
            return
        for stage, seconds in timing.stages.items():
            self._stage_s.labels(stage).observe(seconds)
        if "wait" in timing.stages and self._services.pipeline.cache.enabled:
            self._cache.labels("miss").inc()
        if timing.outcome != "ok":
            return
        self._stage_s.labels("total").observe(timing.elapsed_ms / 1000)
        self._pages.inc(timing.pages)
        self._observe_tokens(timing)

    def _observe_tokens(self, timing: Timing) -> None:
        self._tokens.labels("prompt").inc(timing.usage.prompt_tokens)
        self._tokens.labels("completion").inc(timing.usage.completion_tokens)
        if timing.first_s is None or not timing.usage.completion_tokens:
            return
        self._stage_s.labels("first").observe(timing.first_s)
        writing = timing.stages["read"] - timing.first_s
        if writing > 0:
            self._rate.observe(timing.usage.completion_tokens / writing)

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics as text, and its media type. An unavailable database is a metric, not an error."""
        snapshot = await take_snapshot(self._services)
        encode, kind = choose_encoder(accept)
        return await asyncio.to_thread(lambda: encode(_Combined(self._registry, self._services, snapshot))), kind


class _Combined(Collector):
    """The registry together with the current gauges."""

    def __init__(self, counted: CollectorRegistry, services: Monitored, snapshot: Snapshot) -> None:
        self._counted, self._services, self._snapshot = counted, services, snapshot

    def collect(self) -> Iterator[Metric]:
        yield from self._counted.collect()
        yield from collect(self._services, self._snapshot)
