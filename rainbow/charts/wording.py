"""What the dashboards of sales say alike: the days that count, counted things, and the columns of the sums."""

from __future__ import annotations

from decimal import Decimal

from rainbow.charts import formats
from rainbow.charts.elements import Column, Fragment, answer
from rainbow.charts.serving import Scope

ORDERS = Column("orders", "Orders", "count")
PIECES = Column("sales_quantity", "Pieces", "number")
SALES = Column("total_sales_amount", "Sales", "amount")
DISCOUNT = Column("total_discount_amount", "Discount", "amount")
NET_SALES = Column("net_sales_amount", "Net sales", "amount")


def no_sales(scope: Scope) -> Fragment:
    """The answer where nothing was sold yet."""
    return answer("No sales up to {} yet.", about=scope.about(), parts=[formats.short_date(scope.partition_date)])


def period(scope: Scope, *, start: bool = False) -> str:
    """The days that count, in words: ``1 Aug 2024 to 6 Sep 2024``."""
    last = formats.short_date(scope.partition_date)
    if scope.first_day is None or scope.first_day >= scope.partition_date:
        return last
    return f"{'From ' if start else ''}{formats.short_date(scope.first_day)} to {last}"


def in_currency(scope: Scope) -> str:
    """What a table's caption says of its amounts."""
    return f"amounts in {scope.currency}"


def counted(count: int | Decimal, one: str, many: str | None = None) -> str:
    """A count as people say it: ``1 order``, ``12.3K orders``."""
    return f"{formats.compact(count)} {one if count == 1 else many or one + 's'}"
