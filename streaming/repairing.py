"""Repairing the mirror: the rows at fault are read again from PostgreSQL, written as capture would, and brought in as the mirror would.

A row is read under a lock, so that no transaction that is under way can still change it, and gets the position of the log as of then as
its version: what was written before is older, what comes later is newer. A row that PostgreSQL does not have becomes a delete right
after the version that the mirror has.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import orjson
import psycopg
from psycopg import sql

from rainbow.errors import DataError
from rainbow.olap.keys import Keys, insert_selected
from rainbow.olap.mirror.kept import after_insert
from rainbow.reconcile import Reconciled
from rainbow.reconcile.comparing import differing_keys
from rainbow.settings import settings
from rainbow.source.connection import connect
from rainbow.source.tables import BY_NAME, Table
from streaming.capture.wire import session_options
from streaming.events import Field, Shape
from streaming.mirror.applying import apply
from streaming.mirror.envelopes import Change, Message
from streaming.mirror.tables import Tables
from streaming.topics import SCHEMA

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


def repair(found: Reconciled) -> dict[str, int]:
    """Read the mirror's rows at fault again; how many rows of each table were put right.

    Raises DataError when the user may not lock a table's rows, or the mirror cannot hold one of them; the others are put right.
    """
    from rainbow.olap.client import connect as connect_clickhouse

    repaired: dict[str, int] = {}
    refused: list[str] = []
    options = session_options(settings().url_of("postgres"))
    with connect_clickhouse() as client, connect(client_encoding="utf8", options=options) as connection:
        for one in found.differences:
            if one.place == "mirror":
                table = BY_NAME[one.table]
                keys = differing_keys(client, connection, table, one.day)
                connection.rollback()
                refused += _repair(client, connection, table, keys)
                repaired[one.table] = repaired.get(one.table, 0) + len(keys)
    if refused:
        raise DataError(f"{len(refused)} rows could not be repaired: {'; '.join(refused[:3])}")
    return repaired


def _repair(client: Client, connection: psycopg.Connection[Any], table: Table, keys: Sequence[int]) -> list[str]:
    """Put rows right; what cannot be, and why."""
    tables = Tables(client, client)
    changes = _read(connection, table, tables, keys)
    refused = apply(client, tables, table.name, changes, None, threading.Event())
    connection.commit()
    if gone := sorted(set(keys) - {change.values[table.key] for change in changes}):
        _delete(client, connection, table, Keys(gone, exact=True))
        after_insert(client, table.name, gone)
    return [f"{table.name} {key}: {reason}" for key, reason in refused]


def _read(connection: psycopg.Connection[Any], table: Table, tables: Tables, keys: Sequence[int]) -> list[Change]:
    """The rows as changes of now, with all columns that the mirror has; they stay locked until the transaction ends."""
    name, key, wanted = sql.Identifier(table.name), sql.Identifier(table.key), [list(keys)]
    try:
        connection.execute(sql.SQL("select 1 from {} where {} = any(%s) order by {} for share").format(name, key, key), wanted)
    except psycopg.errors.InsufficientPrivilege as error:
        said = str(error).splitlines()[0]
        raise DataError(
            f"{table.name} cannot be repaired: PostgreSQL does not let this user lock its rows to read them again ({said}); grant it UPDATE on "
            "the table, or set RAINBOW_POSTGRES_URL to a user that has it, for this command"
        ) from error
    (lsn,) = connection.execute("select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").fetchone() or (0,)
    mirrored = tables.of(table.name)
    assert mirrored
    there = [column.name for column in connection.execute(sql.SQL("select * from {} limit 0").format(name)).description or ()]
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in there if column in mirrored.columns)
    read = connection.execute(
        sql.SQL("select {}, xmin, (extract(epoch from now()) * 1000)::bigint from {} where {} = any(%s)").format(columns, name, key), wanted
    ).pgresult
    assert read
    shape = Shape(SCHEMA, table.name, tuple(Field((read.fname(n) or b"").decode(), read.ftype(n)) for n in range(read.nfields - 2)), (0,))
    changes = []
    for row in range(read.ntuples):
        *texts, txid, now = (read.get_value(row, n) for n in range(read.nfields))
        values = orjson.loads(shape.row(shape.write(texts)))
        # a row that is refused is told by its key
        message = cast("Message", values[table.key])
        changes.append(Change(values, lsn, False, int(txid or 0), int(now or 0), "", False, False, message))
    return changes


def _delete(client: Client, connection: psycopg.Connection[Any], table: Table, keys: Keys) -> None:
    (txid,) = connection.execute("select (pg_current_xact_id()::text::numeric % 4294967296)::bigint").fetchone() or (0,)
    connection.commit()
    deletes = (
        f"select * replace (_lsn + 1 as _lsn, 1 as _deleted, {txid} as _txid, now64(3) as _committed_at, 0 as _snapshot) "
        f"from (select * from mirror.{table.name} final where not _deleted and {keys.among(table.key)})"
    )
    insert_selected(client, f"mirror.{table.name}", deletes, keys.table)
