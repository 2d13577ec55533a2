"""The six dashboards: each asks ClickHouse once for what it shows of a partition and gives it as an answer, charts and tables.

A notebook calls one of the functions at the end with its ``partition_date`` and shows the parts one by one. All days from the
first partition to that one count; the partition itself is set off. Where there is nothing to show, a part says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from rainbow.charts import formats, serving, shapes
from rainbow.charts.elements import Chart, Column, Figure, Fragment, Row, answer, empty, headline, table
from rainbow.charts.serving import Scope
from rainbow.charts.shapes import ACCENT, BASE, PROVISIONAL

TOP_SELLERS = 10
TOP_CUSTOMERS = 15
TOP_PAYMENT_METHODS = 12
TOP_PRODUCTS = 5
TOP_CATEGORIES = 12

_NOTHING: dict[str, Any] = {
    "orders": 0,
    "sales_quantity": 0,
    "total_sales_amount": Decimal(0),
    "total_discount_amount": Decimal(0),
    "net_sales_amount": Decimal(0),
}
_LATEST_DAYS = 14

_ORDERS = Column("orders", "Orders", "count")
_PIECES = Column("sales_quantity", "Pieces", "number")
_SALES = Column("total_sales_amount", "Sales", "amount")
_DISCOUNT = Column("total_discount_amount", "Discount", "amount")
_NET_SALES = Column("net_sales_amount", "Net sales", "amount")


@dataclass(frozen=True)
class TotalSales:
    """What the shop sold: the day, the days before it, and all together. ``rows`` has a row a day with sales, in order."""

    scope: Scope
    rows: Sequence[serving.Row]

    def answer(self) -> Fragment:
        """The day's sales in a sentence."""
        day = self.scope.partition_date
        now = self._of(day)
        if not now["orders"] and not now["sales_quantity"]:
            return answer("No sales on {}.", about=self.scope.about(), parts=[formats.long_date(day)])
        sold = self.scope.rounded(now["total_sales_amount"])
        return answer(
            "The shop sold {} on {}: {} in {}.",
            about=self.scope.about(),
            parts=[sold, formats.long_date(day), _counted(now["sales_quantity"], "piece"), _counted(now["orders"], "order")],
        )

    def headline(self, evidence: str = "evidence.html#total_sales") -> Fragment:
        """The day's figures, each against the day before and the same weekday a week before; they lead to ``evidence``."""
        day = self.scope.partition_date
        now, before, week = self._of(day), self._known(day - timedelta(days=1)), self._known(day - timedelta(days=7))
        figures = []
        for key, name, unit in self._named():
            earlier = [("day before", before[key] if before else None), ("week before", week[key] if week else None)]
            figures.append(Figure(name, now[key], unit, earlier, more_is_better=key != "total_discount_amount"))
        return headline(
            f"On {formats.short_date(day)}",
            figures,
            note="and how it changed on the day and the week before",
            provisional=self.scope.provisional,
            evidence=evidence,
        )

    def to_date(self, evidence: str = "evidence.html#to_date") -> Fragment:
        """The same figures over all days so far."""
        figures = [Figure(name, sum((row[key] for row in self.rows), _NOTHING[key]), unit) for key, name, unit in self._named()]
        return headline(_period(self.scope, start=True), figures, evidence=evidence)

    def trend(self) -> Chart | Fragment:
        """Sales a day."""
        return self._trend("total_sales_amount", f"Sales a day, {self.scope.currency}")

    def pieces(self) -> Chart | Fragment:
        """Pieces sold a day."""
        return self._trend("sales_quantity", "Pieces sold a day", height=140)

    def table(self) -> Fragment:
        """The latest days, newest first, a day without sales as zeros."""
        if not self.rows:
            return empty("No sales so far.")
        days = [
            {"day": formats.short_date(day), "this": day == self.scope.partition_date, **self._of(day)}
            for day in self._days()[-_LATEST_DAYS:]
        ]
        columns = [Column("day", "Day"), _ORDERS, _PIECES, _SALES, _DISCOUNT, _NET_SALES]
        caption = f"The latest {len(days)} days, {_in_currency(self.scope)}" if len(days) > 1 else f"The day, {_in_currency(self.scope)}"
        return table(days[::-1], columns, caption=caption, currency=self.scope.currency, mark="this")

    def _named(self) -> tuple[tuple[str, str, str], ...]:
        currency = self.scope.currency
        return (
            ("total_sales_amount", "Sales", currency),
            ("net_sales_amount", "Net sales", currency),
            ("total_discount_amount", "Discount", currency),
            ("sales_quantity", "Pieces", ""),
            ("orders", "Orders", ""),
        )

    def _of(self, day: date) -> serving.Row:
        return next((row for row in reversed(self.rows) if row["sales_date"] == day), {"sales_date": day, **_NOTHING})

    def _known(self, day: date) -> serving.Row | None:
        """The day's row, zeros for a day without sales; None for a day before the first partition."""
        return self._of(day) if self.scope.first_day and day >= self.scope.first_day else None

    def _days(self) -> list[date]:
        last = self.scope.partition_date
        first = min(self.scope.first_day or last, self.rows[0]["sales_date"] if self.rows else last)
        return [first + timedelta(days=i) for i in range((last - first).days + 1)]

    def _trend(self, key: str, title: str, **size: int) -> Chart | Fragment:
        if not self.rows:
            return empty(f"No sales up to {formats.short_date(self.scope.partition_date)}: nothing to draw yet.")
        by_day = {row["sales_date"]: row for row in self.rows}
        rows = [self._drawn(day, by_day.get(day, _NOTHING), key) for day in self._days()]
        spec = shapes.days(rows, complete_to=self._watermark(), tooltip=_DAY_TOOLTIP, **size)
        highest = max(self.rows, key=lambda row: row[key])
        day = self.scope.partition_date
        alt = (
            f"{title}, {_period(self.scope)}. Highest: {formats.compact(highest[key])} on {formats.long_date(highest['sales_date'])}; "
            f"on {formats.short_date(day)}: {formats.compact(self._of(day)[key])}."
        )
        hint = "drag over days for their sum"
        note = f"line: mean of 7 days; {hint}" if len(rows) > shapes.MOST_COLUMNS else hint
        return Chart(spec, title, alt, note=note, legend=self._legend(rows))

    def _legend(self, rows: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
        named = ((ACCENT, formats.short_date(self.scope.partition_date)), (BASE, "other days"), (PROVISIONAL, "provisional"))
        drawn = {row["role"] for row in rows}
        return [(role, name) for role, name in named if role in drawn]

    def _drawn(self, day: date, row: serving.Row, key: str) -> dict[str, Any]:
        provisional = self.scope.is_provisional(day)
        return {
            "date": day.isoformat(),
            "value": float(row[key]),
            "role": ACCENT if day == self.scope.partition_date else PROVISIONAL if provisional else BASE,
            "day": formats.long_date(day) + (" (provisional)" if provisional else ""),
            "sales": self.scope.money(row["total_sales_amount"]),
            "net": self.scope.money(row["net_sales_amount"]),
            "pieces": formats.exact(row["sales_quantity"]),
            "orders": formats.exact(row["orders"]),
        }

    def _watermark(self) -> list[dict[str, Any]]:
        """Where the rule that marks the watermark stands: at the end of its day; none when no drawn day is complete."""
        days, watermark = self._days(), self.scope.watermark
        if watermark is None or watermark < days[0]:
            return []
        last = min(watermark, days[-1])
        right = (last - days[0]).days * 2 >= len(days)
        return [{"at": (last + timedelta(days=1)).isoformat(), "label": f"complete to {formats.short_date(last)}", "right": right}]


@dataclass(frozen=True)
class DayOfWeek:
    """Which day of the week sells most. ``rows`` has a row a weekday with sales, the highest amount first."""

    scope: Scope
    rows: Sequence[serving.Row]

    def answer(self) -> Fragment:
        """The best weekday and its share."""
        if not self.rows:
            return _no_sales(self.scope)
        best = self._shared()[0]
        return answer(
            "{} sells most: {}, {} of all sales.",
            about=self.scope.about(),
            parts=[
                best["day_of_week"],
                self.scope.rounded(best["total_sales_amount"]),
                formats.percent(best["share"]),
            ],
        )

    def bars(self) -> Chart | Fragment:
        """Sales by weekday, Monday first, the best one set off."""
        if not self.rows:
            return empty("No sales to compare the weekdays by.")
        by_day = {row["day_of_week"]: row for row in self._shared()}
        best = self.rows[0]["day_of_week"]
        drawn = [self._drawn(day, by_day.get(day), best) for day in formats.WEEKDAYS]
        alt = f"Sales by day of the week, {_period(self.scope)}: " + ", ".join(f"{row['day']} {row['label']}" for row in drawn) + "."
        spec = shapes.weekdays(drawn, tooltip=_WEEKDAY_TOOLTIP)
        return Chart(spec, f"Sales by day of the week, {self.scope.currency}", alt, note=_period(self.scope))

    def table(self) -> Fragment:
        """The weekdays by amount, each one's share, and all together."""
        if not self.rows:
            return empty("No sales so far.")
        rows = self._shared()
        columns = [
            Column("day_of_week", "Day of week"),
            _SALES,
            Column("total_sales_quantity", "Pieces", "number"),
            Column("share", "Share of sales", "share"),
        ]
        return table(
            rows,
            columns,
            caption=f"By day of the week, {_period(self.scope)}, {_in_currency(self.scope)}",
            currency=self.scope.currency,
            summary=self._summary(rows),
        )

    def _shared(self) -> list[serving.Row]:
        portions = formats.shares([row["total_sales_amount"] for row in self.rows])
        return [
            {**row, "total_sales_quantity": row["sales_quantity"], "share": share} for row, share in zip(self.rows, portions, strict=True)
        ]

    def _summary(self, rows: Sequence[serving.Row]) -> serving.Row:
        total = sum((row["total_sales_amount"] for row in rows), Decimal(0))
        pieces = sum(row["total_sales_quantity"] for row in rows)
        return {
            "day_of_week": "All days",
            "total_sales_amount": total,
            "total_sales_quantity": pieces,
            "share": Decimal(100) if total else None,
        }

    def _drawn(self, day: str, row: serving.Row | None, best: str) -> dict[str, Any]:
        sold, share, pieces, days = (
            (row["total_sales_amount"], row["share"], row["sales_quantity"], row["days"]) if row else (Decimal(0), Decimal(0), 0, 0)
        )
        return {
            "day": day,
            "value": float(sold),
            "role": ACCENT if day == best else BASE,
            "label": formats.compact(sold),
            "share": formats.percent(share, decimals=1),
            "exact": self.scope.money(sold),
            "percent": formats.percent(share),
            "pieces": formats.exact(pieces),
            "days": formats.exact(days),
        }


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
            return _no_sales(self.scope)
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
            f"{self._title()}, {_period(self.scope)}: "
            + ", ".join(f"{row['name']} {row['label']}" for row in drawn[:5])
            + (" and so on." if len(drawn) > 5 else ".")
        )
        return Chart(shapes.ranking(drawn, tooltip=self._tooltip()), self._title(), alt, note=f"{self._how_many()}, {_period(self.scope)}")

    def table(self) -> Fragment:
        """The same members with all their sums, and what they did on the day itself."""
        if not self.rows:
            return empty(f"No {self.many} so far.")
        orders = [_ORDERS] if "orders" in self.rows[0] else []
        columns = [
            Column("rank", "Rank", "rank"),
            Column("name", self.one.capitalize()),
            *orders,
            _PIECES,
            _SALES,
            _NET_SALES,
            Column("share", f"Share of {self._measured()}", "share"),
            Column("day_sales_amount", f"Sales on {formats.short_date(self.scope.partition_date)}", "amount"),
        ]
        caption = f"{self._how_many()}, {_period(self.scope)}, {_in_currency(self.scope)}"
        return table(self._shown(), columns, caption=caption, currency=self.scope.currency)

    def _shown(self) -> list[serving.Row]:
        whole = self.rows[0]["all_orders" if self.measure == "orders" else "all_sales_amount"]
        shown = []
        for rank, row in enumerate(self.rows, start=1):
            value = row[self.measure]
            share = Decimal(value) * 100 / Decimal(whole) if whole else None
            what = _counted(value, "order") if self.measure == "orders" else self.scope.rounded(value)
            shown.append({**row, "rank": rank, "name": formats.plain(row["name"]), "share": share, "what": what})
        return shown

    def _drawn(self, row: serving.Row) -> dict[str, Any]:
        by_orders = self.measure == "orders"
        return {
            "rank": row["rank"],
            "name": row["name"],
            "value": float(row[self.measure]),
            "role": ACCENT if row["rank"] == 1 else BASE,
            "label": formats.percent(row["share"], decimals=1) if by_orders else formats.compact(row[self.measure]),
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
            return f"{_counted(members, self.one, self.many)}"
        return f"The first {len(self.rows)} of {formats.exact(members)} {self.many}"


@dataclass(frozen=True)
class TopProducts:
    """The products that brought most in each category. ``rows`` has a row a product, by category and place; the best of all is in it."""

    scope: Scope
    rows: Sequence[serving.Row]

    def answer(self) -> Fragment:
        """The product that brought most of all."""
        if not self.rows:
            return _no_sales(self.scope)
        first = next(row for row in self.rows if row["overall_place"] == 1)
        return answer(
            "{} brought most: {} net, in {}.",
            about=self.scope.about(),
            parts=[
                formats.plain(first["name"]),
                self.scope.rounded(first["net_sales_amount"]),
                formats.plain(first["category"]),
            ],
        )

    def bars(self) -> Row | Fragment:
        """A chart a category, each with its own scale: the places within a category are what is compared."""
        if not self.rows:
            return empty("No sales to rank the products by.")
        return Row([self._category(place) for place in sorted({row["category_place"] for row in self._shown()})])

    def table(self) -> Fragment:
        """The same products with all their sums."""
        if not self.rows:
            return empty("No products so far.")
        columns = [
            Column("category", "Category"),
            Column("place", "Place", "rank"),
            Column("name", "Product"),
            _PIECES,
            _SALES,
            _NET_SALES,
        ]
        caption = f"{self._how_many()}, by net sales, {_period(self.scope)}, {_in_currency(self.scope)}"
        return table(self._shown(), columns, caption=caption, currency=self.scope.currency, folded=True)

    def _shown(self) -> list[serving.Row]:
        return [row for row in self.rows if row["category_place"] <= TOP_CATEGORIES]

    def _category(self, category_place: int) -> Chart:
        rows = [row for row in self.rows if row["category_place"] == category_place]
        drawn = [self._drawn(row) for row in rows]
        category = formats.plain(rows[0]["category"])
        alt = (
            f"Net sales of the first {len(rows)} products of {category}, {_period(self.scope)}: "
            + ", ".join(f"{row['name']} {row['label']}" for row in drawn)
            + "."
        )
        note = f"{formats.compact(rows[0]['category_net_sales_amount'])} {self.scope.currency} net in all"
        return Chart(shapes.ranking(drawn, tooltip=_PRODUCT_TOOLTIP), category, alt, note=note, half=True)

    def _drawn(self, row: serving.Row) -> dict[str, Any]:
        name = formats.plain(row["name"])
        return {
            "rank": row["place"],
            "name": name,
            "value": float(row["net_sales_amount"]),
            "role": ACCENT if row["place"] == 1 else BASE,
            "label": formats.compact(row["net_sales_amount"]),
            "net": self.scope.money(row["net_sales_amount"]),
            "sales": self.scope.money(row["total_sales_amount"]),
            "pieces": formats.exact(row["sales_quantity"]),
        }

    def _how_many(self) -> str:
        shown, categories = self._shown()[-1]["category_place"], self.rows[0]["categories"]
        of = "each category" if shown >= categories else f"the first {shown} of {formats.exact(categories)} categories"
        return f"The first {TOP_PRODUCTS} products of {of}"


_DAY_TOOLTIP: shapes.Tooltip = (("day", "Day"), ("sales", "Sales"), ("net", "Net sales"), ("pieces", "Pieces"), ("orders", "Orders"))
_WEEKDAY_TOOLTIP: shapes.Tooltip = (
    ("day", "Day"),
    ("exact", "Sales"),
    ("percent", "Share of sales"),
    ("pieces", "Pieces"),
    ("days", "Days with sales"),
)
_PRODUCT_TOOLTIP: shapes.Tooltip = (("name", "Product"), ("net", "Net sales"), ("sales", "Sales"), ("pieces", "Pieces"))


def total_sales(partition_date: date | str | None = None) -> TotalSales:
    """What the shop sold on ``partition_date`` (None: the last complete partition) and each day before it."""
    scope = serving.scope("total_sales", partition_date)
    return TotalSales(scope, serving.days(scope.partition_date))


def day_of_week(partition_date: date | str | None = None) -> DayOfWeek:
    """Which day of the week sells most, over all days up to ``partition_date``."""
    scope = serving.scope("day_of_week_with_most_sales", partition_date)
    return DayOfWeek(scope, serving.weekdays(scope.partition_date))


def top_sellers(partition_date: date | str | None = None) -> Ranking:
    """The sellers with the highest sales, over all days up to ``partition_date``."""
    scope = serving.scope("top_sellers", partition_date)
    rows = serving.sellers(scope.partition_date, TOP_SELLERS)
    return Ranking(scope, rows, "seller", "sellers", "total_sales_amount", "{} sold most: {}, {} of all sales.")


def top_products_by_category(partition_date: date | str | None = None) -> TopProducts:
    """The products that brought most in each category, by net sales, over all days up to ``partition_date``."""
    scope = serving.scope("top_products_by_category", partition_date)
    return TopProducts(scope, serving.products_by_category(scope.partition_date, categories=TOP_CATEGORIES, products=TOP_PRODUCTS))


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


def _no_sales(scope: Scope) -> Fragment:
    return answer("No sales up to {} yet.", about=scope.about(), parts=[formats.short_date(scope.partition_date)])


def _period(scope: Scope, *, start: bool = False) -> str:
    """The days that count, in words: ``1 Aug 2024 to 6 Sep 2024``."""
    last = formats.short_date(scope.partition_date)
    if scope.first_day is None or scope.first_day >= scope.partition_date:
        return last
    return f"{'From ' if start else ''}{formats.short_date(scope.first_day)} to {last}"


def _in_currency(scope: Scope) -> str:
    return f"amounts in {scope.currency}"


def _counted(count: int | Decimal, one: str, many: str | None = None) -> str:
    return f"{formats.compact(count)} {one if count == 1 else many or one + 's'}"
