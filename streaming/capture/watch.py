"""What a running capture shows: a line every few seconds while events come, and Prometheus metrics where a port is set.

How far the slot is behind, and what is published, is asked in a thread of its own, so that a server that does not
answer holds nothing up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rainbow.errors import ServiceError
from streaming.capture import catalog, wire
from streaming.capture.slot import SLOT
from streaming.capture.state import State

_EVERY = 5.0

_LAG = """
select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end - confirmed_flush_lsn)::bigint
from pg_replication_slots where slot_name = %s
"""


class Watch:
    """Looks at a capture's state while it runs."""

    def __init__(self, url: str, state: State, say: Callable[[str], None]) -> None:
        self._url, self._state, self._say = url, state, say
        self._ended = threading.Event()
        self._connection: psycopg.Connection | None = None
        self.lag_bytes: int | None = None

    def start(self, port: int | None) -> None:
        """Begin to look, and to serve metrics on the port if there is one. Raises ServiceError when it is taken."""
        if port is not None:
            registry = CollectorRegistry()
            registry.register(_Figures(self, self._state))
            try:
                server, _ = start_http_server(port, "127.0.0.1", registry)
            except OSError as error:
                raise ServiceError(
                    f"port {port} cannot be listened on: {error.strerror}; choose another RAINBOW_CAPTURE_METRICS_PORT"
                ) from error
            self._say(f"metrics on http://127.0.0.1:{server.server_port}/metrics")
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    @property
    def lag_seconds(self) -> float:
        """How old the newest transaction that was read is, while there is more to read."""
        state = self._state
        return time.time() - state.committed_ms / 1000 if self.lag_bytes and state.committed_ms else 0.0

    def _run(self) -> None:
        seen, since = self._state.events, time.monotonic()
        while not self._ended.wait(_EVERY):
            self._look()
            events, now = self._state.events, time.monotonic()
            if events > seen:
                behind = "" if self.lag_bytes is None else f", {self.lag_bytes:,} bytes ({self.lag_seconds:.1f} s) behind"
                waiting = f", {self._state.pending:,} on their way" if self._state.pending else ""
                self._say(f"{self._state.phase}: {(events - seen) / (now - since):,.0f} events/s, {events:,} in all{waiting}{behind}")
            seen, since = events, now

    def _look(self) -> None:
        """Ask how far the slot is behind; when that fails, it is not known."""
        try:
            if self._connection is None:
                self._connection = wire.connect(self._url, options="-c statement_timeout=3s")
            row = self._connection.execute(_LAG, [SLOT]).fetchone()
            self.lag_bytes = None if row is None or row[0] is None else max(0, row[0])
            self._state.published = catalog.standing(self._connection)
        except psycopg.Error:
            if self._connection:
                self._connection.close()
            self._connection = self.lag_bytes = None


class _Figures(Collector):
    """The state as metrics, read when they are asked for."""

    def __init__(self, watch: Watch, state: State) -> None:
        self._watch, self._state = watch, state

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before it runs."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Events, snapshots, dead letters, what is on its way, and how far the slot is behind."""
        state = self._state
        events = CounterMetricFamily("rainbow_capture_events", "Events of changes sent, by table.", labels=["table"])
        for table, count in list(state.counts.items()):
            events.add_metric([table], count)
        yield events
        yield CounterMetricFamily("rainbow_capture_snapshot_rows", "Rows of snapshots sent.", value=state.snapshot_rows)
        yield CounterMetricFamily("rainbow_capture_snapshots", "Snapshots completed.", value=state.snapshots)
        yield CounterMetricFamily("rainbow_capture_dead_letters", "Events that were too large for a topic.", value=state.dead_letters)
        yield GaugeMetricFamily("rainbow_capture_streaming", "1 while the slot is read.", value=int(state.phase == "streaming"))
        yield GaugeMetricFamily("rainbow_capture_pending", "Events that the broker has not acknowledged.", value=state.pending)
        yield GaugeMetricFamily(
            "rainbow_capture_lag_seconds", "How old the newest change read is, when behind.", value=self._watch.lag_seconds
        )
        if self._watch.lag_bytes is not None:
            yield GaugeMetricFamily("rainbow_capture_lag_bytes", "Log that is not confirmed.", value=self._watch.lag_bytes)
