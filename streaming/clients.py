"""Kafka's clients, with the options that this project tuned, in one place: a producer, a consumer, an administrator.

All are confluent-kafka's. Keys go to partitions as Java's clients send them (murmur2). A broker that dies is left within seconds,
and what it had not acknowledged is sent again without gaps or repeats in the log (idempotence).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient

from rainbow import brokers
from rainbow.errors import SettingsError
from rainbow.settings import settings

# the largest event that travels; a producer refuses a larger one, a topic takes it, a consumer has room for it
LARGEST_EVENT = 32 << 20

# what says that a record is refused for its length
TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD)

# librdkafka's own defaults stall for most of a minute after a broker's death
_TUNED: dict[str, Any] = {
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    "socket.timeout.ms": 10_000,
    "socket.keepalive.enable": True,
    "topic.metadata.refresh.fast.interval.ms": 50,
    "allow.auto.create.topics": False,
}

# what librdkafka says of connections that come and go is no news to a user; errors come by the callbacks
_SILENT = logging.getLogger("rainbow.kafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def servers() -> str:
    """The brokers that the settings name, ``host:port,host:port``.

    Raises SettingsError when they name none.
    """
    named = settings().kafka_servers
    if not named:
        raise SettingsError("kafka has no address: run `rainbow up --stream`, or set RAINBOW_KAFKA_SERVERS to brokers that run elsewhere")
    return named


def producer(on_failure: Callable[[Any, Any], None], on_error: Callable[[Any], None] | None = None, **options: Any) -> Producer:
    """A producer whose records are acknowledged by all replicas, in order, once each.

    It tries for ever, so a record is lost only if the broker refuses it for good: ``on_failure(error, message)`` is called for
    those alone. What is unsent is bounded by bytes; ``produce`` raises BufferError when that is full. ``options`` are librdkafka's.
    """
    return Producer(
        {
            **_common(),
            "acks": "all",
            "enable.idempotence": True,
            # with more, librdkafka may count a record that a broker refused while it came back as acknowledged, because one sent after it was
            # taken (confluent-kafka-go's issue 921); it costs no throughput that could be measured
            "max.in.flight.requests.per.connection": 1,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 5,
            "message.timeout.ms": 0,
            "message.max.bytes": LARGEST_EVENT,
            # room for the largest event; and for what a broker takes in some tenths of a second, each with librdkafka's own 200 bytes or more
            "queue.buffering.max.kbytes": (LARGEST_EVENT >> 10) + 1024,
            "queue.buffering.max.messages": 40_000,
            "retry.backoff.ms": 100,
            "retry.backoff.max.ms": 1000,
            "on_delivery": on_failure,
            "delivery.report.only.error": True,
            "error_cb": on_error or _ignore,
            **options,
        }
    )


def consumer(group: str, on_error: Callable[[Any], None] | None = None, **options: Any) -> Consumer:
    """A member of a group, which commits when it is told to and begins at the oldest record. ``options`` are librdkafka's."""
    return Consumer(
        {
            **_common(),
            "group.id": group,
            "group.protocol": "consumer",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.error.backoff.ms": 100,
            "receive.message.max.bytes": 200 << 20,
            "error_cb": on_error or _ignore,
            **options,
        }
    )


def administrator() -> AdminClient:
    """What makes topics and looks them up."""
    options: dict[str, Any] = {**_common(), "error_cb": _ignore}
    return AdminClient(options)


def _common() -> dict[str, Any]:
    return {**_TUNED, **brokers.access(), "bootstrap.servers": servers(), "client.id": "rainbow", "logger": _SILENT}


def _ignore(_error: Any) -> None:
    """Errors of a connection are tried again by the client itself."""
