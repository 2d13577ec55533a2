"""Tables of the database ``mirror`` that are worked out of its histories: each is filled from them when it is made.

Several mirrors may do so at the same time, and each may be killed in the middle. So a table is filled without regard to what it has, in
such a way that a row that comes again does no harm, and is noted as filled, in its comment, at the end; as long as it is not, it is filled
once more, and nobody reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

#: The comment of a table that is filled.
FILLED = "filled"


def fill_once(clickhouse: Client, table: str, work: Callable[[], object]) -> None:
    """Do the work that fills a table, and whatever else is filled with it, unless that was done before."""
    comment = "select comment from system.tables where database = 'mirror' and name = {table:String}"
    if clickhouse.query(comment, parameters={"table": table}).result_rows != [(FILLED,)]:
        work()
        clickhouse.command(f"alter table mirror.{table} modify comment '{FILLED}'")
