"""Debezium may take capture's place: by its configuration in ``deploy`` the mirror comes out the same, version by version."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rainbow.olap.client import connect as connect_clickhouse
from rainbow.settings import Settings
from rainbow.source.tables import TABLES
from streaming import topics
from streaming.capture.run import Capture
from streaming.progress import wait_until_caught_up
from tests import debezium
from tests.integration.change_events import forget_topics, send
from tests.integration.test_mirror import mirroring, wait_until_read
from tests.integration.unfollowed_shop import unfollowed_shop, wait_until

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services

END = "the history's end"


@pytest.fixture
def shop(stream_stack: Settings) -> Iterator[Connection]:
    """A shop with rows that nobody follows yet."""
    with unfollowed_shop() as connection:
        yield connection


@contextmanager
def capturing() -> Iterator[None]:
    capture = Capture()
    thread = threading.Thread(target=capture.run)
    thread.start()
    try:
        yield
    finally:
        capture.stop()
        thread.join(30)


def live(connection: Connection) -> None:
    """All kinds of changes, the last of them a brand of a name that tells the end."""
    at = "2024-09-02 10:00:00+00"
    connection.execute("insert into orders (customer_id, payment_id, created_at, updated_at) values (1, 2, %s, %s)", [at, at])
    connection.execute(
        "insert into orderdetails (order_id, product_id, promotion_id, quantity, price, amount, discount, created_at, updated_at)"
        " select 1, 1 + n %% 3, null, n, 10.5, 10.50 * n, 0, %s, %s from generate_series(1, 20) n",
        [at, at],
    )
    with connection.transaction():
        for price in ("1.00", "2.50", "1.00"):
            connection.execute("update products set price = %s, rating_average = null where id = 1", [price])
    with connection.transaction(force_rollback=True):
        connection.execute("update products set name = 'never' where id = 1")
    connection.execute("update products set name = repeat('Trà sữa ', 4000) where id = 2")
    connection.execute("update products set sold_count = 7 where id = 2")
    connection.execute("delete from orderdetails where id in (3, 4)")
    connection.execute("insert into orderdetails select * from orderdetails where false")
    connection.execute("update inventories set id = 77 where id = 4")
    connection.execute("truncate inventories")
    connection.execute("insert into inventories (id, product_id, quantity, created_at, updated_at) values (5, 1, 3, %s, %s)", [at, at])
    connection.execute("alter table sellers add column city text")
    connection.execute("update sellers set city = 'Huế', name = E'a \\\\ \"quoted\" \\n name'")
    connection.execute("update brands set name = %s", [END])


def versions(client: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Each table's rows, and its history but for the moments of the snapshot, which each capture takes for itself.

    A row that a truncation finds deleted already may be marked once more, as partitions are read apart: it counts once.
    """
    found = {}
    for table in TABLES:
        names = client.query(f"select name from system.columns where database = 'mirror' and table = '{table.name}'").result_columns[0]
        own = "if(_snapshot, 0, {0}) as {0}"
        columns = ", ".join(own.format(name) if name in ("_lsn", "_txid") else name for name in sorted(names) if name != "_committed_at")
        again = "_deleted and lagInFrame(_deleted) over (partition by id order by _lsn rows between 1 preceding and 1 preceding)"
        for relation in (table.name, f"{table.name}_history"):
            rows = client.query(
                f"select {columns} from (select *, {again} as again from mirror.{relation} final) where not again order by all",
                query_tz="UTC",
                tz_mode="aware",
            ).result_rows
            found[relation] = [tuple(row) for row in rows]
    return found


def in_postgres(connection: Connection) -> dict[str, int]:
    return {t.name: connection.execute(f"select count(*) from {t.name}").fetchone()[0] for t in TABLES}  # type: ignore[index]


def test_the_mirror_of_debezium_s_events_is_the_mirror_of_ours(shop: Connection, tmp_path: Path) -> None:
    with connect_clickhouse() as client:
        client.command("drop database if exists mirror sync")
        with mirroring(), capturing():
            wait_until_caught_up(60)
            with debezium.running(tmp_path):
                wait_until(lambda: any(b'"snapshot":"last"' in (value or b"") for _, _, value in debezium.events(tmp_path)))
                live(shop)
                wait_until(lambda: any(END.encode() in (value or b"") for _, _, value in debezium.events(tmp_path)))
            wait_until_caught_up(60)
        ours, rows = versions(client), in_postgres(shop)
        forget_topics()
        client.command("drop database if exists mirror sync")
        with mirroring():
            send([(topic, key, value, None) for topic, key, value in debezium.events(tmp_path) if topic in topics.names()])
            wait_until_read()
        theirs = versions(client)
    for relation, expected in ours.items():
        assert theirs[relation] == expected, relation
    # the columns stand in the order of their names: the first is _deleted
    assert {table: sum(not row[0] for row in ours[table]) for table in rows} == rows
    assert len(ours["products_history"]) > len(ours["products"])


def test_the_connector_follows_the_declared_tables() -> None:
    configuration = json.loads(debezium.CONNECTOR.read_text(encoding="utf-8"))["config"]
    assert configuration["table.include.list"].split(",") == [f"public.{table.name}" for table in TABLES]
    assert configuration["topic.prefix"] == topics.PREFIX
