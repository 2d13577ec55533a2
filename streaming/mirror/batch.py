"""A batch of messages: what they tell, by topic, which of them cannot be used, and up to where they reach."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import pyarrow as pa

from rainbow.source.tables import BY_NAME
from streaming import topics
from streaming.mirror.applying import Rejected
from streaming.mirror.envelopes import Change, Message, Truncation, UnusableError, read
from streaming.mirror.gaps import Gap, Partition
from streaming.mirror.tables import MirrorTable

log = logging.getLogger("rainbow.mirror")


class Batch:
    """Messages on their way: changes by topic, in order; messages that cannot be used; the next offset of each partition.

    ``expected``: the offsets at which partitions go on, of those of which that is known; kept by the caller.
    """

    def __init__(self, expected: Mapping[Partition, int] | None = None) -> None:
        self._expected = expected if expected is not None else {}
        self.gaps: list[Gap] = []
        self._open_gaps: dict[Partition, Gap] = {}
        self.changes: dict[str, list[Change | Truncation]] = defaultdict(list)
        self.rejected: list[Rejected] = []
        self.ends: dict[Partition, int] = {}
        # what was made of a topic's changes in advance, and for which table; of no use once more changes came
        self.ready: dict[str, tuple[MirrorTable, pa.Table]] = {}
        self.messages = 0
        self.bytes = 0
        self.began = 0.0
        # of the newest snapshot that an event tells of: position and transaction; and the position of one whose last event is here
        self.snapshot: tuple[int, int] | None = None
        self.snapshot_ended = 0

    def add(self, messages: Iterable[Message]) -> None:
        """Take messages in."""
        changes, ends = self.changes, self.ends
        for message in messages:
            topic, offset = message.topic(), message.offset()
            partition = topic, message.partition()
            if ends.get(partition) != offset:
                if offset < ends.get(partition, 0):
                    self._forget(partition, offset)
                self._look_for_gap(partition, offset)
            ends[partition] = offset + 1
            try:
                change = read(message)
            except UnusableError as reason:
                self.rejected.append((message, str(reason)))
                continue
            except Exception as error:
                log.exception("a message that the mirror cannot cope with")
                self.rejected.append((message, f"the mirror cannot cope with it: {type(error).__name__}: {error}"))
                continue
            if change is not None:
                changes[topic].append(change)
                if self._open_gaps:
                    self._close_gap(partition, change)
                if change.snapshot:
                    self._note(topics.table_of(topic), change)

    def skip(self, gap: Gap) -> None:
        """Go on behind a gap after which no message has come yet."""
        self.gaps.append(gap)
        self.ends[gap.partition] = gap.end

    def give_up(self, partitions: Collection[Partition]) -> None:
        """Forget what was read of partitions that this mirror no longer has: who has them reads it again, from the group's offset on.

        It must not stay here beside what is read again: a row would be before its own earlier version, and what an event leaves out would
        be taken from a later one.
        """
        for partition in partitions:
            self.ends.pop(partition, None)
            self._forget(partition)

    def _forget(self, partition: Partition, first: int = 0) -> None:
        """Forget what was read of a partition from an offset on."""

        def stays(message: Message) -> bool:
            return (message.topic(), message.partition()) != partition or (message.offset() or 0) < first

        topic = partition[0]
        self._open_gaps.pop(partition, None)
        self.gaps = [gap for gap in self.gaps if gap.partition != partition or gap.end < first]
        self.rejected = [one for one in self.rejected if stays(one[0])]
        if topic in self.changes:
            self.changes[topic] = [change for change in self.changes[topic] if stays(change.message)]
            self.ready.pop(topic, None)

    def _note(self, table: str, change: Change | Truncation) -> None:
        """Note a snapshot. One of tables that nobody declared is nothing to the views: they go on with the batch."""
        if table in BY_NAME and (self.snapshot is None or change.lsn > self.snapshot[0]):
            self.snapshot = change.lsn, change.txid
        if change.snapshot == "last":
            self.snapshot_ended = max(self.snapshot_ended, change.lsn)

    def _look_for_gap(self, partition: Partition, offset: int) -> None:
        expected = self.ends.get(partition, self._expected.get(partition))
        if expected is None or offset > expected:
            gap = self._open_gaps[partition] = Gap(partition, expected, offset)
            self.gaps.append(gap)

    def _close_gap(self, partition: Partition, change: Change | Truncation) -> None:
        gap = self._open_gaps.pop(partition, None)
        if gap and change.snapshot and isinstance(change, Truncation):
            # a snapshot begins, which makes up for them
            self.gaps.remove(gap)
        elif gap:
            gap.lsn = change.lsn

    def read_to(self) -> int:
        """The position up to which a snapshot is surely whole in the topics, by these events; 0 when they do not say."""
        streamed = max((c.lsn - 1 for changes in self.changes.values() for c in changes if not c.snapshot), default=0)
        return max(streamed, self.snapshot_ended)
