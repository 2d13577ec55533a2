"""An order's way from the shop's database to the chart: its lines and sums at each place that it passes, and its day's beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from rainbow.charts import formats, serving
from rainbow.charts.elements import Column, Fragment, answer, table
from rainbow.errors import DataError
from rainbow.settings import settings
from rainbow.sql_cells import with_values
from rainbow.trace import trace

Sums = Mapping[str, Any]
_SUMS = ("lines", "pieces", "sales", "discount")
# the last version seen of each line, and none that is deleted
_IN_LAKE = """
    select count(*) as lines, sum(quantity) as pieces, sum(amount) as sales, sum(discount) as discount
    from (from orderdetails where order_id = {{order_id}} qualify row_number() over (partition by id order by _lsn desc, _deleted) = 1)
    where not _deleted
"""
_IN_RAW = """
    select count(*) as `lines`, sum(quantity) as pieces, sum(amount) as sales, sum(discount) as discount
    from (
        select * from raw.orderdetails where order_id = {{order_id}}
        qualify row_number() over (partition by id order by _lsn desc, _deleted) = 1
    ) as t
    where not _deleted
"""
_IN_SOURCE = """
    select count(*) as lines, sum(quantity) as pieces, sum(amount) as sales, sum(discount) as discount
    from orderdetails where order_id = {{order_id}}
"""
_IN_FACT = """
    select count(*) as `lines`, sum(sales_quantity) as pieces, sum(extended_sales_amount) as sales, sum(extended_discount_amount) as discount
    from warehouse.fact_sales where order_id = {{order_id}}
"""
_IN_MIRROR = """
    select toInt64(count()) as lines, sum(quantity) as pieces, sum(amount) as sales, sum(discount) as discount
    from mirror.orderdetails final where not _deleted and order_id = {{order_id}}
"""
# a day's figures as `rainbow trace` names them, and as they are called here
_FIGURES = {
    "orders": "orders",
    "lines": "lines",
    "pieces": "sales_quantity",
    "sales": "total_sales_amount",
    "discount": "total_discount_amount",
}


@dataclass(frozen=True)
class OrdersWay:
    """An order, and its sums and its day's by place, in the order in which it passes them."""

    order_id: int
    ordered_on: date
    places: Mapping[str, Sums]
    days: Mapping[str, Sums]

    def answer(self) -> Fragment:
        """Whether the order is the same everywhere."""
        away = [place for place, found in self.places.items() if not self._agrees(found)]
        if away:
            text = "Order {} of {} is not yet the same everywhere: look at {}."
            return answer(text, about={}, parts=[str(self.order_id), formats.short_date(self.ordered_on), ", ".join(away)])
        first = next(iter(self.places.values()))
        money = f"{formats.amount(first['sales'] or 0, settings().currency)} {settings().currency}"
        lines = "1 line" if first["lines"] == 1 else f"{first['lines']} lines"
        text = "Order {} of {} is the same at every place: {}, {}."
        return answer(text, about={}, parts=[str(self.order_id), formats.short_date(self.ordered_on), lines, money])

    def order(self) -> Fragment:
        """The order's lines and sums at each place."""
        rows = [{"place": place, **found, "same": "yes" if self._agrees(found) else "no"} for place, found in self.places.items()]
        columns = [
            Column("place", "Place"),
            Column("lines", "Lines", "number"),
            Column("pieces", "Pieces", "number"),
            Column("sales", "Sales", "amount"),
            Column("discount", "Discount", "amount"),
            Column("same", "As in the source"),
        ]
        return table(rows, columns, caption=f"Order {self.order_id} at each place", currency=settings().currency)

    def day(self) -> Fragment:
        """Its day's sums, which the charts show."""
        columns = [
            Column("place", "Place"),
            Column("orders", "Orders", "number"),
            Column("lines", "Lines", "number"),
            Column("pieces", "Pieces", "number"),
            Column("sales", "Sales", "amount"),
            Column("discount", "Discount", "amount"),
        ]
        rows = [{"place": place, **found} for place, found in self.days.items()]
        caption = f"Its day, {formats.short_date(self.ordered_on)}, up to the chart"
        return table(rows, columns, caption=caption, currency=settings().currency)

    def _agrees(self, found: Sums) -> bool:
        source = next(iter(self.places.values()))
        return all((found[name] or 0) == (source[name] or 0) for name in _SUMS)


def orders_way(order_id: int | None = None) -> OrdersWay:
    """Follow an order; without an id the newest one of the last complete partition. Raises DataError when there is none."""
    from rainbow.warehouse.client import connect

    if order_id is None:
        order_id = _newest_order()
    ordered_on = _one(
        "source", "select (created_at at time zone 'UTC')::date as day from orders where id = {{order_id}}", order_id=order_id
    )
    if not ordered_on:
        raise DataError(f"there is no order {order_id} in the source: ask `select id from orders order by id desc limit 10`")
    day = ordered_on["day"]
    project = connect().project
    places = {
        "source: orderdetails": _one("source", _IN_SOURCE, order_id=order_id),
        "lake: orderdetails": _one("lake", _IN_LAKE, order_id=order_id),
        f"{project}.raw.orderdetails": _one("warehouse", _IN_RAW, order_id=order_id),
        f"{project}.warehouse.fact_sales": _one("warehouse", _IN_FACT, order_id=order_id),
    }
    if _one("olap", "select count() as there from system.tables where database = 'mirror' and name = 'orderdetails'")["there"]:
        places["ClickHouse: mirror.orderdetails"] = _one("olap", _IN_MIRROR, order_id=order_id)
    (traced,) = trace(day)
    days = {place.name: {name: (place.figures or {}).get(figure) for name, figure in _FIGURES.items()} for place in traced.places}
    return OrdersWay(order_id, day, places, days)


def _newest_order() -> int:
    day = serving.scope("total_sales", None).partition_date
    sql = "select max(id) as id from orders where created_at < ({{day}} + 1)::timestamp at time zone 'UTC'"
    found = _one("source", sql, day=day)
    if found["id"] is None:
        raise DataError(f"the source has no order up to {day}: post one, see docs/api.md")
    return int(found["id"])


def _one(store: Any, sql: str, **values: Any) -> Sums:
    """The one row of a query; empty when there is none."""
    from rainbow.query import Answer, query

    ask: Callable[..., Answer] = query
    found = ask(store, with_values(store, sql, values))
    return dict(zip(found.columns, found.rows[0], strict=True)) if found.rows else {}
