"""Late rows: what the source has, belongs to a partition that was extracted, and no extract has seen.

The next extract of any partition takes them; a plan says so before. A row of a subtransaction that was open at the last extract
is not counted here, since snapshots do not list those, but it is extracted all the same.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
from psycopg import sql

from rainbow.lake import manifest as manifests
from rainbow.lake.extract import has_xmin
from rainbow.lake.files import Lake
from rainbow.partitions.dates import start_of_next
from rainbow.source import reader
from rainbow.source.connection import connect
from rainbow.source.tables import TABLES


def late_rows(lake: Lake | None = None) -> dict[tuple[str, date], int]:
    """How many late rows there are, by table and partition; deletes count as rows.

    Raises ServiceError when the source does not answer.
    """
    lake = lake or Lake()
    last, latest = manifests.newest(lake), manifests.latest_partition(lake)
    if last is None or latest is None:
        return {}
    _, end, open_then = last.snapshot.split(":")
    found: dict[tuple[str, date], int] = {}
    with connect(autocommit=True) as connection:
        deletes = reader.has_deletions(connection)
        for table in TABLES:
            if not has_xmin(connection, table.name):
                continue
            not_seen = unseen(end, open_then)
            before = sql.Literal(start_of_next(latest))
            asked = [
                sql.SQL("select updated_at as moment from {} where {} and updated_at < {}").format(
                    sql.Identifier(table.name), not_seen, before
                )
            ]
            if deletes:
                asked.append(
                    sql.SQL("select deleted_at as moment from deletions where table_name = {} and {} and deleted_at < {}").format(
                        sql.Literal(table.name), not_seen, before
                    )
                )
            for day, count in _by_day(connection, sql.SQL(" union all ").join(asked)):
                found[table.name, day] = count
    return found


def unseen(end: str, open_then: str) -> sql.Composed:
    """Rows whose transaction had not begun at a snapshot, or was under way. ``age()`` compares across the wrap of 32-bit ids."""
    condition = sql.SQL("(age(xmin) <= age({}::xid)").format(sql.Literal(str(int(end) % (1 << 32))))
    if open_then:
        listed = sql.SQL(", ").join(sql.SQL("{}::xid").format(sql.Literal(str(int(one) % (1 << 32)))) for one in open_then.split(","))
        condition += sql.SQL(" or xmin in ({})").format(listed)
    return condition + sql.SQL(")")


def _by_day(connection: psycopg.Connection[Any], rows: sql.Composable) -> list[tuple[date, int]]:
    query = sql.SQL("select (moment at time zone 'UTC')::date, count(*) from ({}) as unseen group by 1").format(rows)
    return connection.execute(query).fetchall()
