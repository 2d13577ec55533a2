"""The unified views at 1.2 million order lines: how long a dashboard waits for each of them.

    python benchmarks/serving.py [--lines 1200000] [--days 37] [--times 60]

A ClickHouse of its own is filled directly: a mirror of all days and one more, and batch views up to the last but one. That last
day has new orders, changes and deletes of old ones, lines added to the orders of the day before, products that move, members that get
another name and new ones. Each view is read over HTTP, one reader at a time, as its dashboard asks (where
one does) and whole; what all rows take with no mirror (the batch view alone) and with nothing published (all days from the mirror) stands
beside it.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

FIRST = "2024-08-01"
SNAPSHOT = 1_000_000  # the transaction id at which the mirror began
SUMS = "sales_quantity Int64, total_sales_amount Decimal(31, 2), total_discount_amount Decimal(31, 2), net_sales_amount Decimal(31, 2)"
VIEWS = {
    "total_sales": ("sales_date Date32, orders Int64", "sales_date"),
    "day_of_week_with_most_sales": ("sales_date Date32, day_of_week String", "sales_date"),
    "top_sellers": ("sales_date Date32, seller_id Int64, seller String", "sales_date, seller_id"),
    "top_products_by_category": (
        "sales_date Date32, category_id Int64, category String, product_id Int64, product String",
        "sales_date, category_id, product_id",
    ),
    "payment_methods": ("sales_date Date32, payment_id Int64, payment_method String, orders Int64", "sales_date, payment_id"),
    "customer_ranking": ("sales_date Date32, customer_id Int64, customer String, orders Int64", "sales_date, customer_id"),
    "customer_order_total": ("customer_id Int64, orders Int64", "customer_id"),
}
MEMBERS = {"customers": 20_000, "sellers": 1_000, "payments": 5, "categories": 100, "promotions": 50}
PRODUCTS = 20_000


def fill_mirror(client: Any, lines: int, days: int) -> None:
    """All rows as the initial snapshot had them, then one day of changes in small inserts."""
    from rainbow.olap.mirror.kept import create_all
    from rainbow.source.tables import TABLES

    create_all(client, TABLES)
    orders = lines // 5
    began = f"toDateTime64('{FIRST} 00:00:00', 6, 'UTC')"
    own = f"100 as _lsn, 0 as _deleted, {SNAPSHOT} as _txid, now64(3) as _committed_at, 1 as _snapshot"
    for table, count in MEMBERS.items():
        more = ", 'Percentage' as coupon_type, 10 as price_treatment" if table == "promotions" else ""
        client.command(
            f"insert into mirror.{table} select number + 1 as id, '{table} ' || id as name{more}, {began} - 1 as created_at, created_at as updated_at, {own} from numbers({count})"
        )
    client.command(f"insert into mirror.products {_products(began + ' - 1', own, 'numbers(' + str(PRODUCTS) + ')')}")
    second = f"{days} * 86400 / {orders}"
    client.command(f"insert into mirror.orders {_orders(f'{began} + number * {second}', own, f'numbers({orders})')}")
    client.command(f"insert into mirror.orderdetails {_lines(f'{began} + intDiv(number, 5) * {second}', own, f'numbers({lines})')}")
    client.command("insert into mirror._snapshots (lsn, txid, completed_at) values (100, 1000000, now64(3))")


def _orders(moment: str, own: str, numbers: str, changed: str = "created_at") -> str:
    return (
        f"select number + 1 as id, 1 + cityHash64(number) % {MEMBERS['customers']} as customer_id, 1 + number % 5 as payment_id, "
        f"cast({moment} as DateTime64(6, 'UTC')) as created_at, {changed} as updated_at, {own} from {numbers}"
    )


def _lines(moment: str, own: str, numbers: str, changed: str = "created_at", amount: str = "quantity * price") -> str:
    return (
        f"select number + 1 as id, intDiv(number, 5) + 1 as order_id, 1 + cityHash64(number, 'p') % {PRODUCTS} as product_id, null as promotion_id, "
        f"1 + number % 3 as quantity, (1 + number % 90)::Decimal(18, 4) as price, cast({amount} as Decimal(18, 2)) as amount, toDecimal64('0.5', 2) as discount, "
        f"cast({moment} as DateTime64(6, 'UTC')) as created_at, {changed} as updated_at, {own} from {numbers}"
    )


def _products(moment: str, own: str, numbers: str, changed: str = "created_at", sold: str = "0") -> str:
    return (
        f"select number + 1 as id, 'Product ' || id as name, (1 + number % 90)::Decimal(18, 4) as price, null as original_price, null as rating_average, "
        f"null as review_count, {sold} as sold_count, 1 + number % 100 as category_id, 1 + number % 1000 as seller_id, null as brand_id, null as promotion_id, "
        f"cast({moment} as DateTime64(6, 'UTC')) as created_at, {changed} as updated_at, {own} from {numbers}"
    )


def live_a_day(client: Any, lines: int, days: int) -> None:
    """A day's orders, a hundred inserts of them; each also counts pieces of products, changes two old lines and deletes one."""
    orders = lines // 5
    day = f"toDateTime64('{FIRST} 00:00:00', 6, 'UTC') + {days} * 86400"
    step = lines // days // 100 // 5 * 5
    for number in range(100):
        lsn, xid = 1000 + number, SNAPSHOT + 1000 + number
        own = f"{lsn} as _lsn, 0 as _deleted, {xid} as _txid, now64(3) as _committed_at, 0 as _snapshot"
        moment = f"{day} + {number * 800}"
        at = lines + number * step
        client.command(f"insert into mirror.orders {_orders(moment, own, f'numbers({orders + number * step // 5}, {step // 5})')}")
        client.command(f"insert into mirror.orderdetails {_lines(moment, own, f'numbers({at}, {step})')}")
        changed = f"(select ({number * 17} + number) * {lines // 2000} as number from numbers(2))"
        old = f"toDateTime64('{FIRST} 00:00:00', 6, 'UTC') + intDiv(number, 5) * {days} * 86400 / {orders}"
        recent = f"numbers({lines - 1 - number * 7}, 1)"
        client.command(f"insert into mirror.orderdetails {_lines(old, own, recent, moment, '1')}")
        if number % 50 == 0:
            client.command(f"insert into mirror.orderdetails {_lines(old, own, changed, moment, '2')}")
        gone = own.replace("0 as _deleted", "1 as _deleted").replace(f"{lsn} as", f"{lsn + 200} as")
        client.command(f"insert into mirror.orderdetails {_lines(old, gone, f'numbers({lines - 3 - number * 11}, 1)', 'created_at')}")
        sold = f"(select distinct cityHash64(number + {at}, 'p') % {PRODUCTS} as number from numbers({step}))"
        client.command(f"insert into mirror.products {_products(day + ' - 86400 * 50', own, sold, moment, str(number + 1))}")


def change_members(client: Any, lines: int, days: int) -> None:
    """What happens to members on that day, and lines that come a day after their orders."""
    from rainbow.olap.mirror.kept import after_insert

    moment = f"toDateTime64('{FIRST} 00:00:00', 6, 'UTC') + {days} * 86400 + 40000"
    own = f"5000 as _lsn, 0 as _deleted, {SNAPSHOT + 5000} as _txid, now64(3) as _committed_at, 0 as _snapshot"
    for table, renamed, new in (("customers", 100, 200), ("sellers", 10, 10), ("payments", 1, 1), ("categories", 2, 1)):
        there = MEMBERS[table]
        for ids, name in ((range(1, renamed + 1), "renamed"), (range(there + 1, there + new + 1), "new")):
            client.command(
                f"insert into mirror.{table} select number as id, '{name} ' || id as name, {moment} as created_at, created_at as updated_at, {own} from numbers({ids.start}, {len(ids)})"
            )
            after_insert(client, table, ids)
    # the first hundred have other categories and sellers from noon on, the last are new
    moved, new_products = (range(0, 100), range(PRODUCTS, PRODUCTS + 100))
    for ids in (moved, new_products):
        made = _products(moment, own, f"numbers({ids.start}, {len(ids)})").replace("1 + number % 100", "1 + (number + 1) % 100")
        client.command(f"insert into mirror.products {made}")
        after_insert(client, "products", [number + 1 for number in ids])
    added = range(2 * lines, 2 * lines + 200)
    late = _lines(moment, own, f"numbers({added.start}, {len(added)})").replace(
        "intDiv(number, 5) + 1 as", f"number - {2 * lines} + {lines // 5 - 400} as"
    )
    client.command(f"insert into mirror.orderdetails {late}")
    after_insert(client, "orderdetails", [number + 1 for number in added])


def fill_batch(client: Any, days: int) -> None:
    """What a publish of all days but the last would have put there."""
    from rainbow.olap.serving import serve

    client.command("create database if not exists batch")
    serve(client)
    for view, (columns, order) in VIEWS.items():
        cut = "partition by toMonday(sales_date)" if "sales_date" in order else ""
        client.command(f"create table batch.{view} ({columns}, {SUMS}) engine = MergeTree {cut} order by ({order})")
        client.command(f"insert into batch.{view} select * from serving.{view}")
    for name, table in {
        "dim_customers": "customers",
        "dim_sellers": "sellers",
        "dim_promotions": "promotions",
        "dim_payments": "payments",
    }.items():
        id_ = table.removesuffix("s") + "_id"
        client.command(
            f"create table batch.{name} engine = MergeTree partition by toMonday(valid_to) order by ({id_}, valid_from_at) as "
            f"select id as {id_}, name::Nullable(String) as name, toDate32('2100-01-01') as valid_to, updated_at as valid_from_at, "
            f"toDateTime64('2100-01-01 00:00:00', 6, 'UTC') as valid_to_at from mirror.{table} where _snapshot = 1"
        )
    client.command(
        f"""create table batch.dim_products engine = MergeTree partition by toMonday(valid_to) order by (product_id, valid_from_at) as
        select id as product_id, name::Nullable(String) as name, category_id::Nullable(Int64) as category_id, ('categories ' || category_id)::Nullable(String) as category,
               seller_id::Nullable(Int64) as seller_id, brand_id, price, rating_average, review_count, n::Nullable(Int64) as sold_count,
               updated_at + toIntervalDay(n) as valid_from_at, valid_from_at + toIntervalDay(1) as valid_to_at,
               toDate32(valid_to_at) as valid_to
        from mirror.products cross join (select arrayJoin(range({days})) as n) as versions
        where _snapshot = 1 and (n = 0 or cityHash64(id, n) % 100 < 70)"""
    )
    last = client.query(f"select toDate32('{FIRST}') + {days} - 1").result_rows[0][0]
    mark = f'{{"first_partition": "{FIRST}", "watermark_date": "{last}", "snapshot": "{SNAPSHOT + 500}:{SNAPSHOT + 500}:", "snapshot_xmin": {SNAPSHOT + 500}, "lsn": 500, "data_version": "1", "published_at": "2024-09-07T00:00:10Z", "changed_days": []}}'
    for name in (*VIEWS, "dim_products", "dim_customers", "dim_sellers", "dim_promotions", "dim_payments"):
        client.command(f"alter table batch.{name} modify comment '{mark}'")


def wait_until_merged(client: Any) -> None:
    """Wait until ClickHouse has merged what a mirror would have brought in over a day, and not within a second."""
    while client.query("select count() from system.merges").result_rows[0][0]:
        time.sleep(0.1)


def measure(read: Callable[[], Any], times: int) -> tuple[float, float]:
    """Milliseconds: median and 95th percentile."""
    read()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        read()
        taken.append((time.perf_counter() - began) * 1000)
    taken.sort()
    return taken[len(taken) // 2], taken[math.ceil(len(taken) * 0.95) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_200_000)
    parser.add_argument("--days", type=int, default=37)
    parser.add_argument("--times", type=int, default=60)
    options = parser.parse_args()
    from rainbow import stack
    from rainbow.olap.client import connect
    from rainbow.settings import settings

    with tempfile.TemporaryDirectory(prefix="rainbow-serving-") as home:
        os.environ["RAINBOW_HOME"] = home
        settings.cache_clear()
        stack.up(["clickhouse"])
        try:
            client = connect()
            fill_mirror(client, options.lines, options.days)
            fill_batch(client, options.days)
            live_a_day(client, options.lines, options.days)
            change_members(client, options.lines, options.days)
            wait_until_merged(client)
            report(client, options.times)
        finally:
            stack.down()


def report(client: Any, times: int) -> None:
    """A line a view: milliseconds, median and 95th percentile, of its dashboard's query and of all its rows, beside what it is made of."""
    from rainbow.charts import serving as dashboards
    from rainbow.olap.serving import serve, statement

    day = client.query("select max(sales_date) from serving.total_sales").result_rows[0][0]
    asked: dict[str, Callable[[], Any]] = {
        "total_sales": lambda: dashboards.days(day),
        "day_of_week_with_most_sales": lambda: dashboards.weekdays(day),
        "top_sellers": lambda: dashboards.sellers(day, 10),
        "top_products_by_category": lambda: dashboards.products_by_category(day, categories=5, products=5),
        "payment_methods": lambda: dashboards.payment_methods(day, 10),
        "customer_ranking": lambda: dashboards.customers(day, 10),
    }
    print(f"{'view':30}{'rows':>9}{'its dashboard':>16}{'all rows':>16}{'batch alone':>16}{'mirror alone':>16}", file=sys.stdout)
    for view in serve(client):
        queries = (f"select * from serving.{view}", f"select * from batch.{view}", statement(view, "mirror"))
        figures = [measure(asked[view], times)] if view in asked else [(0, 0)]
        figures += [measure(lambda q=q: client.raw_query(q, fmt="Native"), times) for q in queries]
        rows = client.query(f"select count() from serving.{view}").result_rows[0][0]
        print(f"{view:30}{rows:>9,}" + "".join(f"{f'{p50:.0f} / {p95:.0f}':>16}" for p50, p95 in figures))


if __name__ == "__main__":
    main()
