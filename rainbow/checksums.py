"""Checksums of rows, in numbers that PostgreSQL, DuckDB, BigQuery and ClickHouse work out alike.

A row's is a polynomial of its values modulo a prime, and a set of rows' is the count and the sum of theirs. Sets that agree hold the same
rows (but for a chance of about one in two thousand million).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

Dialect = Literal["postgres", "duckdb", "bigquery", "clickhouse"]

PRIME = 2**31 - 1
FACTOR = 1_000_003

# the days on which PostgreSQL's infinite instants are shown
EDGES = date(1, 1, 2), date(9999, 12, 30)


def polynomial(values: Iterable[str]) -> str:
    """The number of a row, of expressions for its values: it depends on each of them, and on their order."""
    mixed = "0"
    for value in values:
        mixed = f"mod({mixed} * {FACTOR} + mod({value}, {PRIME}), {PRIME})"
    return mixed


@dataclass(frozen=True)
class Words:
    """How a dialect says what is needed: the whole number that stands for a column's value, of each kind; NULL is 0, and told by ``missing``."""

    integer: str
    whole: Callable[[str], str]
    scaled: Callable[[str, int], str]
    text: Callable[[str], str]
    moment: Callable[[str], str]
    missing: Callable[[str], str]
    day: Callable[[str], str]


WORDS: dict[Dialect, Words] = {
    # what no other place can hold, as NaN or infinity, differs from whatever is there
    "postgres": Words(
        integer="numeric",
        whole=lambda c: f"coalesce({c}, 0)::bigint",
        scaled=lambda c, scale: f"case when {c} is null then 0 when abs({c}) < 1e{18 - scale} then ({c} * {10**scale})::bigint else -1 end",
        text=lambda c: f"('x' || substr(md5(coalesce({c}, '')), 1, 8))::bit(32)::bigint",
        moment=lambda c: f"case when {c} is null then 0 when isfinite({c}) then (extract(epoch from {c}) * 1000000)::bigint else -1 end",
        missing=lambda c: f"({c} is null)::int",
        day=lambda c: f"(least(greatest({c}, '{EDGES[0]}'), '{EDGES[1]}') at time zone 'UTC')::date",
    ),
    "duckdb": Words(
        integer="hugeint",
        whole=lambda c: f"coalesce({c}, 0)::bigint",
        scaled=lambda c, scale: f"coalesce({c} * {10**scale}, 0)::bigint",
        text=lambda c: f"('0x' || substr(md5(coalesce({c}, '')), 1, 8))::bigint",
        moment=lambda c: f"coalesce(epoch_us({c}), 0)",
        missing=lambda c: f"({c} is null)::int",
        day=lambda c: f"{c}::date",
    ),
    "bigquery": Words(
        integer="int64",
        whole=lambda c: f"coalesce({c}, 0)",
        scaled=lambda c, scale: f"coalesce(cast(cast({c} as numeric(18, {scale})) * {10**scale} as int64), 0)",
        text=lambda c: f"cast(concat('0x', substr(to_hex(md5(coalesce({c}, ''))), 1, 8)) as int64)",
        moment=lambda c: f"coalesce(unix_micros({c}), 0)",
        missing=lambda c: f"if({c} is null, 1, 0)",
        day=lambda c: f"extract(date from {c})",
    ),
    "clickhouse": Words(
        integer="Int128",
        whole=lambda c: f"toInt64(ifNull({c}, 0))",
        scaled=lambda c, scale: f"ifNull(toInt64({c} * {10**scale}), 0)",
        text=lambda c: f"toInt64(reinterpretAsUInt32(reverse(substring(MD5(ifNull({c}, '')), 1, 4))))",
        moment=lambda c: f"ifNull(toUnixTimestamp64Micro({c}), 0)",
        missing=lambda c: f"toInt64(isNull({c}))",
        day=lambda c: f"toDate32({c})",
    ),
}
