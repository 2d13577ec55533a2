"""Offsets that were passed over: of records that the broker no longer has, of none at all, or of records that the client left out."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from rainbow.errors import ServiceError
from streaming import topics
from streaming.clients import consumer

# a partition of a topic
Partition = tuple[str, int]


@dataclass
class Gap:
    """Offsets of a partition that were passed over, from ``first`` up to ``end``.

    ``first`` is None where the group's own offset says it, as for the first message of a partition that was just assigned. ``lsn`` is the
    position of the first change behind them, None while no change was read.
    """

    partition: Partition
    first: int | None
    end: int
    lsn: int | None = None


def placed(gaps: Sequence[Gap], member: Consumer, seconds: float) -> list[Gap]:
    """The gaps, each with its ``first``: where the group was, by a member of it; those that turn out to be none are left out.

    Raises KafkaException when the broker does not tell within these seconds.
    """
    unknown = [TopicPartition(*gap.partition) for gap in gaps if gap.first is None]
    if unknown:
        found = member.committed(unknown, timeout=seconds)
        if failed := next((p.error for p in found if p.error), None):
            raise KafkaException(failed)
        known = {(p.topic, p.partition): max(p.offset, 0) for p in found}
        for gap in gaps:
            gap.first = known.get(gap.partition, gap.end) if gap.first is None else gap.first
    return [gap for gap in gaps if gap.first is not None and gap.first < gap.end]


class GapReader:
    """Reads gaps once more, with a client of its own: librdkafka's state of a partition may be wrong after a broker's return."""

    def __init__(self) -> None:
        self._reader: Consumer | None = None
        self._is_reading = False

    def left_out(self, gaps: Iterable[Gap], seconds: float) -> set[Partition]:
        """The partitions that have records in one of their gaps; a gap without ``first`` is not looked at.

        The offsets of a transaction's end, or of what was compacted away, hold none. Raises KafkaException or ServiceError when the broker
        says nothing for these seconds.
        """
        left: dict[Partition, deque[tuple[int, int]]] = defaultdict(deque)
        for gap in sorted((gap for gap in gaps if gap.first is not None), key=lambda gap: gap.end):
            left[gap.partition].append((gap.first or 0, gap.end))
        if self._is_reading:
            # it was left in the middle: what it has queued is of no use
            self.close()
        if self._reader is None:
            self._reader = consumer(f"{topics.GROUP}-gaps", None, **_OPTIONS)
        self._is_reading = True
        self._reader.assign([TopicPartition(*place, waiting[0][0]) for place, waiting in left.items()])
        found: set[Partition] = set()
        deadline = time.monotonic() + seconds
        while left:
            messages = self._reader.consume(1000, min(0.1, max(deadline - time.monotonic(), 0)))
            if messages:
                deadline = time.monotonic() + seconds
            elif time.monotonic() > deadline:
                raise ServiceError(f"Kafka does not tell whether records of {next(iter(left))[0]} were passed over")
            for message in messages:
                self._take(message, left, found)
        self._reader.unassign()
        self._is_reading = False
        return found

    def close(self) -> None:
        """Leave the broker; the next call connects again."""
        reader, self._reader = self._reader, None
        if reader:
            reader.close()

    @staticmethod
    def _take(message: Any, left: dict[Partition, deque[tuple[int, int]]], found: set[Partition]) -> None:
        """See in which gap a record is. A partition of which no gap is left to be looked at, or in which one was found, goes from ``left``."""
        place, error = (message.topic(), message.partition()), message.error()
        if error and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        waiting = left.get(place)
        if waiting is None:
            return
        while waiting and (error or waiting[0][1] <= message.offset()):
            waiting.popleft()
        if waiting and waiting[0][0] <= message.offset():
            found.add(place)
            waiting.clear()
        if not waiting:
            del left[place]


# what lies between the first and the last gap of a batch is read once more
_OPTIONS = {
    "enable.partition.eof": True,
    "queued.max.messages.kbytes": 1 << 10,
    "queued.min.messages": 1,
    "fetch.max.bytes": 1 << 20,
    "fetch.message.max.bytes": 32 << 10,
    "fetch.wait.max.ms": 10,
    # a second by default, for which each full queue would stand still once it is emptied
    "fetch.queue.backoff.ms": 5,
}
