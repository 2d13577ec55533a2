"""The mirror's loop: gather messages, bring them into ClickHouse, commit the offsets.

While one batch is being brought in, by a thread of its own, the next is gathered; offsets are committed only when ClickHouse and,
for dead letters, the broker have acknowledged. So a mirror may be killed at any moment, and what it had not committed is read again.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from rainbow.settings import settings
from streaming import topics
from streaming.clients import consumer
from streaming.mirror.batch import Batch
from streaming.mirror.gaps import Partition
from streaming.mirror.metrics import Metrics
from streaming.mirror.trust import Trust
from streaming.mirror.writer import FIRST_PAUSE, LAST_PAUSE, PASSING, Writer
from streaming.progress import Offsets

log = logging.getLogger("rainbow.mirror")

# messages that are taken from the client at a time
CHUNK = 1000
# bytes of messages in a batch; big values make it shorter than its rows would
BYTES = 16 << 20
# seconds without progress after which a partition is paused, and after which a partition that is taken away is given up unfinished
IMPATIENT, PATIENCE = 1.0, 8.0
# seconds between looks at an unfinished snapshot and at new topics
LOOK = 0.5

# of malloc.h
_ARENA_MAX, _TRIM_THRESHOLD = -8, -1


class Mirror:
    """One member of the group. ``run`` returns after ``stop`` was called, from any thread."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        chosen = settings()
        self._seconds = chosen.mirror_batch_seconds
        self._rows = chosen.mirror_batch_rows
        self.metrics = metrics or Metrics()
        self._stopping = threading.Event()
        self._consumer = consumer(topics.GROUP, self._note_error, **_OPTIONS)
        self._trust = Trust(self._consumer)
        self._writer = Writer(self.metrics, self._stopping)
        # where each partition goes on
        self._expected: dict[Partition, int] = {}
        self._batch = Batch(self._expected)
        self._flight: tuple[Batch, Future[None]] | None = None
        self._owned: set[Partition] = set()
        self._uncommitted: dict[Partition, int] = {}
        self._paused = False
        self._complained = 0.0
        self._found: tuple[str, ...] = ()
        self._subscribed: tuple[str, ...] = ()

    def stop(self) -> None:
        """Let ``run`` end: what was read is brought in and committed first, if ClickHouse answers."""
        self._stopping.set()

    def run(self) -> None:
        """Mirror until stopped."""
        housekeeping = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        housekeeping.start()
        try:
            while not self._stopping.is_set():
                self._look()
                self._exchange()
                self._subscribe()
                self._resume()
                self._gather()
                self._land()
                self._launch()
            self._settle(PATIENCE)
        finally:
            self._stopping.set()
            with suppress(KafkaException):
                self._consumer.close()
            self._trust.close()
            self._writer.close()
            housekeeping.join(PATIENCE)

    def _subscribe(self) -> None:
        """Ask for the topics that there are. By names: a pattern is looked at by the broker, which finds a new topic after 10 s or more."""
        found = self._found
        if found != self._subscribed:
            self._subscribed = found
            self._consumer.subscribe(list(found), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def _look(self) -> None:
        """While nothing is on its way, see whether partitions bring all that they have; what has expired unread is brought in as a gap."""
        if self._flight is None and not self._batch.messages:
            for gap in self._trust.look_at_partitions(self._owned, self._expected):
                self._batch.skip(gap)
            self._launch()

    def _exchange(self) -> None:
        """Go on with another client, as a new member of the group, if this one is not to be trusted; what is not committed is read again."""
        if not self._trust.lost:
            return
        log.warning("%s; joining the group again", self._trust.lost)
        self._settle(PATIENCE)
        self._trust.close()
        left, self._consumer = self._consumer, consumer(topics.GROUP, self._note_error, **_OPTIONS)
        self._trust = Trust(self._consumer)
        self._give_up(self._owned)
        self._subscribed = ()
        # by a thread of its own: a client that has lost its group may wait for it for ever
        threading.Thread(target=_close, args=(left,), name="closing", daemon=True).start()

    def _keep_house(self) -> None:
        """Until stopped: look for new topics, see whether a snapshot is complete, have the views follow."""
        offsets = Offsets()
        while not self._stopping.is_set():
            try:
                # a broker that is just coming back may know of none yet
                self._found = tuple(offsets.topics()) or self._found
                self._trust.look_at_group(offsets, self._owned, self._subscribed)
                self._writer.keep_house(offsets)
            except PASSING as error:
                log.debug("housekeeping: %s", error)
                offsets = Offsets()
                self._writer.reconnect()
            except Exception:
                # the mirror must not go on without it
                log.exception("housekeeping")
            self._stopping.wait(LOOK)

    def _gather(self) -> None:
        """Read until the batch is old or large enough; return early when there is nothing to read and something to commit.

        While the one before is still being brought in, a batch may grow older: an insert costs more by itself than by its rows.
        """
        while not self._stopping.is_set():
            # another one is in its place when partitions were taken away meanwhile
            batch = self._batch
            if not batch.messages and (self._found != self._subscribed or self._trust.is_look_due):
                return
            if not batch.messages:
                got = self._consume(1, 0.02 if self._flight else 0.25)
                if not got and (self._flight or self._uncommitted):
                    return
                batch.began = time.monotonic()
            left = batch.began + self._seconds - time.monotonic()
            if batch.messages and (batch.messages >= self._rows or batch.bytes >= BYTES):
                return
            if batch.messages and left <= 0:
                if self._flight is None or self._flight[1].done():
                    return
                left = 0.01
            if batch.messages:
                self._consume(min(CHUNK, self._rows - batch.messages), left)

    def _consume(self, count: int, seconds: float) -> int:
        owned = self._owned
        messages = self._consumer.consume(count, timeout=max(seconds, 0))
        return self._take(messages, sift=owned is not self._owned)

    def _take(self, messages: list[Any], *, sift: bool) -> int:
        """Put messages into the batch; ``sift`` leaves out those of partitions that were given up while they were fetched."""
        if any(message.error() for message in messages):
            for message in messages:
                if message.error():
                    self._note_error(message.error())
            messages = [message for message in messages if not message.error()]
        if sift:
            messages = [message for message in messages if (message.topic(), message.partition()) in self._owned]
        self._batch.add(messages)
        self._batch.messages += len(messages)
        self._batch.bytes += sum(map(len, messages))
        return len(messages)

    def _launch(self) -> None:
        if self._flight is None and (self._batch.messages or self._batch.gaps) and self._trust.is_whole(self._batch):
            batch, self._batch = self._batch, Batch(self._expected)
            self._expected.update(batch.ends)
            self._trust.note_progress(batch.ends)
            self._flight = batch, self._writer.bring(batch)

    def _land(self) -> None:
        """Wait for the batch that is being brought in; the partitions are paused meanwhile, if it takes long, and polled."""
        began = time.monotonic()
        if self._batch.messages and not self._finish(0):
            self._writer.prepare(self._batch)
        while not self._finish(0.2) and not self._stopping.is_set():
            if time.monotonic() - began < IMPATIENT:
                continue
            self._paused = True
            with suppress(KafkaException):
                self._consumer.pause(self._consumer.assignment())
            owned = self._owned
            message = self._consumer.poll(0)
            if message is not None:
                self._take([message], sift=owned is not self._owned)
        self._resume()
        self._commit()

    def _resume(self) -> None:
        """Read on, all partitions: one that was paused when it was given up is still paused when it comes back."""
        if self._paused:
            self._paused = False
            with suppress(KafkaException):
                self._consumer.resume(self._consumer.assignment())

    def _finish(self, seconds: float) -> bool:
        """Whether nothing is being brought in, after at most these seconds; what was is committed."""
        if self._flight is None:
            return True
        batch, future = self._flight
        if not wait([future], seconds).done:
            return False
        self._flight = None
        future.result()
        self._uncommitted.update(batch.ends)
        return True

    def _settle(self, seconds: float) -> None:
        """Bring in and commit all that was read, as far as these seconds allow."""
        deadline = time.monotonic() + seconds
        if self._finish(seconds):
            self._launch()
            self._finish(max(deadline - time.monotonic(), 0))
        self._commit(deadline)

    def _commit(self, deadline: float = 0.0) -> None:
        """Commit what was brought in, again until the deadline when the broker does not take it; what is left is kept for the next time."""
        while self._uncommitted:
            offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in self._uncommitted.items()]
            try:
                answers = self._consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:
                self._note_error(error.args[0])
                answers = []
            for answer in answers or ():
                if answer.error is None:
                    self._uncommitted.pop((answer.topic, answer.partition), None)
                else:
                    self._note_error(answer.error)
            if time.monotonic() >= deadline:
                return
            if self._uncommitted:
                time.sleep(FIRST_PAUSE)

    def _on_assign(self, member: Any, partitions: list[TopicPartition]) -> None:
        if member is not self._consumer:
            return
        assigned = {(p.topic, p.partition) for p in partitions}
        self._owned = self._owned | assigned
        self._trust.note_progress(assigned)
        self._paused = True
        self.metrics.partitions.set(len(self._owned))

    def _on_revoke(self, member: Any, partitions: list[TopicPartition]) -> None:
        """Finish what was read of partitions that another mirror is to have, then give them up."""
        if member is not self._consumer:
            return
        given = {(p.topic, p.partition) for p in partitions}
        flight = self._flight[0].ends if self._flight else {}
        if given & (flight.keys() | self._batch.ends.keys() | self._uncommitted.keys()):
            self._settle(PATIENCE)
        self._give_up(given)

    def _on_lost(self, member: Any, partitions: list[TopicPartition]) -> None:
        """The group took the partitions away without asking: another mirror reads again what was not committed."""
        if member is not self._consumer:
            return
        self._give_up({(p.topic, p.partition) for p in partitions})

    def _give_up(self, partitions: set[Partition]) -> None:
        self._owned = self._owned - partitions
        self.metrics.partitions.set(len(self._owned))
        flight = self._flight[0].ends if self._flight else {}
        for offsets in (flight, self._uncommitted):
            for partition in partitions:
                offsets.pop(partition, None)
        self._batch.give_up(partitions)
        for partition in partitions:
            self._expected.pop(partition, None)
        self._trust.forget(partitions)

    def _note_error(self, error: Any) -> None:
        """An error that the client passes on: most pass, one that does not ends the mirror."""
        if error.code() == KafkaError._PARTITION_EOF:
            return
        if error.fatal():
            raise KafkaException(error)
        if time.monotonic() - self._complained > LAST_PAUSE:
            self._complained = time.monotonic()
            log.warning("Kafka: %s", error.str())


# what is fetched ahead is bounded: small answers, since they come packed some ten to one and each message costs its room in the queue
_OPTIONS = {
    "queued.max.messages.kbytes": 8 << 10,
    "queued.min.messages": 10_000,
    "fetch.message.max.bytes": 128 << 10,
    "fetch.max.bytes": 1 << 20,
    "fetch.wait.max.ms": 50,
    # a second by default, for which a full queue would stand still once it is emptied
    "fetch.queue.backoff.ms": 5,
    "topic.metadata.refresh.interval.ms": 10_000,
    "enable.auto.offset.store": False,
}


def _close(member: Consumer) -> None:
    with suppress(KafkaException):
        member.close()


def run(before: Callable[[Mirror], None]) -> None:
    """Mirror until ``stop`` is called; ``before`` is given the mirror before it begins."""
    _keep_small()
    mirror = Mirror()
    port = settings().mirror_metrics_port
    if port is not None:
        log.info("metrics at http://127.0.0.1:%d/metrics", mirror.metrics.serve(port))
    before(mirror)
    mirror.run()


def _keep_small() -> None:
    """Have the C library keep two heaps rather than one a thread, and give back early what is free; elsewhere than on Linux, nothing.

    Arrow's own allocator would keep some 20 MB more.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, 2)
        library.mallopt(_TRIM_THRESHOLD, 1 << 20)
