"""Filling the shop's database with a data set: all of it, or what was there before a day. One transaction, so all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import psycopg

from rainbow.datasets.loading import analyze, copy_rows
from rainbow.datasets.shop import Dataset, Totals
from rainbow.datasets.state import ReplayState, forget_state, write_state
from rainbow.errors import DataError
from rainbow.source.schema import create_keys, create_schema, drop_keys, empty_schema, first_filled, set_sequences
from rainbow.source.tables import TABLES

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Seeded:
    """What a seed put in: rows by table, and the sums over the order lines as PostgreSQL has them."""

    rows: dict[str, int]
    totals: Totals


def seed(
    connection: Connection,
    dataset: Dataset,
    *,
    start: date | None = None,
    reset: bool = False,
    on_table: Callable[[str, int], None] = lambda table, rows: None,
) -> Seeded:
    """Fill the shop with ``dataset``: whole, or as it was when ``start`` began, ready to be replayed from there.

    The tables are made where they are not there. Foreign keys and indexes are dropped for the load and made again after it, which
    checks every row at once. ``on_table`` is told of each table and its rows when they are in.

    Raises DataError when the shop is not empty and ``reset`` is not set, when ``start`` is not a day of the data set, and when what
    arrived is not what the data set says it holds; nothing has changed then.
    """
    if start is not None and start not in dataset.days:
        raise DataError(f"{start} is not a day of {dataset.name}: its days are {dataset.days[0]} .. {dataset.days[-1]}")
    with connection.transaction():
        prepare(connection, reset=reset)
        rows = dataset.whole() if start is None else dataset.baseline(start)
        drop_keys(connection)
        for table in TABLES:
            if table.name in rows:
                copy_rows(connection, table.name, rows[table.name])
                on_table(table.name, rows[table.name].num_rows)
        connection.execute("set local maintenance_work_mem = '256MB'")
        create_keys(connection)
        set_sequences(connection, dict(dataset.next_ids))
        totals = totals_in(connection)
        if start is None:
            _check_arrived(dataset, totals)
        first = start or dataset.days[0]
        done = dataset.days[-1] if start is None else first - timedelta(1)
        write_state(connection, ReplayState(dataset.name, dataset.seed, dataset.scale, first, done))
        analyze(connection, (t.name for t in TABLES))
    return Seeded({t.name: rows[t.name].num_rows if t.name in rows else 0 for t in TABLES}, totals)


def prepare(connection: Connection, *, reset: bool) -> None:
    """Make the schema and see that it is empty; ``reset`` empties it.

    Raises DataError when it holds rows and ``reset`` is not set.
    """
    create_schema(connection)
    if reset:
        empty_schema(connection)
        forget_state(connection)
    elif filled := first_filled(connection):
        raise DataError(f"the shop is not empty ({filled} has rows): add --reset to remove all of its rows first")


def totals_in(connection: Connection) -> Totals:
    """The sums over the order lines that the shop holds."""
    sums = connection.execute("select count(*), coalesce(sum(amount), 0), coalesce(sum(discount), 0) from orderdetails").fetchone()
    assert sums is not None
    return Totals(*sums)


def _check_arrived(dataset: Dataset, arrived: Totals) -> None:
    wanted = dataset.totals
    if (arrived.lines + len(dataset.rejected), arrived.gross, arrived.discount) != (wanted.lines, wanted.gross, wanted.discount):
        raise DataError(
            f"{dataset.name} has {wanted.lines} lines, gross {wanted.gross}, discount {wanted.discount}, but {arrived.lines} lines, gross "
            f"{arrived.gross}, discount {arrived.discount} arrived: its package is damaged or another version; install it again"
        )
