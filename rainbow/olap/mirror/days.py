"""Which days of sales the mirror has changes of, and how new those are: ``mirror._days``, which the unified views ask at each read.

It is kept as changes arrive, so that a read costs by the days and not by the history. For each day on which an order or a line is or was,
it has the newest transaction and the latest moments of what changed there. A change also counts for the days of what belongs to it: of a
line's orders, of an order's lines, of the row's earlier versions. Where that is the same day, as nearly always, a materialized view has
noted it in the insert itself; `spread` notes it for the others, after the insert. So of two rows that belong together and arrive at the
same time at two mirrors, the later one finds the other.

All of it only ever grows, so it may be done again at any time. A day too many is right as well: the mirror has every day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbow.olap.keys import Keys, insert_selected

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# the tables whose rows are sales
TABLES = ("orders", "orderdetails")

# the tables that this module keeps
KEPT = ("_days", "_spanning")
# the one whose comment says that all are filled
MARKED = "_days"

# of a row in the mirror's initial snapshot, instead of the quarter
SNAPSHOT = 4

# Transaction ids are 32 bits and wrap, so there is no newest of all of them; of those in one quarter of the ring there is.
_DAYS = """create table if not exists mirror._days (
    day Date32, quarter UInt8, newest_txid SimpleAggregateFunction(max, UInt32),
    first_updated_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')), last_updated_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    last_deleted_at SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
) engine = AggregatingMergeTree order by (day, quarter)"""

# orders that have several days, of their own and of their lines, in all versions
_SPANNING = "create table if not exists mirror._spanning (day Date32, order_id Int64) engine = ReplacingMergeTree order by (day, order_id)"

_COLUMNS = "day, quarter, newest_txid, first_updated_at, last_updated_at, last_deleted_at"

# what a version of a row says of each day that it counts for
_MARK = f"(if(_snapshot, {SNAPSHOT}, bitShiftRight(_txid, 30))::UInt8, _txid, updated_at, if(_deleted, _committed_at, toDateTime64(0, 3, 'UTC')))"

_SUMMARY = "mark.1 as quarter, max(mark.2) as newest_txid, min(mark.3) as first_updated_at, max(mark.3) as last_updated_at, max(mark.4) as last_deleted_at"


def create(clickhouse: Client) -> None:
    """Make the tables and what fills them as rows arrive, where they are not there."""
    clickhouse.command(_DAYS)
    clickhouse.command(_SPANNING)
    for table in TABLES:
        clickhouse.command(f"create materialized view if not exists mirror.{table}_to_days to mirror._days as {_own(table)}")


def fill(clickhouse: Client) -> None:
    """Fill the tables from the histories."""
    for table in TABLES:
        clickhouse.command(f"insert into mirror._days ({_COLUMNS}) {_own(f'{table}_history')}")
    groups = _groups("orders", "true", "true")
    clickhouse.command(f"insert into mirror._days ({_COLUMNS}) {_spread(groups)}")
    clickhouse.command(f"insert into mirror._spanning {_spanned(groups)}")


def spread(clickhouse: Client, table: str, keys: Keys) -> None:
    """Note what changes of these orders or lines mean for other days than their own; to be called after they are inserted."""
    groups = _groups(table, keys.among("id"), keys.among("order_id"))
    if keys and insert_selected(clickhouse, "mirror._spanning", _spanned(groups), keys.table):
        insert_selected(clickhouse, "mirror._days", _spread(groups), keys.table)


def touch_all(clickhouse: Client, txid: int, committed_at: str) -> None:
    """Note a change of every day: all rows of a table went, by this transaction at this moment (SQL)."""
    clickhouse.command(
        f"insert into mirror._days ({_COLUMNS}) "
        f"select day, {txid >> 30}, {txid}, max(first_updated_at), max(last_updated_at), {committed_at} from mirror._days group by day"
    )


def _own(table: str) -> str:
    """What the rows of a table say of their own days."""
    return f"select toDate32(created_at) as day, {_SUMMARY} from (select created_at, {_MARK} as mark from mirror.{table}) group by day, quarter"


def _groups(table: str, keys: str, order_ids: str) -> str:
    """What belongs to an order, or to a line, with all versions, where that is on several days: the days, the orders, the marks."""
    version = f"toDate32(created_at) as day, {_MARK} as mark"
    groups = "groupUniqArray(day) as days, groupUniqArray(order_id) as order_ids, groupUniqArray(mark) as marks"
    if table == "orders":
        return f"""
            select {groups}
            from (
                select id as order_id, {version} from mirror.orders_history where {keys}
                union all
                select order_id, {version} from mirror.orderdetails_history where {order_ids}
            ) as version
            group by version.order_id
            having length(days) > 1"""
    return f"""
            select
                arrayDistinct(arrayConcat(any(line.days), groupUniqArrayArray(of_order.days))) as days,
                any(line.order_ids) as order_ids,
                arrayDistinct(arrayConcat(any(line.marks), groupUniqArrayArray(of_order.marks))) as marks
            from (
                select id, days, order_ids, marks, order_id
                from (select id, {groups} from (select id, order_id, {version} from mirror.orderdetails_history where {keys}) group by id)
                array join order_ids as order_id
            ) as line
            left join (
                select order_id, {groups}
                from (
                    select id as order_id, {version} from mirror.orders_history
                    where id in (select order_id from mirror.orderdetails_history where {keys})
                )
                group by order_id
            ) as of_order on line.order_id = of_order.order_id
            group by line.id
            having length(days) > 1"""


def _spread(groups: str) -> str:
    """All that is said of a group's days, for each of them."""
    return (
        f"""select day, {_SUMMARY} from (select arrayJoin(days) as day, arrayJoin(marks) as mark from ({groups})) group by day, quarter"""
    )


def _spanned(groups: str) -> str:
    return f"select distinct arrayJoin(days) as day, arrayJoin(order_ids) as order_id from ({groups})"
