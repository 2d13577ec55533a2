"""A small shop's serving views, made by hand in a real ClickHouse engine, for tests of what reads them: 37 days, one without sales.

Names are Vietnamese, and some are made to break a page. The six views are cut from the same order lines, so they agree.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

FIRST_DAY = date(2024, 8, 1)
LAST_DAY = date(2024, 9, 6)
DAY_WITHOUT_SALES = date(2024, 8, 20)
HOSTILE_NAMES = (
    "<script>document.title='owned'</script>",
    "=1+1",
    "\u202eevil\u202c",
    "{{ 7*7 }}",
    "</script><img src=x onerror=alert(1)>",
)

_SUMS = "sales_quantity Int64, total_sales_amount Decimal(38, 4), total_discount_amount Decimal(38, 4), net_sales_amount Decimal(38, 4)"
_MEMBERS = {
    "total_sales": "orders UInt64",
    "day_of_week_with_most_sales": "day_of_week String",
    "top_sellers": "seller_id Int64, seller String",
    "top_products_by_category": "category_id Int64, category String, product_id Int64, product String",
    "payment_methods": "payment_id Int64, payment_method String, orders UInt64",
    "customer_ranking": "customer_id Int64, customer String, orders UInt64",
}
# as ClickHouse has the dimension after a publish
_VERSION = (
    "product_key Int64, product_id Int64, name Nullable(String), price Nullable(Decimal(18, 4)), rating_average Nullable(Decimal(4, 2)), "
    "review_count Nullable(Int64), sold_count Nullable(Int64), category_id Nullable(Int64), category Nullable(String), "
    "brand_id Nullable(Int64), brand Nullable(String), seller_id Nullable(Int64), valid_from Date32, valid_to Date32, "
    "valid_from_at DateTime64(6, 'UTC'), valid_to_at DateTime64(6, 'UTC'), is_current Bool"
)
_VERSION_COLUMNS = re.findall(r"(\w+) [A-Z]\w+(?:\(|,|$)", _VERSION)
END_OF_TIME = datetime(2100, 1, 1, tzinfo=UTC)
_SURNAMES = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Võ", "Đặng")
_GIVEN = ("Thị Hồng Nhung", "Văn Đức", "Minh Châu", "Quốc Bảo", "Thùy Dương", "Anh Tuấn", "Bích Ngọc", "Gia Huy")
_CATEGORIES = ("Điện thoại - Máy tính bảng", "Nhà cửa - Đời sống", "Sách, tiếng Việt", "Giày dép nữ")
_WEIGHT_OF_WEEKDAY = (1.3, 1.0, 0.9, 9.0, 2.0, 8.4, 9.4)


def customer_names() -> list[str]:
    """Forty names; the hostile ones are among the best customers, so that they are shown."""
    names = [f"{surname} {given}" for surname in _SURNAMES for given in _GIVEN[:4]]
    return [*HOSTILE_NAMES, *names][:40]


def create(client: Any) -> None:
    """The views as empty tables, the watermark's too."""
    client.command("create database if not exists serving")
    for view, members in _MEMBERS.items():
        client.command(
            f"create or replace table serving.{view} (sales_date Date, {members}, {_SUMS}) engine = MergeTree order by sales_date"
        )
    client.command(f"create or replace table serving.dim_products ({_VERSION}) engine = MergeTree order by (product_id, valid_from_at)")
    client.command(
        "create or replace table serving.watermark "
        "(view String, first_partition Date, watermark_date Date, published_at DateTime64(6, 'UTC')) engine = MergeTree order by view"
    )


def fill(client: Any, *, watermark: date = LAST_DAY, scale: int = 1) -> None:
    """A shop's rows in all views, the same at each call; ``scale`` multiplies the money."""
    for view, rows in _views(_lines(scale)).items():
        client.insert(f"serving.{view}", rows, column_names=_columns(view))
    client.insert("serving.dim_products", list(versions()), column_names=_VERSION_COLUMNS)
    set_watermark(client, watermark)


def versions() -> Iterator[list[Any]]:
    """The versions of sixty products. On the last day a few have another price, name or category, and the last one is deleted; the day
    after, whatever a report of the last day must not know changes."""
    changes: dict[int, list[tuple[datetime, dict[str, Any]]]] = defaultdict(list)
    noon = datetime(2024, 9, 6, 12, tzinfo=UTC)
    for product in range(0, 60, 3):
        changes[product].append((noon - timedelta(days=5), {"sold_count": 7}))
        changes[product].append((noon, {"sold_count": 9}))
    for place, name in enumerate(HOSTILE_NAMES):
        changes[place].append((noon + timedelta(hours=1), {"name": name, "price": Decimal("12.50")}))
        changes[place].append((noon + timedelta(days=1), {"name": "of tomorrow"}))
    changes[20].append((noon, {"category": None, "category_id": None}))
    for product in range(60):
        category = product % len(_CATEGORIES)
        told = {"name": _product_name(product), "price": Decimal(1999 + product) / 100, "rating_average": None, "review_count": None,
                "sold_count": 0, "category_id": category, "category": _CATEGORIES[category], "brand_id": None, "brand": None, "seller_id": product % 13}  # fmt: skip
        moments = [(datetime(2024, 7, 1, tzinfo=UTC), {}), *sorted(changes[product], key=lambda change: change[0])]
        ends = [*(moment for moment, _ in moments[1:]), noon if product == 59 else END_OF_TIME]
        for (begin, change), end in zip(moments, ends, strict=True):
            told |= change
            yield [product * 1000 + begin.day, product, *told.values(), begin.date(), end.date(), begin, end, end == END_OF_TIME]


def is_filled(client: Any) -> bool:
    """Whether the views are there and hold a shop's rows."""
    return client.command("exists table serving.total_sales") == 1 and client.command("select count() from serving.total_sales") > 0


def set_watermark(client: Any, day: date) -> None:
    """Publish all views as complete up to ``day``."""
    client.command("truncate table serving.watermark")
    published = datetime(2024, 9, 7, 0, 4, 11, tzinfo=UTC)
    client.insert(
        "serving.watermark",
        [[view, FIRST_DAY, day, published] for view in (*_MEMBERS, "dim_products")],
        column_names=["view", "first_partition", "watermark_date", "published_at"],
    )


@contextmanager
def engine(folder: Path) -> Iterator[Any]:
    """A client of a ClickHouse engine in this process, its data in ``folder``."""
    import clickhouse_connect

    client = clickhouse_connect.get_client(interface="chdb", path=str(folder))
    try:
        yield client
    finally:
        client.close()


def _lines(scale: int) -> Iterator[tuple[date, int, int, int, int, int, int, Decimal, Decimal]]:
    """Order lines: day, order, customer, payment, seller, product, quantity, amount, discount."""
    chance = random.Random(20240801)
    order = 0
    for offset in range((LAST_DAY - FIRST_DAY).days + 1):
        day = FIRST_DAY + timedelta(days=offset)
        if day == DAY_WITHOUT_SALES:
            continue
        for _ in range(int(12 * _WEIGHT_OF_WEEKDAY[day.weekday()])):
            order += 1
            customer, payment = int(chance.triangular(0, 40, 0)), chance.choices((1, 2, 3, 4), (8, 5, 2, 1))[0]
            for _ in range(chance.randint(1, 4)):
                product, quantity = chance.randrange(60), chance.randint(0, 5)
                price = Decimal(1999 + 7 * product * product) / 100 * scale
                amount = price * quantity
                yield (
                    day,
                    order,
                    customer,
                    payment,
                    product % 13,
                    product,
                    quantity,
                    amount,
                    (amount / 10).quantize(Decimal("0.01")) if product % 3 == 0 else Decimal(0),
                )


def _views(lines: Iterator[Any]) -> dict[str, list[list[Any]]]:
    groups: dict[str, dict[tuple[Any, ...], list[Any]]] = {
        view: defaultdict(lambda: [set(), 0, Decimal(0), Decimal(0)]) for view in _MEMBERS
    }
    customers = customer_names()
    payments = ("Thanh toán khi nhận hàng", "Ví MoMo", "Thẻ tín dụng", "Chuyển khoản")
    for day, order, customer, payment, seller, product, quantity, amount, discount in lines:
        category = product % len(_CATEGORIES)
        keys = {
            "total_sales": (day,),
            "day_of_week_with_most_sales": (day, f"{day:%A}"),
            "top_sellers": (
                day,
                seller,
                f"Cửa hàng {_SURNAMES[seller % 10]} {seller}" if seller else "<script>document.title='owned'</script>",
            ),
            "top_products_by_category": (day, category, _CATEGORIES[category], product, _product_name(product)),
            "payment_methods": (day, payment, payments[payment - 1]),
            "customer_ranking": (day, customer, customers[customer % len(customers)]),
        }
        for view, key in keys.items():
            sums = groups[view][key]
            sums[0].add(order)
            sums[1:] = [sums[1] + quantity, sums[2] + amount, sums[3] + discount]
    return {view: [_row(view, key, sums) for key, sums in group.items()] for view, group in groups.items()}


def _row(view: str, key: tuple[Any, ...], sums: list[Any]) -> list[Any]:
    orders, quantity, amount, discount = sums
    return [*key, *([len(orders)] if "orders" in _MEMBERS[view] else []), quantity, amount, discount, amount - discount]


def _columns(view: str) -> list[str]:
    declared = f"sales_date Date, {_MEMBERS[view]}, sales_quantity, total_sales_amount, total_discount_amount, net_sales_amount"
    return [column.split()[0] for column in declared.split(", ")]


def _product_name(product: int) -> str:
    if product == 57:
        return "<script>document.title='owned'</script> Áo dài"
    if product % 7 == 3:
        return f"Bộ nồi inox 5 đáy cao cấp dùng được cho mọi loại bếp kể cả bếp từ, tặng kèm vá và giá xào, số {product}"
    return f"Sản phẩm số {product}"
