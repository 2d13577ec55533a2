"""What category and seller each product had and when, as the unified views ask it at each read. Nearly all products always had the same.

``mirror._placements`` has each category and seller that a product ever had, by the mirror and by what was published. For products that had
several, ``mirror._moves`` has from when on which, and ``mirror._restated`` the times for which the mirror said something new, and when it
did: what was published before that may say otherwise. All of it may be done again at any time; a time too many is right as well, its days
come from the mirror.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rainbow.olap import mirror_sales
from rainbow.olap.mirror_days import among

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# before and after all moments
EARLIEST = "toDateTime64('1900-01-01 00:00:00', 6, 'UTC')"
LATEST = "toDateTime64('2299-12-31 00:00:00', 6, 'UTC')"

# What each product that moved was from when on: category and seller.
PLACED = f"""select product_id, if(row_number() over (partition by product_id order by moment) = 1, {EARLIEST}, moment) as from_at, category_id, seller_id
from mirror._moves final"""

# the tables that this module keeps
KEPT = ("_placements", "_moves", "_restated")

_STATEMENTS = (
    "create table mirror._placements (product_id Int64, category_id Int64, seller_id Int64) engine = ReplacingMergeTree order by (product_id, category_id, seller_id)",
    "create table mirror._moves (product_id Int64, moment DateTime64(6, 'UTC'), category_id Int64, seller_id Int64, position UInt64, is_settled UInt8) "
    "engine = ReplacingMergeTree(position) order by (product_id, moment)",
    "create table mirror._restated__incoming (product_id Int64, from_at DateTime64(6, 'UTC'), until_at DateTime64(6, 'UTC'), noted_at DateTime64(6, 'UTC') default now64(6)) "
    "engine = MergeTree order by noted_at",
)


def create(clickhouse: Client) -> None:
    """Make the tables and what fills them, where they are not there; when they are made late they are filled from the history first."""
    if not clickhouse.command("exists table mirror._restated"):
        # what is kept of sales is made anew from these
        for name in ("products_to_placements", *KEPT, "_restated__incoming", *mirror_sales.KEPT):
            clickhouse.command(f"drop table if exists mirror.{name} sync")
        for statement in _STATEMENTS:
            clickhouse.command(statement)
        clickhouse.command(f"insert into mirror._placements {_placed('products_history')}")
        fresh = _fresh(f"({several(None)})", published=bool(clickhouse.command("exists table batch.dim_products")))
        clickhouse.command(f"insert into mirror._restated__incoming {_restated(fresh)}")
        clickhouse.command(f"insert into mirror._moves {_moves(fresh, is_settled=1)}")
        clickhouse.command("rename table mirror._restated__incoming to mirror._restated")
    clickhouse.command(
        f"create materialized view if not exists mirror.products_to_placements to mirror._placements as {_placed('products')}"
    )


def note(clickhouse: Client, moved: Sequence[int]) -> None:
    """Note from when on these products, which had several placements, had which; to be called after their versions are inserted."""
    if moved:
        _move(clickhouse, moved)


def take_published(clickhouse: Client, about_placements: str, about_products: str) -> None:
    """Add what ``batch.dim_products`` says, unless that was done; the comments of the two tables tell."""
    version = hashlib.sha256(about_products.encode()).hexdigest()[:16]
    if about_placements != version:
        clickhouse.command(
            """insert into mirror._placements select distinct product_id, ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id
            from batch.dim_products where product_id >= 0"""
        )
        _move(clickhouse, None)
        clickhouse.command(f"alter table mirror._placements modify comment '{version}'")


def several(keys: Sequence[int] | None) -> str:
    """The products, of all or of these, that had several placements."""
    return (
        f"select product_id from mirror._placements where {_among(keys)} group by product_id "
        "having (min(category_id) != max(category_id) or min(seller_id) != max(seller_id))"
    )


def versions(products: str, *, published: bool) -> str:
    """Every version of these products (a set in SQL) that the mirror or, if there is any, what was published knows.

    Of those of one moment the last position counts. The mirror knows the newest of any moment of which it knows one.
    """
    columns = "ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id, (category_id, seller_id) as placement"
    mirrored = f"""select id as product_id, updated_at as moment, {columns}, bitOr(_lsn, bitShiftLeft(1::UInt64, 63)) as position, _txid, _snapshot, 1 as is_mirrored
                from mirror.products_history
                where not _deleted and id in {products}"""
    if not published:
        return mirrored
    return f"""{mirrored}
                union all
                select product_id, valid_from_at as moment, {columns}, toUInt64(toUnixTimestamp64Micro(valid_to_at)) as position, 0 as _txid, 1 as _snapshot, 0 as is_mirrored
                from batch.dim_products
                where product_id in {products}"""


def _move(clickhouse: Client, moved: Sequence[int] | None) -> None:
    """Note the moves of all products that had several placements, or of these."""
    products = f"({several(None)})" if moved is None else f"({', '.join(map(str, moved))})"
    fresh = _fresh(products, published=bool(clickhouse.command("exists table batch.dim_products")))
    if clickhouse.query(f"select 1 from ({fresh}) limit 1").result_rows:
        # first, so that lines that arrive meanwhile find them; after a crash what is not settled is fresh again
        clickhouse.command(f"insert into mirror._moves {_moves(fresh, is_settled=0)}")
        clickhouse.command(f"insert into mirror._restated {_restated(fresh)}")
        mirror_sales.resolve_products(clickhouse, fresh)
        clickhouse.command(f"insert into mirror._moves {_moves(fresh, is_settled=1)}")


def _fresh(products: str, *, published: bool) -> str:
    """Moves of these products that are not noted yet, each with the time that it is about and whether the mirror came to know it live.

    A moment at which there were several placements is noted even if it ends up as the one before it, which an older note may not say.
    """
    return f"""
        select product_id, moment, placement, newest, is_live, from_at, until_at
        from (
            select
                product_id, moment, placement, newest, is_live,
                if(row_number() over following = 1, {EARLIEST}, moment) as from_at,
                lead(moment, 1, {LATEST}) over following as until_at
            from (
                select *, row_number() over preceding as place, lagInFrame(placement) over preceding as placement_before
                from (
                    select
                        product_id, moment, argMax(version.placement, version.position) as placement, max(version.position) as newest,
                        argMax(not version._snapshot, version.position) as is_live, uniqExact(version.placement) > 1 as had_several
                    from ({versions(products, published=published)}) as version
                    group by product_id, moment
                )
                window preceding as (partition by product_id order by moment rows between unbounded preceding and current row)
            )
            where place = 1 or placement != placement_before or had_several
            window following as (partition by product_id order by moment)
        )
        where (product_id, moment, placement) not in (
            select product_id, moment, (category_id, seller_id) from mirror._moves final where is_settled and product_id in {products}
        )"""


def _restated(fresh: str) -> str:
    return f"(product_id, from_at, until_at) select product_id, from_at, until_at from ({fresh}) where is_live"


def _moves(fresh: str, *, is_settled: int) -> str:
    return f"select product_id, moment, placement.1, placement.2, newest, {is_settled} from ({fresh})"


def _placed(table: str) -> str:
    return (
        "select distinct id as product_id, ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id "
        f"from mirror.{table} where not _deleted"
    )


def _among(keys: Sequence[int] | None) -> str:
    return "true" if keys is None else among("product_id", keys)
