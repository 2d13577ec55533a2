"""Checksums: what a place holds of a table, day by day, in numbers that PostgreSQL, DuckDB, BigQuery and ClickHouse work out alike.

A row's is a polynomial of its values modulo a prime, a day's the count and the sum of its rows'; the day is that of ``created_at``,
in UTC. Days that agree hold the same rows (but for a chance of about one in two thousand million a day).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from rainbow.source.tables import Column, Table

Dialect = Literal["postgres", "duckdb", "bigquery", "clickhouse"]

# the days on which an infinite instant is shown
EDGES = date(1, 1, 2), date(9999, 12, 30)

PRIME = 2**31 - 1
FACTOR = 1_000_003


def by_day(table: Table, dialect: Dialect, relation: str, condition: str = "true") -> str:
    """A query of a day's date, how many rows it has, and the sum of their checksums; ``relation`` is what the rows are selected from."""
    words = _WORDS[dialect]
    return (
        f"select day, count(*) as row_count, cast(sum(mixed) as {words.integer}) as total from "
        f"(select {words.day('created_at')} as day, {row(table, dialect)} as mixed from {relation} where {condition}) as r group by day"
    )


def by_key(table: Table, dialect: Dialect, relation: str, condition: str) -> str:
    """A query of the key and the checksum of each row."""
    return f"select {table.key} as id, {row(table, dialect)} as mixed from {relation} where {condition}"


def row(table: Table, dialect: Dialect) -> str:
    """The checksum of a row; it depends on each value, on whether it is missing, and on the columns' order."""
    mixed = "0"
    for value in _values(table.columns, _WORDS[dialect]):
        mixed = f"mod({mixed} * {FACTOR} + mod({value}, {PRIME}), {PRIME})"
    return mixed


def day_of(column: str) -> str:
    """The date of an instant in PostgreSQL's words; of an infinite one, one of ``EDGES``."""
    return _WORDS["postgres"].day(column)


def cents_of(total: str) -> str:
    """A sum of money in cents, in PostgreSQL's words; one that is not finite is no sum that is found elsewhere."""
    return f"case when abs({total}) < 1e16 then ({total} * 100)::bigint else -2 end"


def newest(table: Table) -> str:
    """The rows of the lake or of raw as they were seen last, for DuckDB and GoogleSQL; ``{source}`` is where they are selected from."""
    order = "_lsn desc, _deleted, updated_at desc"
    return f"(select * from (select * from {{source}} qualify row_number() over (partition by {table.key} order by {order}) = 1) as v where not _deleted) as n"


@dataclass(frozen=True)
class _Words:
    """How a dialect says what is needed."""

    integer: str
    whole: Callable[[str], str]
    scaled: Callable[[str, int], str]
    text: Callable[[str], str]
    moment: Callable[[str], str]
    missing: Callable[[str], str]
    day: Callable[[str], str]


def _values(columns: Iterable[Column], words: _Words) -> Iterable[str]:
    for column in columns:
        if column.nullable:
            yield words.missing(column.name)
        if column.type.startswith("numeric"):
            yield words.scaled(column.name, int(column.type.rstrip(")").rpartition(",")[2]))
        else:
            yield {"text": words.text, "timestamptz": words.moment}.get(column.type, words.whole)(column.name)


_WORDS: dict[Dialect, _Words] = {
    # what no other place can hold, as NaN or infinity, differs from whatever is there
    "postgres": _Words(
        integer="numeric",
        whole=lambda c: f"coalesce({c}, 0)::bigint",
        scaled=lambda c, scale: f"case when {c} is null then 0 when abs({c}) < 1e{18 - scale} then ({c} * {10**scale})::bigint else -1 end",
        text=lambda c: f"('x' || substr(md5(coalesce({c}, '')), 1, 8))::bit(32)::bigint",
        moment=lambda c: f"case when {c} is null then 0 when isfinite({c}) then (extract(epoch from {c}) * 1000000)::bigint else -1 end",
        missing=lambda c: f"({c} is null)::int",
        day=lambda c: f"(least(greatest({c}, '{EDGES[0]}'), '{EDGES[1]}') at time zone 'UTC')::date",
    ),
    "duckdb": _Words(
        integer="hugeint",
        whole=lambda c: f"coalesce({c}, 0)::bigint",
        scaled=lambda c, scale: f"coalesce({c} * {10**scale}, 0)::bigint",
        text=lambda c: f"('0x' || substr(md5(coalesce({c}, '')), 1, 8))::bigint",
        moment=lambda c: f"coalesce(epoch_us({c}), 0)",
        missing=lambda c: f"({c} is null)::int",
        day=lambda c: f"{c}::date",
    ),
    "bigquery": _Words(
        integer="int64",
        whole=lambda c: f"coalesce({c}, 0)",
        scaled=lambda c, scale: f"coalesce(cast(cast({c} as numeric(18, {scale})) * {10**scale} as int64), 0)",
        text=lambda c: f"cast(concat('0x', substr(to_hex(md5(coalesce({c}, ''))), 1, 8)) as int64)",
        moment=lambda c: f"coalesce(unix_micros({c}), 0)",
        missing=lambda c: f"if({c} is null, 1, 0)",
        day=lambda c: f"extract(date from {c})",
    ),
    "clickhouse": _Words(
        integer="Int128",
        whole=lambda c: f"toInt64(ifNull({c}, 0))",
        scaled=lambda c, scale: f"ifNull(toInt64({c} * {10**scale}), 0)",
        text=lambda c: f"toInt64(reinterpretAsUInt32(reverse(substring(MD5(ifNull({c}, '')), 1, 4))))",
        moment=lambda c: f"ifNull(toUnixTimestamp64Micro({c}), 0)",
        missing=lambda c: f"toInt64(isNull({c}))",
        day=lambda c: f"toDate32({c})",
    ),
}
