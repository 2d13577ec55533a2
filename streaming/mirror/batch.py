"""A batch of messages: what they tell, by topic, which of them cannot be used, and up to where they reach."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable

import pyarrow as pa

from rainbow.source.tables import BY_NAME
from streaming import topics
from streaming.mirror.applying import Rejected
from streaming.mirror.envelopes import Change, Message, Truncation, UnusableError, read
from streaming.mirror.tables import MirrorTable

log = logging.getLogger("rainbow.mirror")

# a partition of a topic
Partition = tuple[str, int]


class Batch:
    """Messages on their way: changes by topic, in order; messages that cannot be used; the next offset of each partition."""

    def __init__(self) -> None:
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
            topic = message.topic()
            ends[topic, message.partition()] = message.offset() + 1
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
                if change.snapshot:
                    self._note(topics.table_of(topic), change)

    def _note(self, table: str, change: Change | Truncation) -> None:
        """Note a snapshot. One of tables that nobody declared is nothing to the views: they go on with the batch."""
        if table in BY_NAME and (self.snapshot is None or change.lsn > self.snapshot[0]):
            self.snapshot = change.lsn, change.txid
        if change.snapshot == "last":
            self.snapshot_ended = max(self.snapshot_ended, change.lsn)

    def read_to(self) -> int:
        """The position up to which a snapshot is surely whole in the topics, by these events; 0 when they do not say."""
        streamed = max((c.lsn - 1 for changes in self.changes.values() for c in changes if not c.snapshot), default=0)
        return max(streamed, self.snapshot_ended)
