"""Rankings: the sellers, the customers and the payment methods, in order, over all days up to a partition's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from rainbow.charts import formats, serving, shapes
from rainbow.charts.elements import Chart, Column, Fragment, answer, empty, table
from rainbow.charts.serving import Scope
from rainbow.charts.shapes import ACCENT, BASE
from rainbow.charts.wording import NET_SALES, ORDERS, PIECES, SALES, counted, in_currency, no_sales, period

TOP_SELLERS = 10
TOP_CUSTOMERS = 15
TOP_PAYMENT_METHODS = 12


@dataclass(frozen=True)
class Ranking:
    """The members of one kind (sellers, customers, payment methods) in order of what they sold, bought or were used for.

    ``rows`` are the first of them; ``measure`` is the column they are ranked by.
    """

    scope: Scope
    rows: Sequence[serving.Row]
    one: str
    many: str
    measure: str
    sentence: str

    def answer(self) -> Fragment:
        """The first of the ranking, and its share of all."""
        if not self.rows:
            return no_sales(self.scope)
        first = self._shown()[0]
        return answer(
            self.sentence, about=self.scope.about(), parts=[first["name"], first["what"], formats.percent(first["share"], decimals=1)]
        )

    def bars(self) -> Chart | Fragment:
        """A bar a member."""
        if not self.rows:
            return empty(f"No sales to rank the {self.many} by.")
        shown = self._shown()
        drawn = [self._drawn(row) for row in shown]
        alt = (
            f"{self._title()}, {period(self.scope)}: "
            + ", ".join(f"{row['name']} {row['label']}" for row in drawn[:5])
            + (" and so on." if len(drawn) > 5 else ".")
        )
        return Chart(shapes.ranking(drawn, tooltip=self._tooltip()), self._title(), alt, note=f"{self._how_many()}, {period(self.scope)}")

    def table(self) -> Fragment:
        """The same members with all their sums, and what they did on the day itself."""
        if not self.rows:
            return empty(f"No {self.many} so far.")
        orders = [ORDERS] if "orders" in self.rows[0] else []
        columns = [
            Column("rank", "Rank", "rank"),
            Column("name", self.one.capitalize()),
            *orders,
            PIECES,
            SALES,
            NET_SALES,
            Column("share", f"Share of {self._measured()}", "share"),
            Column("day_sales_amount", f"Sales on {formats.short_date(self.scope.partition_date)}", "amount"),
        ]
        caption = f"{self._how_many()}, {period(self.scope)}, {in_currency(self.scope)}"
        return table(self._shown(), columns, caption=caption, currency=self.scope.currency)

    def _shown(self) -> list[serving.Row]:
        whole = self.rows[0]["all_orders" if self.measure == "orders" else "all_sales_amount"]
        shown = []
        for rank, row in enumerate(self.rows, start=1):
            value = row[self.measure]
            share = Decimal(value) * 100 / Decimal(whole) if whole else None
            what = counted(value, "order") if self.measure == "orders" else self.scope.rounded(value)
            shown.append({**row, "rank": rank, "name": formats.plain(row["name"]), "share": share, "what": what})
        return shown

    def _drawn(self, row: serving.Row) -> dict[str, Any]:
        by_orders = self.measure == "orders"
        return {
            "rank": row["rank"],
            "name": row["name"],
            "value": float(row[self.measure]),
            "role": ACCENT if row["rank"] == 1 else BASE,
            "label": formats.percent(row["share"], decimals=1) if by_orders else self.scope.short(row[self.measure]),
            "sales": self.scope.money(row["total_sales_amount"]),
            "net": self.scope.money(row["net_sales_amount"]),
            "pieces": formats.exact(row["sales_quantity"]),
            "share": formats.percent(row["share"]),
            **({"orders": formats.exact(row["orders"])} if "orders" in row else {}),
        }

    def _tooltip(self) -> shapes.Tooltip:
        orders = (("orders", "Orders"),) if "orders" in self.rows[0] else ()
        return (
            ("name", self.one.capitalize()),
            ("sales", "Sales"),
            ("net", "Net sales"),
            *orders,
            ("pieces", "Pieces"),
            ("share", f"Share of {self._measured()}"),
        )

    def _measured(self) -> str:
        return "orders" if self.measure == "orders" else "sales"

    def _title(self) -> str:
        if self.measure == "orders":
            return f"Share of orders by {self.one}"
        return f"Sales by {self.one}, {self.scope.currency}"

    def _how_many(self) -> str:
        members = self.rows[0]["members"]
        if members <= len(self.rows):
            return f"{counted(members, self.one, self.many)}"
        return f"The first {len(self.rows)} of {formats.exact(members)} {self.many}"


def top_sellers(partition_date: date | str | None = None) -> Ranking:
    """The sellers with the highest sales, over all days up to ``partition_date``."""
    scope = serving.scope("top_sellers", partition_date)
    rows = serving.sellers(scope.partition_date, TOP_SELLERS)
    return Ranking(scope, rows, "seller", "sellers", "total_sales_amount", "{} sold most: {}, {} of all sales.")


def payment_methods(partition_date: date | str | None = None) -> Ranking:
    """How customers pay: the payment methods by orders, over all days up to ``partition_date``."""
    scope = serving.scope("payment_methods", partition_date)
    rows = serving.payment_methods(scope.partition_date, TOP_PAYMENT_METHODS)
    return Ranking(scope, rows, "payment method", "payment methods", "orders", "{} is the most common: {}, {} of all.")


def customer_ranking(partition_date: date | str | None = None) -> Ranking:
    """The customers who bought most, over all days up to ``partition_date``."""
    scope = serving.scope("customer_ranking", partition_date)
    rows = serving.customers(scope.partition_date, TOP_CUSTOMERS)
    return Ranking(scope, rows, "customer", "customers", "total_sales_amount", "{} bought most: {}, {} of all sales.")
