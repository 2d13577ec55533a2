"""Shops of a few rows, written by hand: each row says only what its test is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import psycopg
from psycopg import sql

from rainbow.lake import manifest as manifests
from rainbow.lake.files import Lake
from rainbow.partitions.dates import PartitionRange
from rainbow.source.tables import BY_NAME, TABLES

Connection = psycopg.Connection[Any]

DAY_1, DAY_2, DAY_3, DAY_4 = (date(2024, 9, n) for n in (1, 2, 3, 4))
BEFORE = datetime(2024, 1, 1, tzinfo=UTC)

DEFAULTS: dict[str, dict[str, Any]] = {
    "brands": {"name": "Bách Hoá"},
    "categories": {"name": "Tea"},
    "sellers": {"name": "Lan"},
    "customers": {"name": "Hoa"},
    "payments": {"name": "Cash"},
    "promotions": {"name": "Tết", "coupon_type": "Percentage", "price_treatment": "10"},
    "products": {"name": "Oolong", "price": "10.50", "sold_count": 0, "category_id": 1, "seller_id": 1, "brand_id": 1},
    "inventories": {"product_id": 1, "quantity": 5},
    "orders": {"customer_id": 1, "payment_id": 1},
    "orderdetails": {"order_id": 1, "product_id": 1, "quantity": 2, "price": "10.50", "amount": "21.00", "discount": "1.00"},
}


def at(day: date, hour: float = 12) -> datetime:
    """An instant of a day, UTC."""
    return datetime.combine(day, time.min, UTC) + timedelta(hours=hour)


def days(first: date, last: date | None = None) -> PartitionRange:
    """Partitions."""
    return PartitionRange(first, last or first)


def put(connection: Connection, table: str, key: int, when: datetime, **values: Any) -> None:
    """Write a row as of an instant; a new one also with ``created_at`` then, unless the values say otherwise."""
    row = {"id": key, "created_at": when, **DEFAULTS[table], **values, "updated_at": when}
    changed = [*values, "updated_at"]
    connection.execute(
        sql.SQL("insert into {} ({}) values ({}) on conflict (id) do update set {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
            sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in changed),
        ),
        list(row.values()),
    )


def delete(connection: Connection, table: str, key: int, when: datetime) -> None:
    """Delete a row, noted as of an instant."""
    with connection.transaction():
        connection.execute("select set_config('rainbow.clock', %s, true)", [when.isoformat()])
        connection.execute(sql.SQL("delete from {} where id = %s").format(sql.Identifier(table)), [key])


def open_shop(connection: Connection, when: datetime = BEFORE) -> None:
    """One member of each dimension, id 1, as of an instant."""
    with connection.transaction():
        for table in TABLES:
            if table.kind == "dimension":
                put(connection, table.name, 1, when)


def sell(connection: Connection, order: int, when: datetime, lines: Iterable[int] = (), **line: Any) -> None:
    """An order and its lines, in one transaction; without ``lines`` one line with the order's id."""
    with connection.transaction():
        put(connection, "orders", order, when)
        for key in tuple(lines) or (order,):
            put(connection, "orderdetails", key, when, order_id=order, **line)


def in_lake(lake: Lake, table: str, partition: date | None = None) -> list[dict[str, Any]]:
    """Every row of a table that manifests name, by position and key; their positions and partitions too."""
    found = [
        row
        for name in manifests.names(lake)
        for file in manifests.read(lake, name).files
        if file.table == table and partition in (None, file.partition_date)
        for row in lake.read_table(file.path).to_pylist()
    ]
    return sorted(found, key=lambda row: (row["_lsn"], row[BY_NAME[table].key], not row["_deleted"]))


def parquet_files(lake: Lake) -> dict[str, tuple[str, int]]:
    """Every Parquet file of the lake, a hash of its bytes and when it was written."""
    return {
        path.removeprefix(lake.root): (hashlib.sha256(lake.fs.cat_file(path)).hexdigest(), lake.fs.info(path)["mtime"])
        for path in lake.fs.glob(f"{lake.root}/**/*.parquet")
    }
