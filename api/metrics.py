"""Prometheus metrics: calls by route and status, their seconds, orders by outcome, and the pool's connections.

With several workers the counts of all are added up, through files in ``PROMETHEUS_MULTIPROC_DIR`` (`rainbow api` sets it).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.database import Database

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one application."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        calls = Counter("rainbow_api_requests", "Calls answered.", ("method", "route", "status"), registry=self.registry)
        seconds = Histogram(
            "rainbow_api_request_seconds", "Seconds to an answer.", ("method", "route"), buckets=SECONDS, registry=self.registry
        )
        self._calls, self._seconds = calls, seconds
        # looking a label up costs more than counting, and there are few of them
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.registry.register(_Pool(database))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered call."""
        found = self._known.get((method, route, status))
        if found is None:
            found = self._calls.labels(method, route, str(status)), self._seconds.labels(method, route)
            self._known[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)


class _Pool(Collector):
    """The pool's figures, read when they are asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        """Connections, those that are free, and calls that wait for one."""
        stats = self._database.pool.get_stats()
        for name, key, text in (
            ("connections", "pool_size", "Connections to PostgreSQL."),
            ("connections_free", "pool_available", "Connections that are not in use."),
            ("waiting", "requests_waiting", "Calls that wait for a connection."),
        ):
            yield GaugeMetricFamily(f"rainbow_api_pool_{name}", text, value=stats.get(key, 0))
