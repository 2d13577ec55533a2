"""Counts and sums by day, in numbers that PostgreSQL, ClickHouse and BigQuery work out alike."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rainbow.source.tables import BY_NAME, Column

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from rainbow.partitions.dates import PartitionRange

Held = dict[date, tuple[int, tuple[Decimal, ...]]]


def of_source(connection: Any, name: str, partitions: PartitionRange | None) -> Held:
    """A table's rows in PostgreSQL, by the day of ``created_at``."""
    listed = ", ".join(_in_postgres(column) for column in BY_NAME[name].columns)
    begin, end = _bounds(partitions)
    query = f"select (created_at at time zone 'UTC')::date, count(*), {listed} from {name} where created_at >= %s and created_at < %s group by 1"
    return _held(connection.execute(query, [begin, end]).fetchall())


def of_mirror(client: Client, name: str, partitions: PartitionRange | None) -> Held:
    """A table's rows in the mirror."""
    listed = ", ".join(_in_clickhouse(column) for column in BY_NAME[name].columns)
    query = (
        f"select toDate32(created_at) as day, count(), {listed} from mirror.{name} final "
        f"where not _deleted and {_between('created_at', partitions)} group by day"
    )
    return _held(client.query(query).result_rows)


def sales_of_source(connection: Any, partitions: PartitionRange | None) -> Held:
    """Lines, pieces, amounts and discounts by the order's day, in PostgreSQL."""
    begin, end = _bounds(partitions)
    query = """select (coalesce(o.created_at, l.created_at) at time zone 'UTC')::date, count(*), sum(l.quantity), sum(l.amount), sum(l.discount)
               from orderdetails l left join orders o on l.order_id = o.id
               where coalesce(o.created_at, l.created_at) >= %s and coalesce(o.created_at, l.created_at) < %s group by 1"""
    return _held(connection.execute(query, [begin, end]).fetchall())


def sales_of_mirror(client: Client, partitions: PartitionRange | None) -> Held:
    """The same in the mirror."""
    query = f"""select toDate32(moment) as day, count(), sum(quantity), sum(amount), sum(discount) from (
                    select if(o.is_there, o.created_at, l.created_at) as moment, l.quantity as quantity, l.amount as amount, l.discount as discount
                    from (select * from mirror.orderdetails final where not _deleted) as l
                    left join (select id, created_at, 1 as is_there from mirror.orders final where not _deleted) as o on l.order_id = o.id
                ) where {_between("moment", partitions)} group by day"""
    return _held(client.query(query).result_rows)


def sales_of_fact(partitions: PartitionRange | None) -> Held:
    """The same in the warehouse's fact."""
    from rainbow.warehouse.client import connect
    from rainbow.warehouse.sql import rows

    where = (
        "" if partitions is None else f"where extract(date from ordered_at) between date '{partitions.first}' and date '{partitions.last}'"
    )
    query = f"""select extract(date from ordered_at) as day, count(*) as lines, sum(sales_quantity) as quantity,
                       sum(extended_sales_amount) as amount, sum(extended_discount_amount) as discount
                from warehouse.fact_sales {where} group by day"""
    return _held([tuple(row.values()) for row in rows(connect(), query)])


def sales_of_view(client: Client, partitions: PartitionRange | None) -> Held | None:
    """The same in the unified view, which does not count lines; None where there is none."""
    if not client.query("select count() from system.tables where database = 'serving' and name = 'total_sales'").result_rows[0][0]:
        return None
    where = "" if partitions is None else f"where sales_date between '{partitions.first}' and '{partitions.last}'"
    query = f"select sales_date, sales_quantity, total_sales_amount, total_discount_amount from serving.total_sales {where}"
    return _held([(row[0], -1, *row[1:]) for row in client.query(query).result_rows])


def watermark(client: Client) -> tuple[date | None, date | None, set[date]]:
    """The batch's first and last day, and the days of it that the unified view takes from the mirror because they were changed since."""
    found = client.query(
        "select toDate32OrNull(JSONExtractString(comment, 'first_partition')), toDate32OrNull(JSONExtractString(comment, 'watermark_date')) "
        "from system.tables where database = 'batch' and name = 'total_sales' and comment != ''"
    ).result_rows
    if not found:
        return None, None, set()
    first, last = found[0]
    if (
        last is None
        or not client.query("select count() from system.tables where database = 'mirror' and name = '_snapshots'").result_rows[0][0]
    ):
        return first, last, set()
    end = f"toDateTime64('{last + timedelta(days=1)} 00:00:00', 6, 'UTC')"
    changed = client.query(
        f"""select distinct toDate32(created_at) from (
                select created_at from mirror.orders_history where id in (select id from mirror.orders_history where updated_at >= {end} or _deleted)
                union all
                select created_at from mirror.orderdetails_history where id in (select id from mirror.orderdetails_history where updated_at >= {end} or _deleted)
            )"""
    ).result_rows
    return first, last, {day for (day,) in changed}


def _held(rows: Any) -> Held:
    return {day: (int(count), tuple(Decimal(value or 0).normalize() + 0 for value in listed)) for day, count, *listed in rows}


def _bounds(partitions: PartitionRange | None) -> tuple[Any, Any]:
    from rainbow.reconcile import bounds

    return bounds(partitions)


def _between(column: str, partitions: PartitionRange | None) -> str:
    begin, end = _bounds(partitions)
    return (
        f"{column} >= toDateTime64('{begin:%Y-%m-%d %H:%M:%S}', 6, 'UTC') and {column} < toDateTime64('{end:%Y-%m-%d %H:%M:%S}', 6, 'UTC')"
    )


def _in_postgres(column: Column) -> str:
    if column.type == "timestamptz":
        return f"sum((extract(epoch from {column.name}) * 1000000)::numeric(38, 0))"
    if column.type == "text":
        return f"sum(('x' || substr(md5({column.name}), 1, 8))::bit(32)::bigint)"
    return f"sum({column.name}::numeric)"


def _in_clickhouse(column: Column) -> str:
    if column.type == "timestamptz":
        return f"sum(toInt128(toUnixTimestamp64Micro({column.name})))"
    if column.type == "text":
        return f"sum(toInt64(reinterpretAsUInt32(reverse(substring(MD5({column.name}), 1, 4)))))"
    return f"sum({column.name})" if column.type.startswith("numeric") else f"sum(toInt128({column.name}))"
