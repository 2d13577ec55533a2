"""Offsets that were passed over: of records that the broker no longer has, of none at all, or of records that the client left out."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
        does not tell within these seconds.
        """
        left: dict[Partition, list[tuple[int, int]]] = defaultdict(list)
        for gap in gaps:
            if gap.first is not None:
                left[gap.partition].append((gap.first, gap.end))
        found: set[Partition] = set()
        deadline = time.monotonic() + seconds
        if self._is_reading:
            # it was left in the middle: what it has queued is of no use
            self.close()
        self._is_reading = True
        while left:
            self._read_first(left, found, deadline)
        self._is_reading = False
        return found

    def close(self) -> None:
        """Leave the broker; the next call connects again."""
        reader, self._reader = self._reader, None
        if reader:
            reader.close()

    def _read_first(self, left: dict[Partition, list[tuple[int, int]]], found: set[Partition], deadline: float) -> None:
        """Read the first gap of each partition, take it from ``left``, and note those partitions that have a record there."""
        if self._reader is None:
            self._reader = consumer(f"{topics.GROUP}-gaps", None, **_OPTIONS)
        reader = self._reader
        reader.assign([TopicPartition(*place, gaps[0][0]) for place, gaps in left.items()])
        waiting = {place: gaps.pop(0)[1] for place, gaps in left.items()}
        while waiting:
            message = reader.poll(max(deadline - time.monotonic(), 0))
            if message is None:
                raise ServiceError(f"Kafka does not tell whether records of {next(iter(waiting))[0]} were passed over")
            error = message.error()
            if error and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            place = message.topic() or "", message.partition() or 0
            end = waiting.pop(place, None)
            if end is not None and not error and (message.offset() or 0) < end:
                found.add(place)
        reader.unassign()
        for place in [place for place, gaps in left.items() if place in found or not gaps]:
            del left[place]


# one record of each partition is of interest
_OPTIONS = {
    "enable.partition.eof": True,
    "queued.max.messages.kbytes": 1 << 10,
    "queued.min.messages": 1,
    "fetch.max.bytes": 1 << 20,
    "fetch.message.max.bytes": 32 << 10,
    "fetch.wait.max.ms": 10,
}
