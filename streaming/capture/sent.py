"""Up to which position of PostgreSQL's log the topics tell of changes, by the last records of each partition."""

from __future__ import annotations

import re
import time
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streaming import clients
from streaming.capture.outbox import Check
from streaming.topics import PATTERN

# the last records of a partition that are looked at; some are tombstones, which have no position
_LAST = 10


def newest_position(check: Check, seconds: float = 10) -> int:
    """The highest position, in bytes, that the last records of the tables' topics have; 0 when there are none.

    Raises KafkaException or TimeoutError when the broker does not answer in time.
    """
    consumer = clients.consumer("rainbow-capture-sent", None, **{"group.protocol": "classic", "enable.partition.eof": True})
    until = time.monotonic() + seconds
    try:
        # by pattern: the topic of a table that is captured no longer is there still
        found = {name: topic for name, topic in consumer.list_topics(timeout=seconds).topics.items() if re.match(PATTERN, name)}
        left = [TopicPartition(name, number) for name, topic in found.items() for number in topic.partitions]
        for one in left:
            first, end = consumer.get_watermark_offsets(one, timeout=max(0.1, until - time.monotonic()))
            one.offset = max(first, end - _LAST)
        consumer.assign(left)
        reading = {(one.topic, one.partition) for one in left}
        newest = 0
        while reading:
            check()
            if time.monotonic() > until:
                raise TimeoutError("the broker does not give the last records of the topics")
            for message in consumer.consume(100, 0.1):
                error = message.error()
                if error is None:
                    newest = max(newest, _position(message.value()))
                elif error.code() == KafkaError._PARTITION_EOF:
                    reading.discard((message.topic() or "", message.partition() or 0))
                else:
                    raise KafkaException(error)
        return newest
    finally:
        consumer.close()


def _position(value: bytes | None) -> int:
    try:
        event: Any = orjson.loads(value or b"null")
        return int(event["source"]["lsn"])
    except (ValueError, TypeError, KeyError):
        return 0
