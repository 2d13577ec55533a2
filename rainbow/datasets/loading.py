"""Writing rows to the shop's database in bulk: COPY for new rows, COPY and one UPDATE for rows that change."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
import pyarrow as pa
from pyarrow import csv

from rainbow.datasets.binary import can_encode, encoded
from rainbow.datasets.shop import Delete, Update
from rainbow.source.schema import set_clock
from rainbow.source.tables import BY_NAME

Connection = psycopg.Connection[Any]

_ROWS_A_BLOCK = 50_000


def copy_rows(connection: Connection, table: str, rows: pa.Table) -> None:
    """COPY ``rows`` into ``table``; their columns are columns of it. A NULL stays a NULL and an empty text an empty text."""
    _copy(connection, table, rows, _types(table, rows))


def add_members(connection: Connection, table: str, rows: pa.Table) -> None:
    """Add rows whose id is not there yet."""
    if rows.num_rows == 0:
        return
    columns = ", ".join(rows.column_names)
    stage = _stage(connection, table, rows)
    connection.execute(f"insert into {table} ({columns}) select {columns} from {stage} on conflict (id) do nothing")
    connection.execute(f"drop table {stage}")


def change(connection: Connection, update: Update) -> None:
    """Change rows in one statement. They are locked in the order of their ids first, as the API does, so that neither waits in a circle."""
    if update.rows.num_rows == 0:
        return
    table, stage = update.table, _stage(connection, update.table, update.rows)
    connection.execute(f"select 1 from {table} t join {stage} s using (id) order by t.id for no key update of t")
    assignments = ", ".join(_assignment(update, c) for c in update.rows.column_names if c not in ("id", "updated_at"))
    connection.execute(
        f"update {table} t set {assignments}, updated_at = greatest(t.updated_at, s.updated_at) from {stage} s where t.id = s.id"
    )
    connection.execute(f"drop table {stage}")


def remove_products(connection: Connection, delete: Delete) -> None:
    """Delete products and their stock, at the delete's own time; a product that an order line names is left."""
    set_clock(connection, delete.at)
    leaving = [
        row[0]
        for row in connection.execute(
            "select id from products p where id = any(%s) and not exists (select from orderdetails l where l.product_id = p.id)"
            " order by id for update",
            [list(delete.products)],
        )
    ]
    connection.execute("delete from inventories where product_id = any(%s)", [leaving])
    connection.execute("delete from products where id = any(%s)", [leaving])


def analyze(connection: Connection, tables: Iterable[str]) -> None:
    """Let the planner know what is in the tables."""
    connection.execute(f"analyze {', '.join(tables)}")


def _copy(connection: Connection, target: str, rows: pa.Table, types: list[str]) -> None:
    form = "binary" if can_encode(types) else "csv"
    # CSV carries no zone
    connection.execute("set local timezone = 'UTC'")
    with connection.cursor() as cursor, cursor.copy(f"copy {target} ({', '.join(rows.column_names)}) from stdin (format {form})") as copy:
        for block in encoded(rows, types) if form == "binary" else _as_csv(rows):
            copy.write(block)


def _as_csv(rows: pa.Table) -> Iterator[memoryview]:
    for batch in _without_zone(rows).to_batches(max_chunksize=_ROWS_A_BLOCK):
        block = io.BytesIO()
        csv.write_csv(batch, block, csv.WriteOptions(include_header=False))
        yield block.getbuffer()


def _types(table: str, rows: pa.Table) -> list[str]:
    types = {column.name: column.type for column in BY_NAME[table].columns}
    return [types[name] for name in rows.column_names]


def _without_zone(rows: pa.Table) -> pa.Table:
    # Arrow writes instants with a zone twenty times slower than the same ones without
    fields = [pa.field(f.name, pa.timestamp("us")) if pa.types.is_timestamp(f.type) else f for f in rows.schema]
    return rows.cast(pa.schema(fields))


def _assignment(update: Update, column: str) -> str:
    if column in update.add:
        return f"{column} = t.{column} + s.{column}"
    if column in update.take:
        return f"{column} = greatest(t.{column} - s.{column}, 0)"
    return f"{column} = s.{column}"


def _stage(connection: Connection, table: str, rows: pa.Table) -> str:
    types = _types(table, rows)
    stage = f"incoming_{table}"
    definition = ", ".join(f"{name} {type_}" for name, type_ in zip(rows.column_names, types, strict=True))
    connection.execute(f"create temp table {stage} ({definition}) on commit drop")
    _copy(connection, stage, rows, types)
    connection.execute(f"analyze {stage}")
    return stage
