"""Reading the source: all tables at one snapshot, as a stream of Arrow batches, with memory bounded by a block.

Rows travel as ``COPY ... (FORMAT csv)`` into Arrow's CSV reader with the declared types, so a value that a type cannot hold
exactly (NaN, infinity, too many digits) is an error that names its column, never a silent change.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from rainbow.errors import DataError
from rainbow.source.connection import connect
from rainbow.source.tables import BY_NAME, TABLES, Table
from rainbow.types import arrow_type

BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class Snapshot:
    """What a transaction sees: ``pg_current_snapshot()`` as text, its xmin, and the WAL position then, in bytes."""

    text: str
    xmin: int
    lsn: int

    @property
    def lsn_text(self) -> str:
        """The position as PostgreSQL writes it, e.g. ``0/16B3748``."""
        return f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"


def begin_snapshot(connection: psycopg.Connection[Any]) -> Snapshot:
    """Begin a read-only repeatable-read transaction: every later read of it sees this one snapshot."""
    connection.execute("begin transaction isolation level repeatable read, read only")
    row = connection.execute(
        """select pg_current_snapshot()::text, pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
                  (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end - '0/0'::pg_lsn)::bigint"""
    ).fetchone()
    assert row is not None
    return Snapshot(*row)


def check_columns(connection: psycopg.Connection[Any], tables: tuple[Table, ...] = TABLES) -> None:
    """Raise DataError, naming table and column, where the source differs from the declaration: nothing is left out in silence."""
    found: dict[str, set[str]] = {}
    for table, column in connection.execute(
        """select c.relname, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
           where c.oid = any(array(select to_regclass(quote_ident(t)) from unnest(%s::text[]) t)) and a.attnum > 0 and not a.attisdropped""",
        [[t.name for t in tables]],
    ):
        found.setdefault(table, set()).add(column)
    for table in tables:
        have, want = found.get(table.name), set(table.column_names)
        if have is None:
            raise DataError(
                f"source has no table {table.name}: make it with `rainbow seed --schema-only`, or put a view of that name before your own table"
            )
        if missing := sorted(want - have):
            raise DataError(
                f"source table {table.name} has no column {missing[0]}: add it, or put a view with that column before the table"
            )
        if unknown := sorted(have - want):
            raise DataError(
                f"source table {table.name} has an unknown column {unknown[0]}: declare it in rainbow/source/tables.py, then run again"
            )


def check_moments(connection: psycopg.Connection[Any], tables: tuple[Table, ...] = TABLES) -> None:
    """Raise DataError, naming the table, for a row that no partition would ever hold: its ``updated_at`` is missing or not finite."""
    query = " union all ".join(
        f"(select '{t.name}', {t.key} from {t.name} where updated_at is null or updated_at in ('infinity', '-infinity') limit 1)"
        for t in tables
    )
    found = connection.execute(query.encode()).fetchone()
    if found:
        raise DataError(
            f"extract of {found[0]}: column updated_at of the row with {BY_NAME[found[0]].key} {found[1]} is no moment, so no partition holds the row; correct it in the source"
        )


def has_deletions(connection: psycopg.Connection[Any]) -> bool:
    """Whether the source records its deletes in the table ``deletions``."""
    row = connection.execute("select to_regclass('deletions') is not null").fetchone()
    return bool(row and row[0])


def keys_changed_since(tables: tuple[str, ...], moment: datetime, most: int) -> dict[str, list[int]]:
    """Keys of rows that were changed at or after a moment, or deleted where deletes are recorded; at most one more than ``most`` a table.

    Raises ServiceError when the source does not answer.
    """
    with connect(autocommit=True) as connection:
        deletes = has_deletions(connection)
        found = {}
        for name in tables:
            key = sql.Identifier(BY_NAME[name].key)
            query = sql.SQL("select {} from {} where updated_at >= {}").format(key, sql.Identifier(name), sql.Literal(moment))
            if deletes:
                query += sql.SQL(" union select row_id from deletions where table_name = {} and deleted_at >= {}").format(
                    sql.Literal(name), sql.Literal(moment)
                )
            found[name] = [row[0] for row in connection.execute(query + sql.SQL(" limit {}").format(sql.Literal(most + 1)))]
    return found


def read(connection: psycopg.Connection[Any], query: sql.Composable, columns: dict[str, str], what: str) -> Iterator[pa.RecordBatch]:
    """Stream a query's rows; ``columns`` maps each column's name to its PostgreSQL type, in the query's order.

    Timestamps are expected as UTC without zone (see ``utc``) and come out as ``timestamp[us, UTC]``.
    Raises DataError, beginning with ``what``, for a value that its declared type cannot hold.
    """
    types = {name: arrow_type(type_) for name, type_ in columns.items()}
    parsed = {name: pa.timestamp("us") if pa.types.is_timestamp(t) else t for name, t in types.items()}
    schema = pa.schema(list(types.items()))
    with connection.cursor() as cursor, cursor.copy(sql.SQL("copy ({}) to stdout (format csv)").format(query)) as copy:
        stream = _BlockReader(iter(copy))
        if stream.at_end():
            return
        try:
            reader = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(column_names=list(columns), block_size=BLOCK_BYTES, use_threads=False),
                parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
                convert_options=csv.ConvertOptions(
                    column_types=parsed,
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    true_values=["t"],
                    false_values=["f"],
                ),
            )
            for batch in reader:
                yield pa.RecordBatch.from_arrays(
                    [column.cast(types[name]) for name, column in zip(columns, batch.columns, strict=True)], schema=schema
                )
        except pa.ArrowInvalid as error:
            raise DataError(f"{what}: {_name_column(str(error), list(columns))}") from error


def utc(column: str) -> sql.Composable:
    """A timestamptz column as its UTC wall time, which Arrow's CSV reader understands."""
    return sql.SQL("{} at time zone 'UTC'").format(sql.Identifier(column))


def _name_column(message: str, columns: list[str]) -> str:
    """Arrow says ``In CSV column #3: ...``; people know columns by name."""
    line = message.splitlines()[0]
    if line.startswith("In CSV column #"):
        number, _, rest = line.removeprefix("In CSV column #").partition(": ")
        return f"column {columns[int(number)]} has a value that its declared type cannot hold ({rest}); correct the row in the source"
    return line


class _BlockReader(io.RawIOBase):
    """A file over the blocks of a COPY, for Arrow."""

    def __init__(self, blocks: Iterator[Any]) -> None:
        self._blocks = blocks
        self._left = memoryview(b"")

    def at_end(self) -> bool:
        """Whether nothing is left; fetches a block to find out."""
        while not self._left:
            block = next(self._blocks, None)
            if block is None:
                return True
            self._left = memoryview(block)
        return False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, wanted = [], size if size >= 0 else 1 << 62
        while wanted > 0 and not self.at_end():
            part, self._left = self._left[:wanted], self._left[wanted:]
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)
