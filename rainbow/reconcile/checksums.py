"""Checksums of the source's tables, day by day, wherever they are; the day is that of ``created_at``, in UTC."""

from __future__ import annotations

from collections.abc import Iterable

from rainbow.checksums import WORDS, Dialect, Words, polynomial
from rainbow.source.tables import Column, Table


def by_day(table: Table, dialect: Dialect, relation: str, condition: str = "true") -> str:
    """A query of a day's date, how many rows it has, and the sum of their checksums; ``relation`` is what the rows are selected from."""
    words = WORDS[dialect]
    return (
        f"select day, count(*) as row_count, cast(sum(mixed) as {words.integer}) as total from "
        f"(select {words.day('created_at')} as day, {row(table, dialect)} as mixed from {relation} where {condition}) as r group by day"
    )


def by_key(table: Table, dialect: Dialect, relation: str, condition: str) -> str:
    """A query of the key and the checksum of each row."""
    return f"select {table.key} as id, {row(table, dialect)} as mixed from {relation} where {condition}"


def row(table: Table, dialect: Dialect) -> str:
    """The checksum of a row; it depends on each value, on whether it is missing, and on the columns' order."""
    return polynomial(_values(table.columns, WORDS[dialect]))


def day_of(column: str) -> str:
    """The date of an instant in PostgreSQL's words; of an infinite one, one of ``rainbow.checksums.EDGES``."""
    return WORDS["postgres"].day(column)


def cents_of(total: str) -> str:
    """A sum of money in cents, in PostgreSQL's words; one that is not finite is no sum that is found elsewhere."""
    return f"case when abs({total}) < 1e16 then ({total} * 100)::bigint else -2 end"


def newest(table: Table) -> str:
    """The rows of the lake or of raw as they were seen last, for DuckDB and GoogleSQL; ``{source}`` is where they are selected from."""
    order = "_lsn desc, _deleted, updated_at desc"
    return f"(select * from (select * from {{source}} qualify row_number() over (partition by {table.key} order by {order}) = 1) as v where not _deleted) as n"


def _values(columns: Iterable[Column], words: Words) -> Iterable[str]:
    for column in columns:
        if column.nullable:
            yield words.missing(column.name)
        if column.type.startswith("numeric"):
            yield words.scaled(column.name, int(column.type.rstrip(")").rpartition(",")[2]))
        else:
            yield {"text": words.text, "timestamptz": words.moment}.get(column.type, words.whole)(column.name)
