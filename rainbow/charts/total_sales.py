"""Total sales: what the shop sold on a day, against the days before it, and over all days so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from rainbow.charts import formats, serving, shapes
from rainbow.charts.elements import Chart, Column, Figure, Fragment, answer, empty, headline, table
from rainbow.charts.serving import Scope
from rainbow.charts.shapes import ACCENT, BASE, PROVISIONAL
from rainbow.charts.wording import DISCOUNT, NET_SALES, ORDERS, PIECES, SALES, counted, in_currency, period

_LATEST_DAYS = 14
_NOTHING: dict[str, Any] = {
    "orders": 0,
    "sales_quantity": 0,
    "total_sales_amount": Decimal(0),
    "total_discount_amount": Decimal(0),
    "net_sales_amount": Decimal(0),
}
_DAY_TOOLTIP: shapes.Tooltip = (("day", "Day"), ("sales", "Sales"), ("net", "Net sales"), ("pieces", "Pieces"), ("orders", "Orders"))


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
            parts=[sold, formats.long_date(day), counted(now["sales_quantity"], "piece"), counted(now["orders"], "order")],
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
        return headline(period(self.scope, start=True), figures, evidence=evidence)

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
        columns = [Column("day", "Day"), ORDERS, PIECES, SALES, DISCOUNT, NET_SALES]
        caption = f"The latest {len(days)} days, {in_currency(self.scope)}" if len(days) > 1 else f"The day, {in_currency(self.scope)}"
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
            f"{title}, {period(self.scope)}. Highest: {formats.compact(highest[key])} on {formats.long_date(highest['sales_date'])}; "
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


def total_sales(partition_date: date | str | None = None) -> TotalSales:
    """What the shop sold on ``partition_date`` (None: the last complete partition) and each day before it."""
    scope = serving.scope("total_sales", partition_date)
    return TotalSales(scope, serving.days(scope.partition_date))
