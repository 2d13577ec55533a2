"""The topics of the speed layer: names, and how they are cut. The same as Debezium's, so that it can take capture's place."""

from __future__ import annotations

from rainbow.source.tables import TABLES, Table

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


def topic_of(table: str) -> str:
    """The topic of a table's changes."""
    return f"{PREFIX}.{SCHEMA}.{table}"


def table_of(topic: str) -> str:
    """The table whose changes a topic holds."""
    return topic.removeprefix(f"{PREFIX}.{SCHEMA}.")


def names(tables: tuple[Table, ...] = TABLES) -> tuple[str, ...]:
    """The topics of the source's tables."""
    return tuple(topic_of(table.name) for table in tables)
