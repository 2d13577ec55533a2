"""What the unified views ask of members at each read (products, customers, sellers, categories, payments): which of them are not simply as
they always were. Nearly all are, so these tables are small where the members are many.

``mirror._placements`` has each category and seller that a product ever had, by the mirror and by what was published; ``mirror._moved`` the
products that had several. ``mirror._renamed`` has the members that had several names. ``mirror._appeared`` has those that came after the
mirror began, with their first transaction. `note` is called after rows were inserted. All of it only ever grows, so it may be done again at
any time; a member too many is right as well: it is looked up in time, or its days come from the mirror.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rainbow.olap.mirror_days import among

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

TABLES = ("products", "customers", "sellers", "categories", "payments")

# the tables that this module keeps
KEPT = ("_placements", "_moved", "_renamed", "_appeared")

_STATEMENTS = (
    "create table mirror._placements (product_id Int64, category_id Int64, seller_id Int64) engine = ReplacingMergeTree order by (product_id, category_id, seller_id)",
    "create table mirror._moved (product_id Int64) engine = ReplacingMergeTree order by product_id",
    "create table mirror._renamed (table LowCardinality(String), id Int64) engine = ReplacingMergeTree order by (table, id)",
    "create table mirror._appeared__incoming (table LowCardinality(String), id Int64, txid UInt32) engine = ReplacingMergeTree order by (table, id)",
)


def create(clickhouse: Client) -> None:
    """Make the tables and what fills them, where they are not there; when they are made late they are filled from the histories first."""
    if not clickhouse.command("exists table mirror._appeared"):
        for name in ("products_to_placements", *KEPT, "_appeared__incoming"):
            clickhouse.command(f"drop table if exists mirror.{name} sync")
        for statement in _STATEMENTS:
            clickhouse.command(statement)
        clickhouse.command(f"insert into mirror._placements {_placed('products_history')}")
        for table in TABLES:
            _note(clickhouse, table, None, appeared="_appeared__incoming")
        clickhouse.command("rename table mirror._appeared__incoming to mirror._appeared")
    clickhouse.command(
        f"create materialized view if not exists mirror.products_to_placements to mirror._placements as {_placed('products')}"
    )


def note(clickhouse: Client, table: str, keys: Sequence[int]) -> None:
    """Note which of these members have moved, have another name than before or are new; to be called after they are inserted."""
    if keys:
        _note(clickhouse, table, keys)


def take_published(clickhouse: Client, about_placements: str, about_products: str) -> None:
    """Add the placements of ``batch.dim_products``, unless that was done; the comments of the two tables tell."""
    version = hashlib.sha256(about_products.encode()).hexdigest()[:16]
    if about_placements != version:
        clickhouse.command(
            """insert into mirror._placements select distinct product_id, ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id
            from batch.dim_products where product_id >= 0"""
        )
        clickhouse.command(f"insert into mirror._moved {_several(None)} and product_id not in (select product_id from mirror._moved)")
        clickhouse.command(f"alter table mirror._placements modify comment '{version}'")


def take_names(clickhouse: Client, table: str, published: str) -> None:
    """Note members whose published name is not the one that the mirror has; ``published`` is a SELECT of table, id and name."""
    clickhouse.command(
        f"""insert into mirror._renamed select '{table}', now.id
        from (select id, argMax(name, _lsn) as name from mirror.{table} group by id) as now
        inner join ({published}) as published on now.id = published.id
        where published.table = '{table}' and now.name != published.name and now.id not in (select id from mirror._renamed where table = '{table}')"""
    )


def _note(clickhouse: Client, table: str, keys: Sequence[int] | None, appeared: str = "_appeared") -> None:
    """See `note`; None stands for all members."""
    moved = f"id in ({_several(keys)}) and id not in (select product_id from mirror._moved)" if table == "products" else "false"
    rows = clickhouse.query(
        f"""select
            id,
            argMin(_txid, _lsn) as txid,
            argMin(_snapshot, _lsn) = 0 and id not in (select id from mirror.{appeared} where table = '{table}') as is_new,
            uniqExactIf(tuple(name), not _deleted) > 1 and id not in (select id from mirror._renamed where table = '{table}') as is_renamed,
            {moved} as is_moved
        from mirror.{table}_history
        where {_among("id", keys)}
        group by id
        having is_new or is_renamed or is_moved"""
    ).result_rows
    for kept, columns, found in (
        ("_moved", ["product_id"], [(id_,) for id_, _, _, _, is_moved in rows if is_moved]),
        ("_renamed", ["table", "id"], [(table, id_) for id_, _, _, is_renamed, _ in rows if is_renamed]),
        (appeared, ["table", "id", "txid"], [(table, id_, txid) for id_, txid, is_new, _, _ in rows if is_new]),
    ):
        if found:
            clickhouse.insert(f"mirror.{kept}", found, column_names=columns)


def _placed(table: str) -> str:
    return (
        "select distinct id as product_id, ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id "
        f"from mirror.{table} where not _deleted"
    )


def _several(keys: Sequence[int] | None) -> str:
    """The products, of all or of these, that have several placements."""
    return (
        f"select product_id from mirror._placements where {_among('product_id', keys)} group by product_id "
        "having (min(category_id) != max(category_id) or min(seller_id) != max(seller_id))"
    )


def _among(column: str, keys: Sequence[int] | None) -> str:
    return "true" if keys is None else among(column, keys)
