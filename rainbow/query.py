"""One way to ask each store: the source, the lake, the warehouse or the OLAP store, for reading only."""

from __future__ import annotations

import csv
import io
import logging
import re
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from rainbow.errors import DataError, RainbowError, ServiceError

Store = Literal["source", "lake", "warehouse", "olap"]
STORES: tuple[Store, ...] = ("source", "lake", "warehouse", "olap")


_READS = re.compile(r"(\s|\(|--[^\n]*\n|/\*.*?\*/)*(select|with|show|desc|describe|exists|explain)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """Rows, and the names of their columns."""

    columns: list[str]
    rows: list[tuple[Any, ...]]

    def as_json(self) -> str:
        """A JSON array of objects; numerics and times as text, so that nothing is rounded."""
        records = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return orjson.dumps(records, default=str, option=orjson.OPT_NON_STR_KEYS).decode()

    def as_csv(self) -> str:
        """Comma-separated values with a header line (RFC 4180)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if v is None else v for v in row] for row in self.rows])
        return text.getvalue()


def query(store: Store, sql: str) -> Answer:
    """Run a statement that reads. Raises DataError when the store refuses it, a write included; ServiceError when it does not answer."""
    if store not in STORES:
        raise RainbowError(f"there is no store {store!r}: use one of {', '.join(STORES)}")
    text = sql.strip().rstrip(";").strip()
    if not text:
        raise DataError('the query is empty: write one, for example "select 1"')
    return {"source": _source, "lake": _lake, "warehouse": _warehouse, "olap": _olap}[store](text)


def _source(sql: str) -> Answer:
    import psycopg

    from rainbow.source.connection import connect

    with connect() as connection:
        connection.read_only = True
        try:
            # DECLARE CURSOR takes one statement that reads and nothing else: no COPY to a file, no second statement
            with connection.cursor(name="rainbow_query") as cursor:
                cursor.execute(sql.encode())
                return Answer([column.name for column in cursor.description or []], cursor.fetchall())
        except psycopg.Error as error:
            raise DataError(f"source refuses the query: {error.diag.message_primary or str(error).splitlines()[0]}") from error


def _lake(sql: str) -> Answer:
    import duckdb

    from rainbow.lake.read import connect_with_views

    with connect_with_views() as connection:
        try:
            if any(s.type != duckdb.StatementType.SELECT for s in connection.extract_statements(sql)):
                raise DataError("the lake is for reading only: begin the query with select or with")
            cursor = connection.execute(sql)
            return Answer([column[0] for column in cursor.description or []], cursor.fetchall())
        except duckdb.Error as error:
            raise DataError(f"lake refuses the query: {str(error).splitlines()[0]}") from error


def _warehouse(sql: str) -> Answer:
    from rainbow.warehouse.client import connect
    from rainbow.warehouse.sql import one_line

    if not _only_reads(sql):
        raise DataError("the warehouse is for reading only: write one statement that begins with select or with")
    with one_line("query"):
        result = connect().query_and_wait(sql)
        return Answer([field.name for field in result.schema], [tuple(row.values()) for row in result])


def _only_reads(sql: str) -> bool:
    """Whether a GoogleSQL text is one query. What cannot be read as one is not sent: a dry run is not a safe way to find out."""
    import sqlglot
    from sqlglot import exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)

    try:
        statements = sqlglot.parse(sql, read="bigquery")
    except sqlglot.errors.SqlglotError as error:
        raise DataError(f"the query cannot be read: {str(error).splitlines()[0]}") from error
    return len(statements) == 1 and isinstance(statements[0], exp.Query)


def _olap(sql: str) -> Answer:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from rainbow.olap.client import connect, words_of

    # readonly lets KILL and SYSTEM pass
    if not _READS.match(sql):
        raise DataError("ClickHouse is for reading only: begin the query with select, with, show, describe, exists or explain")
    try:
        result = connect().query(sql, settings={"readonly": 1})
    except ClickHouseError as error:
        raise DataError(f"ClickHouse refuses the query: {words_of(error)}") from error
    except OSError as error:
        raise ServiceError(f"ClickHouse does not answer ({error}): see `rainbow status`") from error
    return Answer(list(result.column_names), [tuple(row) for row in result.result_rows])
