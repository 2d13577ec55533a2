"""Top products: those that brought most in each category, over all days up to a partition's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from rainbow.charts import formats, serving, shapes
from rainbow.charts.elements import Chart, Column, Fragment, Row, answer, empty, table
from rainbow.charts.serving import Scope
from rainbow.charts.shapes import ACCENT, BASE
from rainbow.charts.wording import NET_SALES, PIECES, SALES, in_currency, no_sales, period

TOP_PRODUCTS = 5
TOP_CATEGORIES = 12
_PRODUCT_TOOLTIP: shapes.Tooltip = (("name", "Product"), ("net", "Net sales"), ("sales", "Sales"), ("pieces", "Pieces"))


@dataclass(frozen=True)
class TopProducts:
    """The products that brought most in each category. ``rows`` has a row a product, by category and place; the best of all is in it."""

    scope: Scope
    rows: Sequence[serving.Row]

    def answer(self) -> Fragment:
        """The product that brought most of all."""
        if not self.rows:
            return no_sales(self.scope)
        first = next(row for row in self.rows if row["is_best"])
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
            PIECES,
            SALES,
            NET_SALES,
        ]
        caption = f"{self._how_many()}, by net sales, {period(self.scope)}, {in_currency(self.scope)}"
        return table(self._shown(), columns, caption=caption, currency=self.scope.currency, folded=True)

    def _shown(self) -> list[serving.Row]:
        return [row for row in self.rows if row["category_place"] <= TOP_CATEGORIES]

    def _category(self, category_place: int) -> Chart:
        rows = [row for row in self.rows if row["category_place"] == category_place]
        drawn = [self._drawn(row) for row in rows]
        category = formats.plain(rows[0]["category"])
        alt = (
            f"Net sales of the first {len(rows)} products of {category}, {period(self.scope)}: "
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
            "label": self.scope.short(row["net_sales_amount"]),
            "net": self.scope.money(row["net_sales_amount"]),
            "sales": self.scope.money(row["total_sales_amount"]),
            "pieces": formats.exact(row["sales_quantity"]),
        }

    def _how_many(self) -> str:
        shown, categories = self._shown()[-1]["category_place"], self.rows[0]["categories"]
        of = "each category" if shown >= categories else f"the first {shown} of {formats.exact(categories)} categories"
        return f"The first {TOP_PRODUCTS} products of {of}"


def top_products_by_category(partition_date: date | str | None = None) -> TopProducts:
    """The products that brought most in each category, by net sales, over all days up to ``partition_date``."""
    scope = serving.scope("top_products_by_category", partition_date)
    return TopProducts(scope, serving.products_by_category(scope.partition_date, categories=TOP_CATEGORIES, products=TOP_PRODUCTS))
