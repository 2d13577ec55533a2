"""Repairing the mirror: the rows at fault are read again from PostgreSQL.

A row is read under a lock, so that no transaction that is under way can still change it, and gets the position of the log as of then as
its version: what was written before is older, what comes later is newer. A row that PostgreSQL does not have becomes a delete right
after the version that the mirror has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql

from rainbow.olap.keys import Keys, insert_selected
from rainbow.olap.mirror.kept import after_insert
from rainbow.olap.mirror.tables import OWN_COLUMNS
from rainbow.reconcile.comparing import Reconciled, differing_keys
from rainbow.source.connection import connect
from rainbow.source.tables import BY_NAME, Table

if TYPE_CHECKING:
    import psycopg
    from clickhouse_connect.driver.client import Client


def repair(found: Reconciled) -> dict[str, int]:
    """Read the mirror's rows at fault again; how many rows of each table were put right."""
    from rainbow.olap.client import connect as connect_clickhouse

    repaired: dict[str, int] = {}
    with connect_clickhouse() as client, connect() as connection:
        for one in found.differences:
            if one.place == "mirror":
                table = BY_NAME[one.table]
                keys = differing_keys(client, connection, table, one.day)
                connection.rollback()
                repaired[one.table] = repaired.get(one.table, 0) + _repair(client, connection, table, keys)
    return repaired


def _repair(client: Client, connection: psycopg.Connection[Any], table: Table, keys: Sequence[int]) -> int:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.column_names))
    name, key = sql.Identifier(table.name), sql.Identifier(table.key)
    connection.execute(sql.SQL("select 1 from {} where {} = any(%s) order by {} for share").format(name, key, key), [list(keys)])
    (position,) = connection.execute("select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").fetchone() or (0,)
    rows = connection.execute(
        sql.SQL("select {}, {}, 0, xmin::text::bigint, now(), 0 from {} where {} = any(%s)").format(
            columns, sql.Literal(position), name, key
        ),
        [list(keys)],
    ).fetchall()
    names = [*table.column_names, *OWN_COLUMNS]
    if rows:
        client.insert(f"mirror.{table.name}", rows, column_names=names)
    connection.commit()
    place = table.column_names.index(table.key)
    gone = sorted(set(keys) - {row[place] for row in rows})
    if gone:
        (unseen,) = connection.execute("select (pg_current_xact_id()::text::numeric % 4294967296)::bigint").fetchone() or (0,)
        connection.commit()
        missing = Keys(gone, exact=True)
        deletes = (
            f"select * replace (_lsn + 1 as _lsn, 1 as _deleted, {unseen} as _txid, now64(3) as _committed_at, 0 as _snapshot) "
            f"from (select * from mirror.{table.name} final where not _deleted and {missing.among(table.key)})"
        )
        insert_selected(client, f"mirror.{table.name}", deletes, missing.table)
    after_insert(client, table.name, keys)
    return len(keys)
