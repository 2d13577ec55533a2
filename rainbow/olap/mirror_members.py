"""Which categories and sellers a product ever had, by the mirror and by what was published: ``mirror._placements``.

Nearly all products have one line there, so that few need to be looked up in time, among their many versions.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# The first version that had it, of those in the mirror: position, transaction, whether it is of the initial snapshot. And from when on a
# published version has it. Each is the greatest there is where there is none.
_TABLE = """create table if not exists mirror.{name} (
    product_id Int64, category_id Int64, seller_id Int64, first SimpleAggregateFunction(min, Tuple(UInt64, UInt32, UInt8)),
    published_from SimpleAggregateFunction(min, DateTime64(6, 'UTC'))
) engine = AggregatingMergeTree order by (product_id, category_id, seller_id)"""

_NONE, _NEVER = "(toUInt64(-1), toUInt32(0), toUInt8(0))", "toDateTime64('2299-12-31 00:00:00', 6, 'UTC')"


def create(clickhouse: Client) -> None:
    """Make the table and what fills it, where they are not there; one that is made late is filled from the history first."""
    if not clickhouse.command("exists table mirror._placements"):
        clickhouse.command("drop table if exists mirror._placements__incoming sync")
        clickhouse.command(_TABLE.format(name="_placements__incoming"))
        clickhouse.command(f"insert into mirror._placements__incoming {_mirrored('products_history')}")
        clickhouse.command("rename table mirror._placements__incoming to mirror._placements")
    clickhouse.command(
        f"create materialized view if not exists mirror.products_to_placements to mirror._placements as {_mirrored('products')}"
    )


def take_published(clickhouse: Client, about_placements: str, about_products: str) -> None:
    """Add those of ``batch.dim_products``, unless that was done; the comments of the two tables tell."""
    version = hashlib.sha256(about_products.encode()).hexdigest()[:16]
    if about_placements != version:
        clickhouse.command(
            f"""insert into mirror._placements
            select product_id, ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id, {_NONE}, min(valid_from_at)
            from batch.dim_products where product_id >= 0 group by product_id, category_id, seller_id"""
        )
        clickhouse.command(f"alter table mirror._placements modify comment '{version}'")


def _mirrored(table: str) -> str:
    return f"""
        select id as product_id, ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id,
               min((_lsn, _txid, _snapshot)) as first, {_NEVER} as published_from
        from mirror.{table} where not _deleted group by product_id, category_id, seller_id"""
