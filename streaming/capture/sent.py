"""Up to which position of PostgreSQL's log the topics tell of changes, by the last records of each partition."""

from __future__ import annotations

import re
import time
from typing import Any

import orjson
from confluent_kafka import KafkaException, TopicPartition

from streaming import clients
from streaming.capture.outbox import Check
from streaming.topics import PATTERN

# the last records of a partition that are looked at; some are tombstones, which have no position
_LAST = 10


def newest_position(check: Check, seconds: float = 10) -> int:
    """The highest position, in bytes, that the last records of the tables' topics have; 0 when there are none.

    Raises KafkaException or TimeoutError when the broker does not answer in time.
    """
    consumer = clients.consumer("rainbow-capture-sent", None, **{"group.protocol": "classic"})
    until = time.monotonic() + seconds
    try:
        # by pattern, since a table that is captured no longer has its changes there still
        topics = {name: found for name, found in consumer.list_topics(timeout=seconds).topics.items() if _is_table_s(name)}
        left: dict[tuple[str, int], int] = {}
        begin: list[TopicPartition] = []
        for name, found in topics.items():
            for number in found.partitions:
                first, end = consumer.get_watermark_offsets(TopicPartition(name, number), timeout=max(0.1, until - time.monotonic()))
                if first < end:
                    left[name, number] = end
                    begin.append(TopicPartition(name, number, max(first, end - _LAST)))
        consumer.assign(begin)
        newest = 0
        while left:
            check()
            if time.monotonic() > until:
                raise TimeoutError("the broker does not give the last records of the topics")
            for message in consumer.consume(100, 0.1):
                if message.error():
                    raise KafkaException(message.error())
                newest = max(newest, _position(message.value()))
            ahead = consumer.position([TopicPartition(*place) for place in left])
            left = {(p.topic, p.partition): end for p in ahead if p.offset < (end := left[p.topic, p.partition])}
        return newest
    finally:
        consumer.close()


def _is_table_s(topic: str) -> bool:
    return re.match(PATTERN, topic) is not None


def _position(value: bytes | None) -> int:
    try:
        event: Any = orjson.loads(value or b"null")
        return int(event["source"]["lsn"])
    except (ValueError, TypeError, KeyError):
        return 0
