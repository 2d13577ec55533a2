"""The tables that are worked out of the mirror's histories: all are made, filled and kept in step with what is inserted here.

Several mirrors may do so at the same time, and each may be killed in the middle. So a table is filled without regard to what it has, in
such a way that a row that comes again does no harm, and is noted as filled, in its comment, at the end; as long as it is not, it is filled
once more, and nobody reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rainbow.olap.keys import Keys
from rainbow.olap.mirror import days, members, placements, sales, tables
from rainbow.source.tables import Table

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# each has the names of its tables (KEPT) and the one whose comment says that they are filled (MARKED); sales are filled after what they ask
_KEEPERS = (days, placements, sales, members)

#: The tables.
KEPT = tuple(name for keeper in _KEEPERS for name in keeper.KEPT)
#: Those that have to be noted as filled.
MARKED = tuple(keeper.MARKED for keeper in _KEEPERS)
#: The comment of a table that is filled.
FILLED = "filled"


def create_all(clickhouse: Client, of: tuple[Table, ...]) -> None:
    """Make the database ``mirror`` with all of its declared tables and what is kept beside them, where they are not there."""
    made = (tables.create(table.name, table.key, tables.columns(table)) for table in of)
    for statement in ("create database if not exists mirror", tables.SNAPSHOTS, *(s for statements in made for s in statements)):
        clickhouse.command(statement)
    # all are there before one is filled, since what is noted in one may have to be noted in another
    for keeper in _KEEPERS:
        keeper.create(clickhouse)
    for keeper in _KEEPERS:
        if not _is_filled(clickhouse, keeper.MARKED):
            keeper.fill(clickhouse)
            clickhouse.command(f"alter table mirror.{keeper.MARKED} modify comment '{FILLED}'")


def _is_filled(clickhouse: Client, table: str) -> bool:
    comment = "select comment from system.tables where database = 'mirror' and name = {table:String}"
    return clickhouse.query(comment, parameters={"table": table}).result_rows == [(FILLED,)]


def after_insert(clickhouse: Client, table: str, ids: Iterable[int]) -> None:
    """Note what inserted rows, by their keys, mean for the unified views, where materialized views cannot tell from the rows alone."""
    keys = Keys(ids)
    if table in days.TABLES:
        days.spread(clickhouse, table, keys)
        sales.resolve(clickhouse, table, keys)
    elif table in members.TABLES:
        members.note(clickhouse, table, keys)
