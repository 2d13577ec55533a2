"""What capture remembers beside its slot: which snapshot is complete, and of which tables, in the compacted topic ``rainbow.capture``.

It lives where the events live. So a slot without a note, or a note without its slot, says that a snapshot is needed.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streaming import clients
from streaming.capture.outbox import Check, Outbox
from streaming.capture.slot import SLOT
from streaming.topics import CAPTURE

_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART)


@dataclass(frozen=True)
class Note:
    """A complete snapshot: the slot, its position and transaction, the server and database, the publication's id, and the tables with
    their ids.

    ``members`` are the ids of the tables' memberships in the publication: a table that left it and came back has another one. ``done`` is
    False from the moment on at which the slot is given up for another: a note that is not done says nothing.
    """

    slot: str
    lsn: int
    txid: int
    system: str
    database: str
    publication: int
    tables: dict[str, int]
    members: dict[str, int] = field(default_factory=dict)
    done: bool = True


def write(outbox: Outbox, note: Note, check: Check) -> None:
    """Note a snapshot, once all of its records are acknowledged."""
    outbox.drain(check)
    outbox.send(CAPTURE, orjson.dumps(asdict(note)), note.slot.encode(), check)
    outbox.drain(check)


def read(check: Check, seconds: float = 10) -> Note | None:
    """The newest note of the slot. Raises KafkaException when the broker does not answer in time."""
    consumer = clients.consumer("rainbow-capture-notes", None, **{"group.protocol": "classic"})
    try:
        return _newest(consumer, time.monotonic() + seconds, check)
    finally:
        consumer.close()


def _newest(consumer: Consumer, until: float, check: Check) -> Note | None:
    end = _end(consumer, until, check)
    consumer.assign([TopicPartition(CAPTURE, 0, OFFSET_BEGINNING)])
    found: Note | None = None
    while consumer.position([TopicPartition(CAPTURE, 0)])[0].offset < end and end:
        check()
        if time.monotonic() > until:
            raise TimeoutError(f"the broker does not give what is in {CAPTURE}")
        message: Any = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        if message.key() == SLOT.encode():
            found = _parsed(message.value())
    return found


def _end(consumer: Consumer, until: float, check: Check) -> int:
    """The topic's end; a topic that was made a moment ago has no leader yet."""
    while True:
        try:
            end: int = consumer.get_watermark_offsets(TopicPartition(CAPTURE, 0), timeout=max(0.1, until - time.monotonic()))[1]
            return end
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER_YET or time.monotonic() > until:
                raise
            check()
            time.sleep(0.1)


def _parsed(value: bytes | None) -> Note | None:
    """A note that was written by another version says nothing."""
    try:
        fields = orjson.loads(value or b"null")
        return Note(**fields) if fields.get("done") and isinstance(fields.get("tables"), dict) else None
    except (TypeError, ValueError, AttributeError):
        return None
