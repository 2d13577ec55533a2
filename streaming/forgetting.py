"""Forgets what the speed layer has, so that it begins anew: the slot, the topics, ClickHouse's copy and the views that go by it."""

from __future__ import annotations

import re
import time

import psycopg
from confluent_kafka import KafkaError, KafkaException

from rainbow.errors import LockedError, ServiceError
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.serving import serve
from rainbow.source.connection import connect
from streaming import topics
from streaming.capture import slot
from streaming.clients import administrator

_SECONDS = 20.0


def forget() -> None:
    """Drop the slot, the topics of capture and the mirror's database; the views show the batch alone from then on. May be repeated.

    Raises LockedError while a capture or a mirror runs, ServiceError when a service does not answer.
    """
    with connect(autocommit=True) as connection, connect_clickhouse() as clickhouse:
        slot.lock(connection, None, 0, lambda: None)
        if _is_mirrored():
            raise LockedError(
                "a mirror runs: stop it first (one that was killed counts as running until Kafka has missed it, a minute at most)"
            )
        try:
            slot.drop(connection)
        except psycopg.Error as error:
            raise ServiceError(f"the slot {slot.SLOT} cannot be dropped: {slot.reason(error)}") from error
        try:
            _delete_topics()
        except KafkaException as error:
            raise ServiceError(f"the topics cannot be deleted: {error.args[0].str()}; see `rainbow status`") from error
        clickhouse.command("drop database if exists mirror sync")
        serve(clickhouse)


def _is_mirrored() -> bool:
    """Whether the mirrors' group has members."""
    admin = administrator()
    try:
        return bool(admin.describe_consumer_groups([topics.GROUP], request_timeout=_SECONDS)[topics.GROUP].result(_SECONDS).members)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return False
        raise ServiceError(f"Kafka does not tell whether a mirror runs: {error.args[0].str()}; see `rainbow status`") from error


def _delete_topics() -> None:
    """Delete the topics, and wait until they are gone."""
    admin = administrator()
    until = time.monotonic() + _SECONDS
    while names := [name for name in admin.list_topics(timeout=_SECONDS).topics if _is_ours(name)]:
        answers = admin.delete_topics(names, operation_timeout=_SECONDS)
        for answer in answers.values():
            try:
                answer.result(_SECONDS)
            except KafkaException as error:
                # it is on its way out already
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        if time.monotonic() > until:
            raise ServiceError(f"topics are still there after {_SECONDS:g} s: {', '.join(names[:3])}")
        time.sleep(0.1)


def _is_ours(topic: str) -> bool:
    return topic in (topics.CAPTURE, topics.DEAD_LETTERS) or re.match(topics.PATTERN, topic) is not None
