"""The topics of the speed layer: names, and how they are cut. The same as Debezium's, so that it can take capture's place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rainbow.source.tables import TABLES, Table

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

PREFIX = "rainbow"
SCHEMA = "public"

# what a mirror subscribes to: a new table's topic is found by itself
PATTERN = rf"^{PREFIX}\.{SCHEMA}\..*"

# what the mirror could not use, with the reason
DEAD_LETTERS = f"{PREFIX}.dead-letters"

# what capture has to remember beside its slot: which initial snapshot is complete; compacted, one partition
CAPTURE = f"{PREFIX}.capture"

# the mirrors' consumer group
GROUP = f"{PREFIX}-mirror"

PARTITIONS = 3
REPLICAS = 2

# a row with its image before the change, as JSON, and some room: a producer refuses what is larger than 32 MB, see ``clients``
LARGEST_RECORD = 33 << 20


def topic_of(table: str) -> str:
    """The topic of a table's changes."""
    return f"{PREFIX}.{SCHEMA}.{table}"


def table_of(topic: str) -> str:
    """The table whose changes a topic holds."""
    return topic.removeprefix(f"{PREFIX}.{SCHEMA}.")


def names(tables: tuple[Table, ...] = TABLES) -> tuple[str, ...]:
    """The topics of the source's tables."""
    return tuple(topic_of(table.name) for table in tables)


def create(wanted: Iterable[str], admin: AdminClient, seconds: float = 10) -> dict[str, int]:
    """Make the topics that are not there, and wait until they are; the number of partitions of each wanted one.

    A topic that exists is used as it is. Raises confluent_kafka.KafkaException when no broker answers in time, or one refuses.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic

    wanted = tuple(dict.fromkeys(wanted))
    found = admin.list_topics(timeout=seconds)
    replicas = min(REPLICAS, len(found.brokers))
    missing = [
        NewTopic(name, num_partitions=1 if name in _SINGLE else PARTITIONS, replication_factor=replicas, config=_configuration(name))
        for name in wanted
        if name not in found.topics
    ]
    if missing:
        for made in admin.create_topics(missing, operation_timeout=seconds, request_timeout=seconds).values():
            try:
                made.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        found = admin.list_topics(timeout=seconds)
    return {name: len(found.topics[name].partitions) if name in found.topics else PARTITIONS for name in wanted}


_SINGLE = (CAPTURE, DEAD_LETTERS)


def _configuration(name: str) -> dict[str, str]:
    return {"cleanup.policy": "compact" if name == CAPTURE else "delete", "max.message.bytes": str(LARGEST_RECORD)}
