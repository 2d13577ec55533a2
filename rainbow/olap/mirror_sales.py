"""Order lines that a reader would have to look up, looked up as changes arrive: ``mirror._resolved``.

Nearly every line is on the same day as its order, and its product is all that day in one category and at one seller. So a unified view
takes it as it is. Those for which that does not hold are here, joined with their order and with what their product was when it was placed:
lines of orders that have several days (`mirror._spanning`), and lines of products that moved on the line's day (`mirror._moves`). A line
stays once it is here. It has a row for each day that it or its order ever had, one of which says that it is there, unless it is gone.

The version of a row tells which of two states is the later one, whichever was worked out last: it grows with the line's position in the
log, then with the order's, then with what is known of the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rainbow.olap.mirror_days import among
from rainbow.source.tables import BY_NAME
from rainbow.types import clickhouse_type

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# the tables that this module keeps
KEPT = ("_resolved",)

# before and after all moments
EARLIEST = "toDateTime64('1900-01-01 00:00:00', 6, 'UTC')"
LATEST = "toDateTime64('2299-12-31 00:00:00', 6, 'UTC')"

# what products were from when on; where this is asked of, a SELECT in parentheses will do as well
_MOVES = "mirror._moves final"

_OF_LINE = ("order_id", "product_id", "quantity", "amount", "discount")
_OF_ORDER = ("customer_id", "payment_id")


def create(clickhouse: Client) -> None:
    """Make the table where it is not there; when it is made late it is filled from the histories first."""
    if not clickhouse.command("exists table mirror._resolved"):
        types = {c.name: clickhouse_type(c.type) for table in ("orders", "orderdetails") for c in BY_NAME[table].columns}
        columns = ", ".join(f"{name} {types[name]}" for name in (*_OF_LINE, *_OF_ORDER))
        clickhouse.command("drop table if exists mirror._resolved__incoming sync")
        clickhouse.command(
            f"""create table mirror._resolved__incoming (
                day Date32, id Int64, {columns}, ordered_at DateTime64(6, 'UTC'), is_moved UInt8, category_id Int64, seller_id Int64,
                is_there UInt8, version UInt256, index by_order_id order_id type minmax
            ) engine = ReplacingMergeTree(version) order by (day, id)"""
        )
        special = f"select id from mirror.orderdetails_history where order_id in (select order_id from mirror._spanning) or {_on_day_of_move(_MOVES)}"
        clickhouse.command(f"insert into mirror._resolved__incoming {_resolved(special, _MOVES)}")
        clickhouse.command("rename table mirror._resolved__incoming to mirror._resolved")


def resolve(clickhouse: Client, table: str, keys: Sequence[int]) -> None:
    """Look up what these orders or lines mean for lines that take it; to be called after they are inserted and their days are noted."""
    if not keys:
        return
    on_day_of_move = _on_day_of_move("mirror._moves")
    if table == "orders":
        of_order = among("order_id", keys)
        spanning = f"order_id in (select order_id from mirror._spanning where {of_order})"
        # a line may be here for what it was before it came to this order
        known = f"id in (select id from mirror._resolved where {of_order})"
        lines = f"{of_order} and ({spanning} or {on_day_of_move} or {known})"
    else:
        own = f"{among('id', keys)} and (order_id in (select order_id from mirror._spanning) or {on_day_of_move})"
        if not _any(clickhouse, f"select id from mirror.orderdetails_history where {own}"):
            return
        of_order = f"order_id in (select order_id from mirror.orderdetails_history where {among('id', keys)})"
        lines = f"{own} or order_id in (select order_id from mirror._spanning where {of_order})"
    _resolve(clickhouse, f"select id from mirror.orderdetails_history where {lines}")


def resolve_products(clickhouse: Client, products: str, moves: str) -> None:
    """The same for what is new of products (a set in SQL); ``moves`` is a SELECT of what is to come into ``mirror._moves`` after this."""
    columns = "product_id, moment, category_id, seller_id, position"
    known = f"""(select product_id, moment, argMax(move.category_id, move.position) as category_id, argMax(move.seller_id, move.position) as seller_id, max(move.position) as position
        from (select {columns} from mirror._moves where product_id in {products} union all select {columns} from ({moves})) as move
        group by product_id, moment)"""
    _resolve(
        clickhouse,
        f"""select id from mirror.orderdetails_history where product_id in {products} and (
            {_on_day_of_move(known)} or id in (select id from mirror._resolved where product_id in {products})
        )""",
        known,
    )


def resolve_all(clickhouse: Client) -> None:
    """The same for all lines that were ever looked up."""
    _resolve(clickhouse, "select id from mirror._resolved")


def placed(moves: str = _MOVES) -> str:
    """What each product that moved was from when on: category and seller."""
    return f"""select product_id, if(row_number() over (partition by product_id order by moment) = 1, {EARLIEST}, moment) as from_at, category_id, seller_id
from {moves}"""


def _on_day_of_move(moves: str) -> str:
    return f"(product_id, toDate32(created_at)) in (select product_id, toDate32(moment) from {moves})"


def _any(clickhouse: Client, found: str) -> bool:
    return bool(clickhouse.query(f"select 1 from ({found}) limit 1").result_rows)


def _resolve(clickhouse: Client, lines: str, moves: str = _MOVES) -> None:
    if _any(clickhouse, lines):
        clickhouse.command(f"insert into mirror._resolved {_resolved(lines, moves)}")


def _resolved(lines: str, moves: str) -> str:
    """The rows of these lines, by the histories and by these moves."""
    of_line, of_order = ", ".join(_OF_LINE), ", ".join(_OF_ORDER)
    line = "\n                ".join(f"line.state.{place} as {name}," for place, name in enumerate(_OF_LINE, 1))
    order = "\n                ".join(f"if(is_ordered, of_order.state.{place}, -1) as {name}," for place, name in enumerate(_OF_ORDER, 1))
    return f"""
        with
        line as (
            select
                id, argMax(({of_line}, created_at, _deleted), _lsn) as state, max(_lsn) as lsn,
                groupUniqArray(toDate32(created_at)) as days, groupUniqArray(order_id) as order_ids
            from mirror.orderdetails_history
            where id in ({lines})
            group by id
        ),
        of_order as (
            select id, argMax(({of_order}, created_at, _deleted), _lsn) as state, max(_lsn) as lsn, groupUniqArray(toDate32(created_at)) as days, 1 as is_known
            from mirror.orders_history
            where id in (select arrayJoin(order_ids) from line)
            group by id
        ),
        all_days as (
            select one.id as id, groupUniqArrayArray(of_order.days) as days
            from (select id, arrayJoin(order_ids) as order_id from line) as one
            inner join of_order on one.order_id = of_order.id
            group by id
        ),
        sale as (
            select
                line.id as id,
                {line}
                {order}
                of_order.is_known and not of_order.state.{len(_OF_ORDER) + 2} as is_ordered,
                if(is_ordered, of_order.state.{len(_OF_ORDER) + 1}, line.state.{len(_OF_LINE) + 1}) as ordered_at,
                not line.state.{len(_OF_LINE) + 2} as is_sold,
                arrayDistinct(arrayConcat(line.days, all_days.days)) as days,
                line.lsn as line_lsn,
                of_order.lsn as order_lsn
            from line
            left join of_order on line.state.1 = of_order.id
            left join all_days on line.id = all_days.id
        )
        select
            arrayJoin(sale.days) as day, sale.id as id, {", ".join(f"sale.{name} as {name}" for name in (*_OF_LINE, *_OF_ORDER))},
            sale.ordered_at as ordered_at, moving.is_moved as is_moved, moving.category_id as category_id, moving.seller_id as seller_id,
            sale.is_sold and day = toDate32(sale.ordered_at) as is_there,
            bitShiftLeft(toUInt256(sale.line_lsn), 128) + bitShiftLeft(toUInt256(sale.order_lsn), 64) + toUInt256(known.state) as version
        from sale
        asof left join (select *, 1 as is_moved from ({placed(moves)})) as moving
            on sale.product_id = moving.product_id and sale.ordered_at >= moving.from_at
        left join (
            select product_id, sum(bitAnd(position, bitShiftLeft(1::UInt64, 63) - 1)) + count() as state from {moves} group by product_id
        ) as known on sale.product_id = known.product_id"""
