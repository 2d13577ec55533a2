"""One type, four dialects: what a PostgreSQL type of ``rainbow.source.tables`` is in Arrow, in BigQuery and in ClickHouse."""

from __future__ import annotations

import re
from functools import cache

import pyarrow as pa


@cache
def arrow_type(postgres: str) -> pa.DataType:
    """The Arrow type that holds every value of a PostgreSQL type exactly."""
    if numeric := re.fullmatch(r"numeric\((\d+),\s*(\d+)\)", postgres):
        return pa.decimal128(int(numeric[1]), int(numeric[2]))
    return {
        "bigint": pa.int64(),
        "integer": pa.int64(),
        "text": pa.string(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamptz": pa.timestamp("us", "UTC"),
    }[postgres]


def bigquery_type(postgres: str) -> str:
    """The GoogleSQL type of a column in ``raw``; a NUMERIC keeps its precision and scale, which not every engine assumes alike."""
    if postgres.startswith("numeric"):
        return postgres.upper()
    return {"bigint": "INT64", "integer": "INT64", "text": "STRING", "boolean": "BOOL", "date": "DATE", "timestamptz": "TIMESTAMP"}[
        postgres
    ]


def clickhouse_type(postgres: str) -> str:
    """The ClickHouse type of a column in the mirror, without its nullability."""
    if postgres.startswith("numeric"):
        return postgres.replace("numeric", "Decimal")
    return {
        "bigint": "Int64",
        "integer": "Int64",
        "text": "String",
        "boolean": "Bool",
        "date": "Date32",
        "timestamptz": "DateTime64(6, 'UTC')",
    }[postgres]
