"""The mirror against PostgreSQL, row by row where a day's sums differ, and the repair of rows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rainbow.reconcile import sums
from rainbow.source.tables import BY_NAME, TABLES

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from rainbow.partitions.dates import PartitionRange

# seconds that a change may be under way
GRACE = 2.0


def is_there(client: Client) -> bool:
    """Whether there is a mirror."""
    return bool(client.query("select count() from system.tables where database = 'mirror' and name = 'orderdetails'").result_rows[0][0])


def differing(source: Any, client: Client, partitions: PartitionRange | None) -> dict[str, list[int]]:
    """Keys of rows that differ, by table, in order; those that are equal a moment later are not among them."""
    found: dict[str, list[int]] = {}
    for table in TABLES:
        here, there = sums.of_source(source, table.name, partitions), sums.of_mirror(client, table.name, partitions)
        keys: set[int] = set()
        for day in sorted(day for day in here.keys() | there.keys() if here.get(day) != there.get(day)):
            begin = f"timestamptz '{day} 00:00:00+00'"
            mine = _rows(source, table.name, f"created_at >= {begin} and created_at < {begin} + interval '24 hours'")
            its = _mirrored(client, table.name, f"toDate32(created_at) = toDate32('{day}')")
            keys |= {key for key in mine.keys() | its.keys() if mine.get(key) != its.get(key)}
        if keys:
            found[table.name] = sorted(keys)
    if not found:
        return {}
    time.sleep(GRACE)
    again = {}
    for name, listed in found.items():
        mine, its = _by_key(source, client, name, listed)
        if still := [key for key in listed if mine.get(key) != its.get(key)]:
            again[name] = still
    return again


def repair(source: Any, client: Client, keys: dict[str, list[int]]) -> int:
    """Read these rows from PostgreSQL into the mirror; what is gone becomes deleted. Returns how many rows were written.

    The rows are locked while they are read and the position is taken then: a change before that has a lower one, a later one a higher.
    """
    written = 0
    for name, listed in keys.items():
        table = BY_NAME[name]
        with source.transaction():
            query = f"select {', '.join(table.column_names)} from {name} where {table.key} = any(%s) for share"
            found = source.execute(query, [listed]).fetchall()
            lsn, xid = source.execute(
                "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            ).fetchone()
            now, own = datetime.now(UTC), ["_lsn", "_deleted", "_txid", "_committed_at", "_snapshot"]
            if found:
                rows = [(*row, lsn, 0, xid % 2**32, now, 0) for row in found]
                client.insert(f"mirror.{name}", rows, column_names=[*table.column_names, *own])
            gone = set(listed) - {row[table.column_names.index(table.key)] for row in found}
            if gone:
                client.command(
                    f"insert into mirror.{name} ({', '.join([*table.column_names, *own])}) "
                    f"select {', '.join(table.column_names)}, {lsn}, 1, {xid % 2**32}, now64(3), 0 from mirror.{name} final "
                    f"where not _deleted and {table.key} in ({', '.join(map(str, sorted(gone)))})"
                )
            written += len(found) + len(gone)
    return written


def _by_key(source: Any, client: Client, name: str, keys: list[int]) -> tuple[dict[int, Any], dict[int, Any]]:
    key, listed = BY_NAME[name].key, ", ".join(map(str, keys))
    return _rows(source, name, f"{key} in ({listed})"), _mirrored(client, name, f"{key} in ({listed})")


def _rows(source: Any, name: str, condition: str) -> dict[int, Any]:
    table = BY_NAME[name]
    place = table.column_names.index(table.key)
    found = source.execute(f"select {', '.join(table.column_names)} from {name} where {condition}").fetchall()
    return {row[place]: tuple(_plain(value) for value in row) for row in found}


def _mirrored(client: Client, name: str, condition: str) -> dict[int, Any]:
    table = BY_NAME[name]
    place = table.column_names.index(table.key)
    query = f"select {', '.join(table.column_names)} from mirror.{name} final where not _deleted and {condition}"
    found = client.query(query, query_tz="UTC", tz_mode="aware").result_rows
    return {row[place]: tuple(_plain(value) for value in row) for row in found}


def _plain(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
