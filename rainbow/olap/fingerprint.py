"""Fingerprints: what a published table holds, day by day, in the numbers of ``rainbow.checksums``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from rainbow.checksums import WORDS, Words, polynomial
from rainbow.warehouse import project
from rainbow.warehouse.sql import rows

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from google.cloud import bigquery

# by day: how many rows, a sum that changes with any of their columns, and one that does not change with text
Days = dict[date, tuple[int, int, int]]


@dataclass(frozen=True)
class Laid:
    """How a published table is cut: ``day`` is the column whose weeks are its partitions (none: one partition), ``columns`` tell rows apart."""

    model: project.Statement
    day: str | None
    columns: tuple[str, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """The sorting key in ClickHouse."""
        key = self.model.key
        return key if self.day != "valid_to" else (f"{key[0].removesuffix('_key')}_id", "valid_from_at")


def lay(model: project.Statement) -> Laid:
    """A dimension's version is told by its key, which covers its content, and its end; a view's row by all of its columns."""
    if model.name.startswith("dim_"):
        return Laid(model, "valid_to", (model.key[0], "valid_to_at"))
    day = "sales_date" if "sales_date" in model.columns else None
    return Laid(model, day, tuple(name for name in model.columns if name != day))


def of_bigquery(client: bigquery.Client, tables: Iterable[Laid]) -> dict[str, Days]:
    """Count and sums by table and day, of the warehouse."""
    query = " union all ".join(_select(t, f"warehouse.{t.model.name}", "date '1970-01-01'", WORDS["bigquery"]) for t in tables)
    found: dict[str, Days] = {t.model.name: {} for t in tables}
    for name, day, *sums in (tuple(row.values()) for row in rows(client, query)):
        found[name][day] = (sums[0], sums[1], sums[2])
    return found


def of_clickhouse(client: Client, tables: Iterable[Laid], suffix: str = "") -> dict[str, Days]:
    """Count and sums by table and day, of ClickHouse's database ``batch``."""
    found: dict[str, Days] = {t.model.name: {} for t in tables}
    if not found:
        return found
    query = " union all ".join(_select(t, f"batch.{t.model.name}{suffix}", "toDate32('1970-01-01')", WORDS["clickhouse"]) for t in tables)
    for name, day, *sums in client.query(query).result_rows:
        found[name][day] = (int(sums[0]), int(sums[1]), int(sums[2]))
    return found


def _select(table: Laid, source: str, no_day: str, words: Words) -> str:
    types = table.model.columns
    mixed = polynomial(_value(words, column, types[column]) for column in table.columns)
    figures = polynomial(_value(words, column, types[column]) for column in table.columns if types[column] != "string")
    day = table.day or no_day
    return (
        f"select '{table.model.name}' as table_name, day, count(*) as row_count, sum(mixed) as total, sum(figures) as total_figures "
        f"from (select {day} as day, {mixed} as mixed, {figures} as figures from {source}) as t group by day"
    )


def _value(words: Words, column: str, type_: str) -> str:
    kind = type_.partition("(")[0]
    if kind == "numeric":
        return words.scaled(column, int(type_.rstrip(")").rpartition(",")[2]))
    return {"int64": words.whole, "string": words.text, "timestamp": words.moment}[kind](column)
