"""Reads the unified views of ClickHouse's database ``serving`` for the dashboards, each up to a day, and that day's place in time.

Sums and rankings are made by ClickHouse; what comes back is small, and amounts are Decimal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rainbow.charts import formats
from rainbow.errors import DataError, PartitionError
from rainbow.olap.client import connect, is_missing
from rainbow.settings import settings

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Row = dict[str, Any]


@dataclass(frozen=True)
class Scope:
    """What a dashboard is about: the days of one view from the first partition to ``partition_date``, and the money's currency.

    ``watermark`` is the last day that the batch view is complete to; days after it are provisional. None: no batch view yet.
    """

    view: str
    partition_date: date
    first_day: date | None
    watermark: date | None
    published_at: datetime | None
    currency: str

    @property
    def provisional(self) -> bool:
        """Whether the partition's own day may still change."""
        return self.is_provisional(self.partition_date)

    def is_provisional(self, day: date) -> bool:
        """Whether a day lies after the watermark, so that it comes from the mirror and may still change."""
        return self.watermark is None or day > self.watermark

    def money(self, value: Decimal) -> str:
        """An amount to the last digit, with its currency."""
        return f"{formats.amount(value, self.currency)} {self.currency}"

    def short(self, value: Decimal) -> str:
        """An amount as a chart's label has it: ``30.4T``; below a thousand with its cents, so that labels agree."""
        return formats.compact(value, decimals=formats.minor_digits(self.currency))

    def rounded(self, value: Decimal) -> str:
        """An amount as people say it, with its currency: ``30.4T VND``."""
        return f"{formats.compact(value)} {self.currency}"

    def about(self) -> dict[str, Any]:
        """The scope as JSON, for the outputs of a notebook: a report reads its header from it."""
        return {
            "view": self.view,
            "partition_date": self.partition_date.isoformat(),
            "first_day": self.first_day.isoformat() if self.first_day else None,
            "watermark": self.watermark.isoformat() if self.watermark else None,
            "published_at": self.published_at.isoformat() if self.published_at else None,
            "provisional": self.provisional,
            "currency": self.currency,
        }


def client() -> Client:
    """This process's client for the ClickHouse that the settings name."""
    return _client_of(settings().url_of("clickhouse"))


@lru_cache(maxsize=1)
def _client_of(url: str) -> Client:
    return connect()


def query(sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
    """The rows of a SELECT, one dict a row. Raises DataError when the view it reads does not exist."""
    from clickhouse_connect.driver.exceptions import DatabaseError

    try:
        return list(client().query(sql, parameters=dict(parameters or {})).named_results())
    except DatabaseError as error:
        if is_missing(error):
            raise DataError("ClickHouse has no serving views yet: publish a partition first, see `rainbow backfill --help`") from error
        raise


def scope(view: str, partition_date: date | str | None) -> Scope:
    """The scope of a view's report for a partition; None and ``latest`` take the last complete one, the watermark's day.

    Raises PartitionError when ``partition_date`` is no date.
    """
    asked = _day(partition_date)
    mark = _watermark(view)
    if mark:
        # no day is complete when only today's was run
        day = asked or mark["watermark_date"] or mark["first_partition"]
        # the client gives UTC columns as naive datetimes
        published = mark["published_at"].replace(tzinfo=UTC)
        return Scope(view, day, mark["first_partition"], mark["watermark_date"], published, settings().currency)
    first, last = _days_of("total_sales" if view.startswith("dim_") else view)
    return Scope(view, asked or last or datetime.now(UTC).date() - timedelta(days=1), first, None, None, settings().currency)


def _day(partition_date: date | str | None) -> date | None:
    if isinstance(partition_date, datetime):
        return partition_date.date()
    if partition_date == "latest" or not partition_date:
        return None
    if isinstance(partition_date, date):
        return partition_date
    try:
        return date.fromisoformat(partition_date)
    except ValueError:
        raise PartitionError(f"partition_date is {partition_date!r}, which is no date: write it as 2024-09-01") from None


def _watermark(view: str) -> Row:
    from clickhouse_connect.driver.exceptions import DatabaseError

    sql = """
        select first_partition, watermark_date, published_at
        from serving.watermark
        where view = {view:String}
        order by watermark_date desc
        limit 1
        """
    try:
        rows = list(client().query(sql, parameters={"view": view}).named_results())
    except DatabaseError as error:
        if is_missing(error):
            return {}
        raise
    return rows[0] if rows else {}


def watermarks() -> list[Row]:
    """The watermark of each published table (``view``, ``watermark_date``, ``published_at``); none when nothing was published."""
    from clickhouse_connect.driver.exceptions import DatabaseError

    sql = "select view, watermark_date, published_at from serving.watermark where watermark_date is not null order by view"
    try:
        return list(client().query(sql).named_results())
    except DatabaseError as error:
        if is_missing(error):
            return []
        raise


def _days_of(view: str) -> tuple[date | None, date | None]:
    row = query(f"select minOrNull(sales_date) as first, maxOrNull(sales_date) as last from serving.{view}")[0]
    return row["first"], row["last"]


# `v.` keeps the column apart from the alias of the same name, which ClickHouse would put in its place
_SUMS = """
    sum(v.sales_quantity) as sales_quantity,
    sum(v.total_sales_amount) as total_sales_amount,
    sum(v.total_discount_amount) as total_discount_amount,
    sum(v.net_sales_amount) as net_sales_amount"""


def days(day: date) -> list[Row]:
    """A row a day that has sales, up to ``day``."""
    return query(
        f"""
        select sales_date, sum(v.orders) as orders,{_SUMS}
        from serving.total_sales as v
        where sales_date <= {{day:Date}}
        group by sales_date
        order by sales_date
        """,
        {"day": day},
    )


def weekdays(day: date) -> list[Row]:
    """A row a day of the week that has sales, the one with the highest amount first."""
    return query(
        f"""
        select day_of_week, uniqExact(sales_date) as days,{_SUMS}
        from serving.day_of_week_with_most_sales as v
        where sales_date <= {{day:Date}}
        group by day_of_week
        order by total_sales_amount desc, day_of_week
        """,
        {"day": day},
    )


def sellers(day: date, limit: int) -> list[Row]:
    """The sellers with the highest sales; ``members`` and ``all_sales_amount`` are of all sellers, ``day_*`` of the day alone."""
    return query(_ranking("top_sellers", "seller_id", "seller", order="total_sales_amount"), {"day": day, "limit": limit})


def customers(day: date, limit: int) -> list[Row]:
    """The customers with the highest sales, as ``sellers()``, and their orders."""
    return query(
        _ranking("customer_ranking", "customer_id", "customer", order="total_sales_amount", orders=True), {"day": day, "limit": limit}
    )


def payment_methods(day: date, limit: int) -> list[Row]:
    """The payment methods with the most orders, as ``customers()``."""
    return query(_ranking("payment_methods", "payment_id", "payment_method", order="orders", orders=True), {"day": day, "limit": limit})


def products_by_category(day: date, *, categories: int, products: int) -> list[Row]:
    """The products with the highest net sales in each of the categories with the highest net sales, and the best product of all.

    ``place`` counts a category's products from 1, ``category_place`` the categories, of which there are ``categories``; ``is_best`` is 1
    for the best product of all.
    """
    return query(
        f"""
        with
        products as (
            select
                category_id,
                product_id,
                any(v.category) as category_name,
                any(v.product) as name,{_SUMS.replace(" as ", " as all_")}
            from serving.top_products_by_category as v
            where sales_date <= {{day:Date}}
            group by category_id, product_id
        ),
        ranked as (
            select
                category_id,
                any(category_name) as category,
                sum(all_net_sales_amount) as category_net_sales_amount,
                -- the highest net sales first, then the lowest id
                groupArraySorted({products:d})((
                    -all_net_sales_amount, product_id, name, all_sales_quantity, all_total_sales_amount, all_total_discount_amount
                )) as best
            from products
            group by category_id
        ),
        placed as (
            select
                *,
                count() over () as categories,
                row_number() over (order by category_net_sales_amount desc, category_id) as category_place,
                row_number() over (order by best[1].1, category_id) as place_of_best
            from ranked
        )
        select
            category_id,
            category,
            category_net_sales_amount,
            category_place,
            categories,
            place,
            place_of_best = 1 and place = 1 as is_best,
            product.2 as product_id,
            product.3 as name,
            product.4 as sales_quantity,
            product.5 as total_sales_amount,
            product.6 as total_discount_amount,
            -product.1 as net_sales_amount
        from placed
        array join best as product, arrayEnumerate(best) as place
        where category_place <= {{categories:UInt32}} or is_best
        order by category_place, place
        """,
        {"day": day, "categories": categories},
    )


def _ranking(view: str, key: str, name: str, *, order: str, orders: bool = False) -> str:
    """A ranking of a view's members over all days up to one; the names and the view are this module's own."""
    of_orders = (
        ", sum(v.orders) as orders, sumIf(v.orders, v.sales_date = {day:Date}) as day_orders, sum(sum(v.orders)) over () as all_orders"
        if orders
        else ""
    )
    return f"""
        select
            {key} as id,
            any(v.{name}) as name,{_SUMS},
            sumIf(v.total_sales_amount, v.sales_date = {{day:Date}}) as day_sales_amount,
            sum(sum(v.total_sales_amount)) over () as all_sales_amount,
            count() over () as members{of_orders}
        from serving.{view} as v
        where sales_date <= {{day:Date}}
        group by {key}
        order by {order} desc, {key}
        limit {{limit:UInt32}}
        """
