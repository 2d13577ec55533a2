"""A shop with rows whose changes nobody has followed yet: no slot, no topics of it, no database of its in ClickHouse."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from rainbow.olap.client import connect as connect_clickhouse
from rainbow.source.connection import connect
from rainbow.source.schema import create_schema, drop_schema
from tests.integration.change_events import forget_topics
from tests.integration.orders_api import fill

Connection = psycopg.Connection[Any]


@contextmanager
def unfollowed_shop() -> Iterator[Connection]:
    """A connection to it; slots, publication and tables are removed at the end."""
    forget_topics()
    with connect_clickhouse() as client:
        for database in ("batch", "mirror", "serving"):
            client.command(f"drop database if exists {database} sync")
    with connect(autocommit=True) as connection:
        forget_slots(connection)
        with connection.transaction():
            drop_schema(connection)
            create_schema(connection)
        fill(connection)
        yield connection
        forget_slots(connection)
        connection.execute("drop publication if exists rainbow")
        with connection.transaction():
            drop_schema(connection)


def forget_slots(connection: Connection) -> None:
    connection.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null")
    for (name,) in connection.execute("select slot_name from pg_replication_slots").fetchall():
        wait_until(lambda name=name: dropped(connection, name))


def dropped(connection: Connection, slot: str) -> bool:
    try:
        connection.execute("select pg_drop_replication_slot(%s)", [slot])
    except psycopg.errors.ObjectInUse:
        return False
    return True


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
