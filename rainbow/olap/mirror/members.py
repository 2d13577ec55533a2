"""What the unified views ask of members at each read (products, customers, sellers, categories, payments): which of them are not simply as
they always were. Nearly all are, so these tables are small where the members are many.

``mirror._renamed`` has the members that had several names, and sellers and categories that came after the mirror began, with the name that
they have now and when that was noted; so it has those whose name is not the published one. ``mirror._appeared`` has those that came after
the mirror began, with their first transaction. For products that moved see `placements`. `note` is called after rows were inserted. All of
it may be done again at any time; a member too many is right as well: it is looked up, or its days come from the mirror.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbow.olap.keys import Keys
from rainbow.olap.mirror import placements

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

TABLES = ("products", "customers", "sellers", "categories", "payments")

# the tables that this module keeps
KEPT = ("_renamed", "_appeared")
# the one whose comment says that all are filled
MARKED = "_appeared"

# members of which the batch may have rows before it knows their name
_UNKNOWN_BY_NAME = ("sellers", "categories")

_NOTED = "noted_at DateTime64(6, 'UTC') default now64(6)"
_STATEMENTS = (
    f"create table if not exists mirror._renamed (table LowCardinality(String), id Int64, name String, lsn UInt64, {_NOTED}) engine = ReplacingMergeTree(lsn) order by (table, id)",
    f"create table if not exists mirror._appeared (table LowCardinality(String), id Int64, txid UInt32, {_NOTED}) engine = ReplacingMergeTree order by (table, id)",
)


def create(clickhouse: Client) -> None:
    """Make the tables, where they are not there."""
    for statement in _STATEMENTS:
        clickhouse.command(statement)


def fill(clickhouse: Client) -> None:
    """Fill the tables from the histories."""
    for table in TABLES:
        _note(clickhouse, table, None)


def note(clickhouse: Client, table: str, keys: Keys) -> None:
    """Note which of these members have moved, have another name than before or are new; to be called after they are inserted."""
    if keys:
        _note(clickhouse, table, keys)


def take_names(clickhouse: Client, table: str, published: str) -> None:
    """Note members whose published name is not the one that the mirror has; ``published`` is a SELECT of ids and names."""
    clickhouse.command(
        f"""insert into mirror._renamed (table, id, name, lsn) select '{table}', now.id, now.name, now.lsn
        from (select id, argMax(name, _lsn) as name, max(_lsn) as lsn from mirror.{table} group by id) as now
        inner join ({published}) as published on now.id = published.id
        where now.name != published.name"""
    )


def _note(clickhouse: Client, table: str, keys: Keys | None) -> None:
    """See `note`; None stands for all members."""
    moved = f"id in ({placements.several(keys)})" if table == "products" and keys is not None else "false"
    rows = clickhouse.query(
        f"""select
            id,
            argMin(_txid, _lsn) as txid,
            argMin(_snapshot, _lsn) = 0 and id not in (select id from mirror._appeared where table = '{table}') as is_new,
            (uniqExactIf(tuple(name), not _deleted) > 1 or is_new and {table in _UNKNOWN_BY_NAME}) and (id, newest_name) not in (
                select id, name from mirror._renamed final where table = '{table}'
            ) as is_renamed,
            {moved} as is_moved,
            argMax(name, _lsn) as newest_name,
            max(_lsn) as lsn
        from mirror.{table}_history
        where {"true" if keys is None else keys.among("id")}
        group by id
        having is_new or is_renamed or is_moved""",
        external_data=keys.table if keys else None,
    ).named_results()
    found = list(rows)
    for kept, columns, noted in (
        ("_renamed", ["table", "id", "name", "lsn"], [(table, m["id"], m["newest_name"], m["lsn"]) for m in found if m["is_renamed"]]),
        ("_appeared", ["table", "id", "txid"], [(table, m["id"], m["txid"]) for m in found if m["is_new"]]),
    ):
        if noted:
            clickhouse.insert(f"mirror.{kept}", noted, column_names=columns)
    placements.note(clickhouse, Keys((m["id"] for m in found if m["is_moved"]), exact=True))
