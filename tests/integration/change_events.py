"""Change events written by hand, as capture or Debezium writes them, and a topic to put them into."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streaming import topics
from streaming.clients import administrator, producer

Row = dict[str, Any]
Event = tuple[str, bytes | None, bytes | None, int | None]

# 2024-09-01, in milliseconds
COMMITTED = 1_725_148_800_000


def row(table: str, key: int, **values: Any) -> Row:
    """A row in the form of events; only what a test is about is given."""
    times = {"created_at": "2024-09-01T10:00:00Z", "updated_at": "2024-09-01T10:00:00.5Z"}
    others: dict[str, Row] = {
        "brands": {"name": "Bách Hoá"},
        "products": {
            "name": "Oolong",
            "price": "10.5000",
            "original_price": None,
            "rating_average": None,
            "review_count": 3,
            "sold_count": 0,
            "category_id": 1,
            "seller_id": 1,
            "brand_id": None,
            "promotion_id": None,
        },
        "orderdetails": {
            "order_id": 1,
            "product_id": 1,
            "promotion_id": None,
            "quantity": 2,
            "price": "10.5000",
            "amount": "21.00",
            "discount": "1.00",
        },
        "orders": {"customer_id": 1, "payment_id": 1},
    }
    return {"id": key, **others.get(table, {}), **times, **values}


def event(
    table: str,
    op: str,
    lsn: int,
    *,
    before: Row | None = None,
    after: Row | None = None,
    key: Row | None = None,
    snapshot: str = "false",
    txid: int = 700,
    committed: int = COMMITTED,
    partition: int | None = None,
) -> Event:
    """An event: topic, key, value, and its partition where the key does not say."""
    source = {
        "version": "1",
        "connector": "postgresql",
        "name": "rainbow",
        "ts_ms": committed,
        "snapshot": snapshot,
        "db": "rainbow",
        "schema": "public",
        "table": table,
        "txId": txid,
        "lsn": lsn,
        "xmin": None,
    }
    key = key or {"id": (after or before or {}).get("id")}
    value = {"before": before, "after": after, "source": source, "op": op, "ts_ms": committed + 5}
    return topics.topic_of(table), None if op == "t" else as_json(key), as_json(value), partition


def tombstone(table: str, key: Row) -> Event:
    """What follows a delete."""
    return topics.topic_of(table), as_json(key), None, None


def truncation(table: str, lsn: int, **about: Any) -> Iterator[Event]:
    """A truncate: one event to each partition."""
    return (event(table, "t", lsn, partition=number, **about) for number in range(topics.PARTITIONS))


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def send(events: Iterable[Event]) -> None:
    """Put events into their topics, which are made when they are not there; all are acknowledged when this returns."""
    refused: list[Any] = []
    to = producer(lambda error, _message: refused.append(error))
    events = list(events)
    topics.create({topic for topic, *_ in events}, administrator())
    for topic, key, value, partition in events:
        while True:
            try:
                to.produce(topic, key=key, value=value, **({} if partition is None else {"partition": partition}))
                break
            except BufferError:
                to.poll(0.1)
    to.flush()
    assert not refused, refused


def forget_topics() -> None:
    """Remove every topic of the speed layer, and what its group had committed."""
    admin: AdminClient = administrator()
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(f"{topics.PREFIX}.")]
    for removed in (admin.delete_topics(names) if names else {}).values():
        removed.result()
    for gone in itertools.repeat(None, 100):
        try:
            for group in admin.delete_consumer_groups([topics.GROUP]).values():
                group.result()
            break
        except KafkaException as error:
            assert gone is None
            if error.args[0].name() == "GROUP_ID_NOT_FOUND":
                break
