"""Which days of sales the mirror has changes of, and how new those are: ``mirror._days``, which the unified views ask at each read.

It is kept as changes arrive, so that a read costs by the days and not by the history. For each day on which an order or a line is or was,
it has the newest transaction and the latest moments of what changed there. A change also counts for the days of what belongs to it: of a
line's orders, of an order's lines, of the row's earlier versions. Where that is the same day, as nearly always, a materialized view has
noted it in the insert itself; `spread` notes it for the others, after the insert. So of two rows that belong together and arrive at the
same time at two mirrors, the later one finds the other.

All of it only ever grows, so it may be done again at any time. A day too many is right as well: the mirror has every day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# the tables whose rows are sales
TABLES = ("orders", "orderdetails")

# the tables that this module keeps
KEPT = ("_days", "_spanning")

# of a row in the mirror's initial snapshot, instead of the quarter
SNAPSHOT = 4

# Transaction ids are 32 bits and wrap, so there is no newest of all of them; of those in one quarter of the ring there is.
_TABLE = """create table if not exists mirror.{name} (
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
    """Make the tables and what fills them, where they are not there; when they are made late they are filled from the histories first."""
    if not clickhouse.command("exists table mirror._days"):
        clickhouse.command("drop table if exists mirror._days__incoming sync")
        clickhouse.command(_TABLE.format(name="_days__incoming"))
        clickhouse.command(_SPANNING)
        for table in TABLES:
            clickhouse.command(f"insert into mirror._days__incoming ({_COLUMNS}) {_own(f'{table}_history')}")
        groups = _groups("orders", "true", "true")
        clickhouse.command(f"insert into mirror._days__incoming ({_COLUMNS}) {_spread(groups)}")
        clickhouse.command(f"insert into mirror._spanning {_spanned(groups)}")
        clickhouse.command("rename table mirror._days__incoming to mirror._days")
    for table in TABLES:
        clickhouse.command(f"create materialized view if not exists mirror.{table}_to_days to mirror._days as {_own(table)}")


def spread(clickhouse: Client, table: str, keys: Sequence[int]) -> None:
    """Note what changes of these orders or lines mean for other days than their own; to be called after they are inserted."""
    if not keys:
        return
    groups = _groups(table, among("id", keys), among("order_id", keys))
    if clickhouse.query(f"select 1 from ({groups}) limit 1").result_rows:
        clickhouse.command(f"insert into mirror._spanning {_spanned(groups)}")
        clickhouse.command(f"insert into mirror._days ({_COLUMNS}) {_spread(groups)}")


def touch_all(clickhouse: Client, txid: int, committed_at: str) -> None:
    """Note a change of every day: all rows of a table went, by this transaction at this moment (SQL)."""
    clickhouse.command(
        f"insert into mirror._days ({_COLUMNS}) "
        f"select day, {txid >> 30}, {txid}, max(first_updated_at), max(last_updated_at), {committed_at} from mirror._days group by day"
    )


def among(column: str, keys: Sequence[int]) -> str:
    """The condition that a column is among these keys; others between them do no harm, where that makes it short."""
    first, last = min(keys), max(keys)
    if last - first < 4 * len(keys):
        return f"{column} between {first} and {last}"
    return f"{column} in ({', '.join(map(str, sorted(set(keys))))})"


def _own(table: str) -> str:
    """What the rows of a table say of their own days."""
    return f"select toDate32(created_at) as day, {_SUMMARY} from (select created_at, {_MARK} as mark from mirror.{table}) group by day, quarter"


def _groups(table: str, keys: str, order_ids: str) -> str:
    """What belongs to an order, or to a line, with all versions, where that is on several days: the days, the orders, the marks."""
    version = f"toDate32(created_at) as day, {_MARK} as mark"
    if table == "orders":
        versions = f"""
            select id as one, id as order_id, {version} from mirror.orders_history where {keys}
            union all
            select order_id as one, order_id, {version} from mirror.orderdetails_history where {order_ids}"""
    else:
        versions = f"""
            select id as one, order_id, {version} from mirror.orderdetails_history where {keys}
            union all
            select line.id as one, of_order.id as order_id, of_order.day as day, of_order.mark as mark
            from (select id, order_id from mirror.orderdetails_history where {keys}) as line
            inner join (
                select id, {version} from mirror.orders_history
                where id in (select order_id from mirror.orderdetails_history where {keys})
            ) as of_order on line.order_id = of_order.id"""
    return f"""select groupUniqArray(day) as days, groupUniqArray(order_id) as order_ids, groupUniqArray(mark) as marks from ({versions}
        ) group by one having length(days) > 1"""


def _spread(groups: str) -> str:
    """All that is said of a group's days, for each of them."""
    return (
        f"""select day, {_SUMMARY} from (select arrayJoin(days) as day, arrayJoin(marks) as mark from ({groups})) group by day, quarter"""
    )


def _spanned(groups: str) -> str:
    return f"select distinct arrayJoin(days) as day, arrayJoin(order_ids) as order_id from ({groups})"
