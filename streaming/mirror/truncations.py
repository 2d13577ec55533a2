"""Truncations: every row of a table below a position is gone, also one that arrives later.

A topic's partitions are read apart, so rows that were written before a TRUNCATE may arrive after it, and at another mirror of the
group. Each table's newest truncation is therefore noted in ``mirror._truncations`` and done again when older rows have come since.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from rainbow.olap.mirror import days, sales
from rainbow.olap.mirror.tables import OWN_COLUMNS
from streaming.mirror.envelopes import Change, Truncation
from streaming.mirror.tables import MirrorTable, Tables, quoted

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

TABLE = """
create table if not exists mirror._truncations (table_name String, lsn UInt64, txid UInt32, committed Int64, snapshot String)
engine = ReplacingMergeTree(lsn) order by table_name
"""


class Floor(NamedTuple):
    """A table's newest truncation."""

    lsn: int
    txid: int
    committed: int
    snapshot: str


class Truncations:
    """The newest truncation of each table, as far as is known. Threads may share it: what two do at once is done twice, which is harmless."""

    def __init__(self) -> None:
        self._floors: dict[str, Floor] = {}

    def look_up(self, client: Client, tables: Tables) -> None:
        """Do those that other mirrors, or this one before it was started again, have noted and that are not known here."""
        client.command(TABLE)
        noted = client.query("select table_name, lsn, txid, committed, snapshot from mirror._truncations final").result_rows
        for name, *floor in noted:
            if self._is_higher(name, Floor(*floor)):
                before = self._floors.get(name)
                # first, so that older rows that are inserted meanwhile are looked at as well
                self._floors[name] = Floor(*floor)
                try:
                    self._do(tables, name, Floor(*floor))
                except BaseException:
                    if before:
                        self._floors[name] = before
                    else:
                        del self._floors[name]
                    raise

    def after(self, client: Client, tables: Tables, name: str, changes: Iterable[Change | Truncation]) -> None:
        """What is left to do after these changes were brought in: to note a truncation, and to do it again over older rows."""
        lowest = None
        for change in changes:
            if isinstance(change, Truncation):
                floor = Floor(change.lsn, change.txid, change.committed, change.snapshot)
                if self._is_higher(name, floor):
                    client.insert("mirror._truncations", [[name, *floor]], column_names=["table_name", *Floor._fields])
                    self._floors[name] = floor
            elif lowest is None or change.lsn < lowest:
                lowest = change.lsn
        known = self._floors.get(name)
        if known and lowest is not None and lowest < known.lsn:
            self._do(tables, name, known)

    def _is_higher(self, name: str, floor: Floor) -> bool:
        known = self._floors.get(name)
        return known is None or floor.lsn > known.lsn

    def _do(self, tables: Tables, name: str, floor: Floor) -> None:
        if table := tables.of(name):
            truncate(tables.patient, table, floor)


def truncate(client: Client, table: MirrorTable, truncation: Truncation | Floor) -> None:
    """Mark every row that was there at a position as deleted; again and in any order of truncations, since the history is what is looked at.

    A snapshot's truncation stays one below the snapshot's own position: so its rows win, in whatever order two mirrors get there.
    """
    position = truncation.lsn - 1 if truncation.snapshot else truncation.lsn
    columns, keys = ", ".join(map(quoted, table.columns)), ", ".join(map(quoted, table.keys))
    committed = f"fromUnixTimestamp64Milli(toInt64({truncation.committed}), 'UTC')"
    client.command(
        f"""insert into {table.quoted} ({columns}, {", ".join(OWN_COLUMNS)})
            select {columns}, {position}, 1, {truncation.txid}, {committed}, {int(bool(truncation.snapshot))}
            from {table.history} final where ({keys}, _lsn) in (
                select {keys}, max(_lsn) from {table.history} where _lsn <= {position} group by {keys} having argMax(_deleted, _lsn) = 0)"""
    )
    if table.name in days.TABLES:
        sales.resolve_all(client)
        if not truncation.snapshot:
            days.touch_all(client, truncation.txid, committed)
