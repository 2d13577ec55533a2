"""What a mirror counts, for Prometheus; with the figures of ``rainbow stream status`` beside it where a port is set."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rainbow.errors import RainbowError, ServiceError
from streaming.progress import Status, Watch

if TYPE_CHECKING:
    from prometheus_client import Metric

# seconds for which one look at the services answers all scrapes
_FRESH = 2.0


class Metrics:
    """The counters of one mirror process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows = Counter("rainbow_mirror_rows", "Changes brought in, by table.", ["table"], registry=self.registry)
        self.dead_letters = Counter("rainbow_mirror_dead_letters", "Messages set aside, by table.", ["table"], registry=self.registry)
        self.retries = Counter("rainbow_mirror_retries", "Batches that had to be tried again.", registry=self.registry)
        self.batches = Histogram(
            "rainbow_mirror_batch_seconds",
            "Seconds that a batch takes until all of it is in ClickHouse.",
            registry=self.registry,
            buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
        )
        self.partitions = Gauge("rainbow_mirror_partitions", "Partitions that this mirror reads.", registry=self.registry)

    def serve(self, port: int, host: str = "127.0.0.1") -> int:
        """Serve these and the status at ``/metrics`` of a port, 0 for any free one; returns it. Raises ServiceError when it is taken."""
        self.registry.register(StatusCollector())
        try:
            server, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            raise ServiceError(
                f"port {port} cannot be listened on: {error.strerror}; choose another RAINBOW_MIRROR_METRICS_PORT"
            ) from error
        return int(server.server_port)


class StatusCollector(Collector):
    """The status of the speed layer as gauges; what cannot be looked up at a scrape is left out of it."""

    def __init__(self) -> None:
        self._watch = Watch()
        self._lock = threading.Lock()
        self._taken = -_FRESH
        self._status: Status | None = None

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        with self._lock:
            if time.monotonic() - self._taken >= _FRESH:
                try:
                    self._status = self._watch.status()
                except RainbowError:
                    self._status = None
                self._taken = time.monotonic()
            status = self._status
        yield GaugeMetricFamily("rainbow_stream_up", "Whether the services could be asked.", value=int(status is not None))
        if status:
            yield from gauges(status)

    def describe(self) -> Iterator[Metric]:
        """Nothing: the services are not asked when this is registered."""
        return iter(())


def gauges(status: Status) -> Iterator[Metric]:
    """The figures of a status."""
    if status.slot:
        yield GaugeMetricFamily("rainbow_stream_slot_lag_bytes", "Log that capture has still to confirm.", value=status.slot.lag)
        if status.slot.seconds is not None:
            yield GaugeMetricFamily("rainbow_stream_slot_lag_seconds", "How far capture is behind in time.", value=status.slot.seconds)
    told = {
        "rainbow_stream_lag_records": ("Records that the mirrors have still to read.", lambda t: t.lag),
        "rainbow_stream_records_per_second": ("Records that the mirrors commit a second.", lambda t: t.rate),
        "rainbow_stream_last_event_timestamp_seconds": (
            "When the newest change in the mirror was committed.",
            lambda t: t.last_event and t.last_event.timestamp(),
        ),
        "rainbow_stream_dead_letters": ("Messages in the dead-letter topic.", lambda t: t.dead_letters),
    }
    for name, (text, value) in told.items():
        family = GaugeMetricFamily(name, text, labels=["topic", "table"])
        for table in status.tables:
            if (figure := value(table)) is not None:
                family.add_metric([table.topic, table.table], figure)
        yield family
