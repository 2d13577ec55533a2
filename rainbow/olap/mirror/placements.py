"""What category and seller each product had and when, as the unified views ask it at each read. Nearly all products always had the same.

``mirror._placements`` has each category and seller that a product ever had, by the mirror and by what was published. For products that had
several, ``mirror._moves`` has from when on which, and ``mirror._restated`` the times for which the mirror said something new, and when it
did: what was published before that may say otherwise. All of it may be done again at any time; a time too many is right as well, its days
come from the mirror.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from rainbow.olap.keys import Keys, insert_selected
from rainbow.olap.mirror import sales

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.external import ExternalData

# before and after all moments
EARLIEST = "toDateTime64('1900-01-01 00:00:00', 6, 'UTC')"
LATEST = "toDateTime64('2299-12-31 00:00:00', 6, 'UTC')"

# What each product that moved was from when on: category and seller.
PLACED = f"""select product_id, if(row_number() over (partition by product_id order by moment) = 1, {EARLIEST}, moment) as from_at, category_id, seller_id
from mirror._moves final"""

# the tables that this module keeps
KEPT = ("_placements", "_moves", "_restated")
# the one whose comment says that all are filled
MARKED = "_restated"

_STATEMENTS = (
    "create table if not exists mirror._placements (product_id Int64, category_id Int64, seller_id Int64) engine = ReplacingMergeTree order by (product_id, category_id, seller_id)",
    "create table if not exists mirror._moves (product_id Int64, moment DateTime64(6, 'UTC'), category_id Int64, seller_id Int64, position UInt64, is_settled UInt8) "
    "engine = ReplacingMergeTree(position) order by (product_id, moment)",
    "create table if not exists mirror._restated (product_id Int64, from_at DateTime64(6, 'UTC'), until_at DateTime64(6, 'UTC'), noted_at DateTime64(6, 'UTC') default now64(6)) "
    "engine = MergeTree order by noted_at",
)

# the columns of a published product that come from its own row
_OWN = ("name", "price", "rating_average", "review_count", "sold_count", "category_id", "brand_id", "seller_id")

# what is worked out of moves that are not noted yet, and what of it is said anew of the past
_MOVES = (
    "product_id Int64, moment DateTime64(6, 'UTC'), category_id Int64, seller_id Int64, position UInt64, is_live UInt8, "
    "from_at DateTime64(6, 'UTC'), until_at DateTime64(6, 'UTC')"
)

_PUBLISHED = """select distinct product_id, ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id
from batch.dim_products where product_id >= 0"""

_RESTATED = "select product_id, from_at, until_at from moves where is_live"


def create(clickhouse: Client) -> None:
    """Make the tables and what fills them as rows arrive, where they are not there."""
    for statement in _STATEMENTS:
        clickhouse.command(statement)
    clickhouse.command(
        f"create materialized view if not exists mirror.products_to_placements to mirror._placements as {_placed('products')}"
    )


def fill(clickhouse: Client) -> None:
    """Fill the tables from the history."""
    clickhouse.command(f"insert into mirror._placements {_placed('products_history')}")
    _move(clickhouse, None)


def note(clickhouse: Client, moved: Keys) -> None:
    """Note from when on these products, which had several placements, had which; to be called after their versions are inserted."""
    if moved:
        _move(clickhouse, moved)


def take_published(clickhouse: Client, about_placements: str, about_products: str) -> None:
    """Add what ``batch.dim_products`` says, unless that was done; the comments of the two tables tell."""
    version = hashlib.sha256(about_products.encode()).hexdigest()[:16]
    if about_placements != version:
        # first: a product with several placements and no moves would be shown with any of them
        _move(clickhouse, None)
        clickhouse.command(f"insert into mirror._placements {_PUBLISHED}")
        clickhouse.command(f"alter table mirror._placements modify comment '{version}'")


def several(keys: Keys | None = None, *, published: bool = False) -> str:
    """The products, of all or of these, that had several placements; ``published``: by what is published, too."""
    placements = f"(select * from mirror._placements union all {_PUBLISHED})" if published else "mirror._placements"
    return (
        f"select product_id from {placements} where {keys.among('product_id') if keys else 'true'} group by product_id "
        "having (min(category_id) != max(category_id) or min(seller_id) != max(seller_id))"
    )


def versions(among: Callable[[str], str], *, published: bool) -> str:
    """Every version of some products that the mirror or, if there is any, what was published knows; ``among`` says which, of a column.

    Of those of one moment the last position counts. The mirror knows the newest of any moment of which it knows one. Of what was published
    a row that follows another one and differs from it by no column of the product's own is left out: its category or brand was renamed.
    """
    columns = "ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id, (category_id, seller_id) as placement"
    mirrored = f"""select id as product_id, updated_at as moment, {columns}, bitOr(_lsn, bitShiftLeft(1::UInt64, 63)) as position, _txid, _snapshot, 1 as is_mirrored
                from mirror.products_history
                where not _deleted and {among("id")}"""
    if not published:
        return mirrored
    return f"""{mirrored}
                union all
                select product_id, valid_from_at as moment, {columns}, toUInt64(toUnixTimestamp64Micro(valid_to_at)) as position, 0 as _txid, 1 as _snapshot, 0 as is_mirrored
                from (
                    select
                        product_id, valid_from_at, valid_to_at, category_id, seller_id, toString(({", ".join(_OWN)})) as own,
                        lagInFrame(own) over preceding as own_before, lagInFrame(valid_to_at) over preceding as ended_before
                    from batch.dim_products
                    where {among("product_id")}
                    window preceding as (partition by product_id order by valid_from_at rows between unbounded preceding and current row)
                )
                where valid_from_at != ended_before or own != own_before"""


def _move(clickhouse: Client, moved: Keys | None) -> None:
    """Note the moves of all products that had several placements, or of these."""
    if moves := _fresh(clickhouse, moved):
        # first, so that lines that arrive meanwhile find them; after a crash what is not settled is fresh again
        insert_selected(clickhouse, "mirror._moves", _moved(is_settled=0), moves)
        insert_selected(clickhouse, "mirror._restated", _RESTATED, moves)
        sales.resolve_products(clickhouse, moves)
        insert_selected(clickhouse, "mirror._moves", _moved(is_settled=1), moves)


def _fresh(clickhouse: Client, products: Keys | None) -> ExternalData | None:
    """Moves of these products, or of all, that are not noted yet, as the table ``moves`` for queries; None when there are none.

    Each has the time that it is about and whether the mirror came to know it live. A moment at which there were several placements is
    noted even if it ends up as the one before it, which an older note may not say.
    """
    from clickhouse_connect.driver.external import ExternalData

    published = bool(clickhouse.command("exists table batch.dim_products"))
    among = products.among if products else lambda column: f"{column} in ({several(published=published)})"
    rows = clickhouse.raw_query(_not_noted(among, published=published), fmt="Native", external_data=products.table if products else None)
    return ExternalData(file_name="moves", fmt="Native", structure=_MOVES, data=rows) if rows else None


def _not_noted(among: Callable[[str], str], *, published: bool) -> str:
    return f"""
        select product_id, moment, placement.1 as category_id, placement.2 as seller_id, newest as position, is_live, from_at, until_at
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
                    from ({versions(among, published=published)}) as version
                    group by product_id, moment
                )
                window preceding as (partition by product_id order by moment rows between unbounded preceding and current row)
            )
            where place = 1 or placement != placement_before or had_several
            window following as (partition by product_id order by moment)
        )
        where (product_id, moment, placement) not in (
            select product_id, moment, (category_id, seller_id) from mirror._moves final where is_settled and {among("product_id")}
        )"""


def _moved(*, is_settled: int) -> str:
    return f"select product_id, moment, category_id, seller_id, position, {is_settled} as is_settled from moves"


def _placed(table: str) -> str:
    return (
        "select distinct id as product_id, ifNull(category_id, -1) as category_id, ifNull(seller_id, -1) as seller_id "
        f"from mirror.{table} where not _deleted"
    )
