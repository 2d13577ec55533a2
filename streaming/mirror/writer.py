"""Bringing batches into ClickHouse, one after the other, each until it is there; and the notes of snapshots that go with them."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException

from rainbow.errors import ServiceError
from rainbow.olap.client import connect, words_of
from rainbow.source.tables import BY_NAME
from streaming import topics
from streaming.mirror.applying import apply, prepare
from streaming.mirror.batch import Batch
from streaming.mirror.letters import DeadLetters
from streaming.mirror.metrics import Metrics
from streaming.mirror.snapshots import Snapshots, serve_views
from streaming.mirror.tables import Tables
from streaming.mirror.truncations import Truncations
from streaming.progress import Offsets

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

log = logging.getLogger("rainbow.mirror")

# tables that are brought in at the same time
AT_ONCE = 3
# seconds between two tries while something does not answer
FIRST_PAUSE, LAST_PAUSE = 0.1, 1.0
# seconds for which ClickHouse may be silent: while it brings rows in, and while it goes through a whole history
SHORT, LONG = 30, 900
# seconds between looks at the views
SERVE = 10.0

LOST = (
    "%d records were gone from the broker before the mirror read them (%s): the mirror lacks changes, and the unified views show the batch "
    "alone until there is a new snapshot; stop capture, `select pg_drop_replication_slot('rainbow')` in PostgreSQL, and start it again"
)

# what passes by itself: a service that does not answer
PASSING = (ClickHouseError, KafkaException, ServiceError, OSError)


class Writer:
    """Brings batches into ClickHouse, one after the other, until it is there; and keeps the notes of snapshots."""

    def __init__(self, metrics: Metrics, stopping: threading.Event) -> None:
        self._metrics = metrics
        self._stopping = stopping
        self._given_up = threading.Event()
        self._client: Client | None = None
        self._tables: Tables | None = None
        self._letters = DeadLetters()
        self._snapshots = Snapshots()
        self._truncations = Truncations()
        self._lock = threading.Lock()
        self._served = time.monotonic()
        self._order = ThreadPoolExecutor(1, "writer")
        self._tables_pool = ThreadPoolExecutor(AT_ONCE, "table")

    def bring(self, batch: Batch) -> Future[None]:
        """Bring a batch in; the future is done when it is there, however long ClickHouse is away."""
        return self._order.submit(self._until_there, batch)

    def prepare(self, batch: Batch) -> None:
        """Make as much of a batch ready as can be without ClickHouse, while the one before is on its way."""
        tables = self._tables
        for topic, changes in batch.changes.items():
            table = tables.known(topics.table_of(topic)) if tables else None
            if table and (made := prepare(table, changes)):
                batch.ready[topic] = table, made

    def close(self) -> None:
        """End the threads; a batch that is not there yet is given up."""
        self._stopping.set()
        self._given_up.set()
        self._order.shutdown(wait=True, cancel_futures=True)
        self._tables_pool.shutdown(wait=True, cancel_futures=True)

    def reconnect(self) -> None:
        """Forget what is known of the tables, and the idle connections: where one was lost without a word, each of the others would be
        waited for in turn."""
        if self._client and self._tables:
            self._tables.forget()
            self._client.close_connections()
            self._tables.patient.close_connections()

    def keep_house(self, offsets: Offsets) -> None:
        """See whether a snapshot is complete, and every few seconds have the views follow what was published."""
        client, tables = self._connected()
        self._truncations.look_up(client, tables)
        if not self._snapshots.is_done:
            self._snapshots.complete(client, offsets)
        if time.monotonic() - self._served > SERVE:
            self._served = time.monotonic()
            serve_views(client)

    def _until_there(self, batch: Batch) -> None:
        pause, complained = FIRST_PAUSE, 0.0
        began = time.monotonic()
        while True:
            try:
                self._bring(batch)
                break
            except PASSING as error:
                if self._stopping.is_set():
                    raise
                self._metrics.retries.inc()
                if time.monotonic() - complained > 10:
                    complained = time.monotonic()
                    log.warning("a batch waits: %s", words_of(error))
                self.reconnect()
                self._stopping.wait(pause)
                pause = min(2 * pause, LAST_PAUSE)
        if complained:
            log.warning("the batch is in, after %.1f s", time.monotonic() - began)
        self._metrics.batches.observe(time.monotonic() - began)

    def _bring(self, batch: Batch) -> None:
        client, tables = self._connected()
        if batch.snapshot:
            self._snapshots.begin(client, *batch.snapshot)
        if batch.gaps:
            self._note_gaps(client, batch)
        work = {
            topic: self._tables_pool.submit(apply, client, tables, topics.table_of(topic), changes, batch.ready.get(topic), self._given_up)
            for topic, changes in batch.changes.items()
        }
        wait(work.values())
        for topic, changes in batch.changes.items():
            work[topic].result()
            self._truncations.after(client, tables, topics.table_of(topic), changes)
        rejected = [*batch.rejected, *(one for future in work.values() for one in future.result())]
        self._letters.write(rejected)
        if self._snapshots.is_open and (position := batch.read_to()):
            self._snapshots.end(client, read_to=position)
        for topic, changes in batch.changes.items():
            self._metrics.rows.labels(topics.table_of(topic)).inc(len(changes))
        for message, reason in rejected:
            self._metrics.dead_letters.labels(topics.table_of(message.topic())).inc()
            log.warning("dead letter: %s/%d offset %d: %s", message.topic(), message.partition(), message.offset(), reason)

    def _note_gaps(self, client: Client, batch: Batch) -> None:
        """Say which records were missed, and have the views go on without the mirror. Offsets that hold no record, as of a transaction's
        end, or one that was compacted away, are none."""
        there = Offsets().beginnings({gap.partition[0] for gap in batch.gaps})
        lost = [(gap, gap.first) for gap in batch.gaps if gap.first is not None and gap.first < there.get(gap.partition, 0)]
        for gap, _ in lost:
            if topics.table_of(gap.partition[0]) in BY_NAME:
                self._snapshots.spoil(client, gap.lsn)
        if lost:
            listed = [f"{gap.partition[0]}/{gap.partition[1]} offsets {first} to {gap.end - 1}" for gap, first in lost]
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            log.error(LOST, sum(gap.end - first for gap, first in lost), ", ".join(listed[:3]) + more)
        batch.gaps = []

    def _connected(self) -> tuple[Client, Tables]:
        """The client and the tables, when ClickHouse answers."""
        with self._lock:
            if self._client is None or self._tables is None:
                client, patient = (connect(compress=False, connect_timeout=3, send_receive_timeout=seconds) for seconds in (SHORT, LONG))
                tables = Tables(client, patient)
                tables.prepare()
                self._snapshots.load(client)
                self._truncations.look_up(client, tables)
                # a mirror that was killed between a note and the views that follow from it
                serve_views(client)
                self._client, self._tables = client, tables
            return self._client, self._tables
