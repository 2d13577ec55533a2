"""Day of week: which weekday sells most, over all days up to a partition's."""

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
from rainbow.charts.wording import SALES, in_currency, no_sales, period

_WEEKDAY_TOOLTIP: shapes.Tooltip = (
    ("day", "Day"),
    ("exact", "Sales"),
    ("percent", "Share of sales"),
    ("pieces", "Pieces"),
    ("days", "Days with sales"),
)


@dataclass(frozen=True)
class DayOfWeek:
    """Which day of the week sells most. ``rows`` has a row a weekday with sales, the highest amount first."""

    scope: Scope
    rows: Sequence[serving.Row]

    def answer(self) -> Fragment:
        """The best weekday and its share."""
        if not self.rows:
            return no_sales(self.scope)
        best = self._shared()[0]
        return answer(
            "{} sells most: {}, {} of all sales.",
            about=self.scope.about(),
            parts=[
                best["day_of_week"],
                self.scope.rounded(best["total_sales_amount"]),
                formats.percent(best["share"], decimals=1),
            ],
        )

    def bars(self) -> Chart | Fragment:
        """Sales by weekday, Monday first, the best one set off."""
        if not self.rows:
            return empty("No sales to compare the weekdays by.")
        by_day = {row["day_of_week"]: row for row in self._shared()}
        best = self.rows[0]["day_of_week"]
        drawn = [self._drawn(day, by_day.get(day), best) for day in formats.WEEKDAYS]
        alt = f"Sales by day of the week, {period(self.scope)}: " + ", ".join(f"{row['day']} {row['label']}" for row in drawn) + "."
        spec = shapes.weekdays(drawn, tooltip=_WEEKDAY_TOOLTIP)
        return Chart(spec, f"Sales by day of the week, {self.scope.currency}", alt, note=period(self.scope))

    def table(self) -> Fragment:
        """The weekdays by amount, each one's share, and all together."""
        if not self.rows:
            return empty("No sales so far.")
        rows = self._shared()
        columns = [
            Column("day_of_week", "Day of week"),
            SALES,
            Column("total_sales_quantity", "Pieces", "number"),
            Column("share", "Share of sales", "share"),
        ]
        return table(
            rows,
            columns,
            caption=f"By day of the week, {period(self.scope)}, {in_currency(self.scope)}",
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
            "label": self.scope.short(sold),
            "share": formats.percent(share, decimals=1),
            "exact": self.scope.money(sold),
            "percent": formats.percent(share),
            "pieces": formats.exact(pieces),
            "days": formats.exact(days),
        }


def day_of_week(partition_date: date | str | None = None) -> DayOfWeek:
    """Which day of the week sells most, over all days up to ``partition_date``."""
    scope = serving.scope("day_of_week_with_most_sales", partition_date)
    return DayOfWeek(scope, serving.weekdays(scope.partition_date))
