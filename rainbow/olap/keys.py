"""Keys of rows in queries to ClickHouse, thousands of them: as a range where they are near to each other, else as a table that travels
with the query (https://clickhouse.com/docs/engines/table-engines/special/external-data).

As numbers in the query's text they would take longer to read than the rows that they stand for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.external import ExternalData


class Keys:
    """A set of keys, 64-bit integers; ``exact``: whether it matters when keys that lie between them are taken for some of them."""

    def __init__(self, keys: Iterable[int], *, exact: bool = False) -> None:
        self._keys = sorted(set(keys))
        self._are_near = bool(self._keys) and not exact and self._keys[-1] - self._keys[0] < 4 * len(self._keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def among(self, column: str) -> str:
        """The condition that a column is one of the keys, for a query that ``table`` is given to."""
        if self._are_near:
            return f"{column} between {self._keys[0]} and {self._keys[-1]}"
        return f"{column} in (select id from _keys)"

    @property
    def table(self) -> ExternalData | None:
        """What a query needs besides its text to know the keys."""
        from clickhouse_connect.driver.external import ExternalData

        if self._are_near:
            return None
        return ExternalData(file_name="_keys", fmt="RowBinary", structure="id Int64", data=array("q", self._keys).tobytes())


def insert_selected(clickhouse: Client, table: str, select: str, given: ExternalData | None) -> bool:
    """Insert what a SELECT finds, whose columns are named as the table's; False when it finds nothing. ``given`` travels with it."""
    rows = clickhouse.raw_query(select, fmt="Native", external_data=given)
    if rows:
        clickhouse.raw_insert(table, insert_block=rows, fmt="Native")
    return bool(rows)
