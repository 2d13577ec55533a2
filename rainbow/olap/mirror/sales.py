"""Order lines that a reader would have to look up, looked up as changes arrive: ``mirror._resolved``.

Nearly every line is on the same day as its order, and its product is all that day in one category and at one seller. So a unified view
takes it as it is. Those for which that does not hold are here, joined with their order: lines of orders that have several days
(`mirror._spanning`), and lines of products that moved on the line's day (`mirror._moves`). A line stays once it is here. It has a row for
each day that it or its order ever had, one of which says that it is there, unless it is gone.

The version of a row tells which of two states is the later one, whichever was worked out last: it grows with the line's position in the
log, then with the order's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbow.olap.keys import Keys, insert_selected
from rainbow.source.tables import BY_NAME
from rainbow.types import clickhouse_type

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.external import ExternalData

# the tables that this module keeps
KEPT = ("_resolved",)
# the one whose comment says that all are filled
MARKED = "_resolved"

_ON_DAY_OF_MOVE = "(product_id, toDate32(created_at)) in (select product_id, toDate32(moment) from mirror._moves)"
_IS_SPECIAL = f"order_id in (select order_id from mirror._spanning) or {_ON_DAY_OF_MOVE}"

_OF_LINE = ("order_id", "product_id", "quantity", "amount", "discount")
_OF_ORDER = ("customer_id", "payment_id")


def create(clickhouse: Client) -> None:
    """Make the table where it is not there."""
    types = {c.name: clickhouse_type(c.type) for table in ("orders", "orderdetails") for c in BY_NAME[table].columns}
    columns = ", ".join(f"{name} {types[name]}" for name in (*_OF_LINE, *_OF_ORDER))
    clickhouse.command(
        f"""create table if not exists mirror._resolved (
            day Date32, id Int64, {columns}, ordered_at DateTime64(6, 'UTC'), is_there UInt8, version UInt128,
            index by_order_id order_id type minmax
        ) engine = ReplacingMergeTree(version) order by (day, id)"""
    )


def fill(clickhouse: Client) -> None:
    """Fill the table from the histories; to be called after days and placements are filled."""
    special = f"select id from mirror.orderdetails_history where {_IS_SPECIAL}"
    clickhouse.command(f"insert into mirror._resolved {_resolved(f'id in ({special})')}")


def resolve(clickhouse: Client, table: str, keys: Keys) -> None:
    """Look up what these orders or lines mean for lines that take it; to be called after they are inserted and their days are noted."""
    if not keys:
        return
    if table == "orders":
        of_order = keys.among("order_id")
        spanning = f"order_id in (select order_id from mirror._spanning where {of_order})"
        # a line may be here for what it was before it came to this order
        known = f"id in (select id from mirror._resolved where {of_order})"
        lines = _lines(clickhouse, f"{of_order} and ({spanning} or {_ON_DAY_OF_MOVE} or {known})", keys)
    else:
        lines = _lines(clickhouse, f"{keys.among('id')} and ({_IS_SPECIAL})", keys)
        if lines:
            orders = f"select order_id from mirror.orderdetails_history where {lines.among('id')}"
            of_order = f"order_id in (select order_id from mirror._spanning where order_id in ({orders}))"
            lines = _lines(clickhouse, f"{lines.among('id')} or {of_order}", lines)
    _resolve(clickhouse, lines)


def resolve_products(clickhouse: Client, moves: ExternalData) -> None:
    """The same for products that moved; ``moves`` is a table of products and moments, called ``moves``."""
    found = """select id from mirror.orderdetails where toDate32(created_at) in (select toDate32(moment) from moves)
            and (product_id, toDate32(created_at)) in (select product_id, toDate32(moment) from moves)"""
    _resolve(clickhouse, _found(clickhouse, found, moves))


def resolve_all(clickhouse: Client) -> None:
    """The same for all lines that were ever looked up."""
    clickhouse.command(f"insert into mirror._resolved {_resolved('id in (select id from mirror._resolved)')}")


def _lines(clickhouse: Client, condition: str, keys: Keys) -> Keys:
    """The lines that ever were as the condition says, which names ``keys``."""
    return _found(clickhouse, f"select distinct id from mirror.orderdetails_history where {condition}", keys.table)


def _found(clickhouse: Client, ids: str, table: ExternalData | None) -> Keys:
    return Keys((id_ for (id_,) in clickhouse.query(ids, external_data=table).result_rows), exact=True)


def _resolve(clickhouse: Client, lines: Keys) -> None:
    if lines:
        insert_selected(clickhouse, "mirror._resolved", _resolved(lines.among("id")), lines.table)


def _resolved(lines: str) -> str:
    """The rows of the lines that meet a condition, by the histories."""
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
            where {lines}
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
                bitShiftLeft(toUInt128(line.lsn), 64) + of_order.lsn as version
            from line
            left join of_order on line.state.1 = of_order.id
            left join all_days on line.id = all_days.id
        )
        select
            arrayJoin(days) as day, id, {of_line}, {of_order}, ordered_at, is_sold and day = toDate32(ordered_at) as is_there, version
        from sale"""
