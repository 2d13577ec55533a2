"""A product followed through its versions: when each was valid, what changed, and what was sold while it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rainbow.charts import formats, serving, shapes, versions
from rainbow.charts.elements import Chart, Column, Fragment, answer, empty, table
from rainbow.charts.product_history import role, versions_of
from rainbow.charts.versions import Version
from rainbow.errors import DataError
from rainbow.settings import settings

MOST_VERSIONS = 60


@dataclass(frozen=True)
class Product:
    """A product's versions in the order of time, and the sums of its sales by version (``product_key``)."""

    product_id: int
    versions: Sequence[Version]
    sales: Mapping[int, Mapping[str, Any]]

    def answer(self) -> Fragment:
        """How many versions it has had."""
        newest = self.versions[-1]
        now = "is current" if newest["is_current"] else f"ended on {formats.short_date(newest['valid_to'])}"
        count = "1 version" if len(self.versions) == 1 else f"{formats.exact(len(self.versions))} versions"
        return answer("{} has had {}; the last one {}.", about={}, parts=[formats.plain(newest["name"]), count, now])

    def timeline(self) -> Chart | Fragment:
        """A bar a version."""
        shown = self.versions[-MOST_VERSIONS:]
        bars = [versions.bar(1, old, new, datetime.now(UTC), role(old, new)) for old, new in versions.steps(shown)]
        name = formats.plain(shown[-1]["name"])
        names = [{"rank": 1, "name": name, "label": f"{len(shown)} of {len(self.versions)} versions"}]
        title = f"Product {self.product_id} over time"
        alt = f"{title}: {name}, {len(self.versions)} versions, the first from {formats.short_date(self.versions[0]['valid_from'])}."
        return Chart(shapes.timeline(bars, names, tooltip=versions.TOOLTIP), title, alt, note="a bar a version, a mark where it begins")

    def table(self) -> Fragment:
        """Each version with what changed and what was sold while it was valid, the newest first."""
        if not self.versions:
            return empty("No versions.")
        rows = [self._row(old, new) for old, new in versions.steps(self.versions)]
        columns = [
            Column("from", "Valid from, UTC"),
            Column("to", "Valid to, UTC"),
            Column("changed", "What changed"),
            Column("price", "Price", "amount"),
            Column("lines", "Lines sold", "number"),
            Column("pieces", "Pieces", "number"),
            Column("sales", "Sales", "amount"),
        ]
        caption = f"Versions of product {self.product_id}, and the sales that each was valid for"
        return table(rows[::-1], columns, caption=caption, currency=settings().currency)

    def _row(self, old: Version | None, new: Version) -> dict[str, Any]:
        sold = self.sales.get(new["product_key"], {})
        told = [f"{column} {before} → {after}" for column, before, after in versions.differences(old, new)] if old else ["first version"]
        return {
            "from": versions.moment(new["valid_from_at"]),
            "to": "still valid" if new["is_current"] else versions.moment(new["valid_to_at"]),
            "changed": "; ".join(told) or "deleted and returned",
            "price": new["price"],
            "lines": sold.get("lines", 0),
            "pieces": sold.get("pieces", 0),
            "sales": sold.get("sales", 0),
        }


def follow(product_id: int | None = None) -> Product:
    """The history of a product; without an id, of the one that had most prices and names. Raises DataError when there is no such product."""
    if product_id is None:
        product_id = _most_changed()
    found = versions_of(product_id)
    if not found:
        raise DataError(f"there is no product {product_id} in what is published: ask `select product_id, name from serving.dim_products`")
    return Product(product_id, found, _sales(product_id))


def _most_changed() -> int:
    sql = """
        select product_id
        from serving.dim_products
        where product_id >= 0
        group by product_id
        order by uniqExact(price) + uniqExact(name) + uniqExact(category) desc, count() desc, product_id
        limit 1
    """
    found = serving.query(sql)
    if not found:
        raise DataError("no product is published yet: run a partition with `rainbow run DAY`")
    return int(found[0]["product_id"])


def _sales(product_id: int) -> dict[int, Mapping[str, Any]]:
    """Lines, pieces and sales by the version's key, from the warehouse's fact."""
    from google.cloud.bigquery import ScalarQueryParameter

    from rainbow.warehouse.client import connect
    from rainbow.warehouse.sql import rows

    sql = """
        select f.product_key, count(*) as lines, sum(f.sales_quantity) as pieces, sum(f.extended_sales_amount) as sales
        from warehouse.fact_sales as f
        inner join warehouse.dim_products as d on f.product_key = d.product_key
        where d.product_id = @product_id
        group by f.product_key
    """
    found = rows(connect(), sql, [ScalarQueryParameter("product_id", "INT64", product_id)])
    return {row.product_key: dict(row.items()) for row in found}
