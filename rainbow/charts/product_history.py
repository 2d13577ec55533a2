"""What changed of the products on a day, and their history up to its end: the dimension's versions (SCD type 2) over time.

Read from ``serving.dim_products`` as it was at the end of the day, so that a later version changes no earlier report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from rainbow.charts import formats, serving, shapes, versions
from rainbow.charts.elements import Chart, Column, Figure, Fragment, answer, empty, headline, table
from rainbow.charts.serving import Scope
from rainbow.charts.shapes import ACCENT, BASE, GREY, TEAL
from rainbow.charts.versions import Version
from rainbow.partitions.dates import start_of_next

PRODUCTS = 8
# of a product with a longer history the latest versions are drawn
MOST_VERSIONS = 60
MOST_CHANGES = 20

_DESCRIBING = ("name", "category", "category_id", "brand", "brand_id", "seller_id")
_COUNTED = ("rating_average", "review_count", "sold_count")
_LEGEND = (
    (ACCENT, "name, category, brand or seller"),
    (BASE, "price"),
    (GREY, "rating, reviews or pieces sold only"),
    (TEAL, "first version shown"),
)
_FIGURES = (
    ("repriced", "Another price"),
    ("described", "Another description"),
    ("counted", "Rated or sold only"),
    ("new", "First seen"),
    ("deleted", "Deleted"),
)


@dataclass(frozen=True)
class ProductHistory:
    """The versions that began or ended on the day, counted by what changed, and those of the products that changed most.

    ``versions`` are in the order of the products' ranks, then of time; ``of`` in each is how many versions the product has had.
    """

    scope: Scope
    counts: serving.Row
    versions: Sequence[Version]

    def answer(self) -> Fragment:
        """How many products changed."""
        day = formats.long_date(self.scope.partition_date)
        changed = self.counts["changed"]
        if not changed:
            return answer("No product changed on {}.", about=self.scope.about(), parts=[day])
        if self.scope.first_day == self.scope.partition_date:
            return answer("The history of the products begins on {}.", about=self.scope.about(), parts=[day])
        named = "1 product" if changed == 1 else f"{formats.exact(changed)} products"
        return answer(
            "{} changed on {}, {} of them in more than what they are rated and sold.",
            about=self.scope.about(),
            parts=[named, day, formats.exact(changed - self.counts["counted"])],
        )

    def headline(self) -> Fragment:
        """The products that changed, by what changed most of them."""
        figures = [Figure(name, int(self.counts[key])) for key, name in _FIGURES]
        return headline(
            f"Products on {formats.short_date(self.scope.partition_date)}",
            figures,
            note="each counted once; a description is name, category, brand and seller",
        )

    def timeline(self) -> Chart | Fragment:
        """A line a product and a bar a version, in the colour of what changed."""
        day = formats.short_date(self.scope.partition_date)
        if not self.versions:
            return empty(f"No product changed on {day}: no history to draw.")
        products = versions.by_product(self.versions)
        bars = [bar for rank, of_one in enumerate(products, start=1) for bar in self._bars(rank, of_one)]
        names = [
            {"rank": rank, "name": formats.plain(of_one[-1]["name"]), "label": _counted(of_one[-1]["of"])}
            for rank, of_one in enumerate(products, start=1)
        ]
        title = f"Products that changed most on {day}"
        alt = f"{title}, with their versions over time: " + ", ".join(f"{row['name']}: {row['label']}" for row in names) + "."
        drawn = {bar["role"] for bar in bars}
        return Chart(
            shapes.timeline(bars, names, tooltip=versions.TOOLTIP),
            title,
            alt,
            note="a bar a version, a mark where it begins",
            legend=[pair for pair in _LEGEND if pair[0] in drawn],
        )

    def table(self) -> Fragment:
        """What changed of these products on the day; what they are rated and sold is left to the timeline."""
        shown = [
            {"product": new["name"], "moment": f"{new['valid_from_at']:%H:%M:%S}", "column": column, "before": before, "after": after}
            for of_one in versions.by_product(self.versions)
            for old, new in versions.steps(of_one)
            if old and new["valid_from_at"].date() == self.scope.partition_date
            for column, before, after in versions.differences(old, new)
            if column not in {versions.TRACKED[name] for name in _COUNTED}
        ]
        day = formats.short_date(self.scope.partition_date)
        if not shown:
            return empty(f"No price, name, category, brand or seller of these products changed on {day}.")
        columns = [
            Column("product", "Product", "long"),
            Column("moment", "When, UTC"),
            Column("column", "What"),
            Column("before", "Before", "long"),
            Column("after", "After", "long"),
        ]
        first = f", the first {MOST_CHANGES} of {len(shown)}" if len(shown) > MOST_CHANGES else ""
        return table(shown[:MOST_CHANGES], columns, caption=f"What changed on {day}{first}", currency=self.scope.currency)

    def _bars(self, rank: int, of_one: Sequence[Version]) -> Iterator[dict[str, Any]]:
        end = start_of_next(self.scope.partition_date)
        for old, new in versions.steps(of_one):
            yield versions.bar(rank, old, new, end, role(old, new))


def product_history(partition_date: date | str | None = None) -> ProductHistory:
    """What changed of the products on ``partition_date`` (None: the last complete partition), and their history up to its end."""
    scope = serving.scope("dim_products", partition_date)
    parameters = {
        "day": scope.partition_date,
        "end": start_of_next(scope.partition_date),
        "products": PRODUCTS,
        "versions": MOST_VERSIONS,
    }
    found = serving.query(_VERSIONS, parameters)
    counts = found[0] if found else dict.fromkeys(("changed", *(key for key, _ in _FIGURES)), 0)
    in_time = sorted(map(_with_zone, found), key=lambda row: (row["place"], row["valid_from_at"], row["valid_to_at"]))
    return ProductHistory(scope, counts, in_time)


def versions_of(product_id: int) -> list[Version]:
    """All versions of a product, in the order of time; none when there is no such product."""
    columns = ", ".join(versions.TRACKED)
    found = serving.query(
        f"""
        select product_key, product_id, {columns}, valid_from, valid_to, valid_from_at, valid_to_at, is_current
        from serving.dim_products
        where product_id = {{product_id:Int64}}
        order by valid_from_at, valid_to_at
        """,
        {"product_id": product_id},
    )
    return [_with_zone(row) for row in found]


def role(old: Version | None, new: Version) -> str:
    """The colour of a version: by what changed most to it."""
    if old is None:
        return TEAL
    differing = set(versions.differing(old, new))
    if differing & set(_DESCRIBING):
        return ACCENT
    return BASE if "price" in differing else GREY


def _with_zone(row: serving.Row) -> serving.Row:
    """The row with its instants in UTC, which ClickHouse's client leaves without a zone."""
    return {name: found.replace(tzinfo=UTC) if isinstance(found, datetime) else found for name, found in row.items()}


def _counted(count: int) -> str:
    return "1 version" if count == 1 else f"{formats.exact(count)} versions"


# of each product with a version that began or ended on the day: what it was before, and what it is at the day's end
_CHANGED = """
    with
    touched as (
        select product_id
        from serving.dim_products
        where product_id >= 0 and (valid_from = {day:Date32} or (valid_to = {day:Date32} and valid_to_at < {end:DateTime64(6, 'UTC')}))
    ),
    known as (
        select
            product_id,
            valid_from = {day:Date32} as of_day,
            valid_from_at,
            valid_to_at,
            toString(tuple(name, category_id, category, brand_id, brand, seller_id)) as described,
            toString(price) as priced
        from serving.dim_products
        where product_id in (select product_id from touched) and valid_from <= {day:Date32}
    ),
    changed as (
        select
            product_id,
            count() as of,
            countIf(of_day) as on_day,
            countIf(not of_day) = 0 as is_new,
            max(valid_to_at) < {end:DateTime64(6, 'UTC')} as is_deleted,
            arraySort(version -> (version.1, version.2), groupArray((valid_from_at, valid_to_at, of_day, described, priced))) as line,
            arrayExists((version, before) -> version.3 and version.4 != before.4, arraySlice(line, 2), arrayPopBack(line)) as is_described,
            arrayExists((version, before) -> version.3 and version.5 != before.5, arraySlice(line, 2), arrayPopBack(line)) as is_repriced
        from known
        group by product_id
    )
"""

# how many products changed and in what, each counted once, beside the versions of those that changed most
_VERSIONS = f"""
    {_CHANGED},
    shown as (
        select
            product_id,
            of,
            row_number() over (order by 3 * is_described + 2 * is_deleted + is_repriced desc, is_new, of desc, product_id) as place,
            not is_new and not is_deleted as goes_on,
            count() over () as changed,
            countIf(is_deleted) over () as deleted,
            countIf(is_new and not is_deleted) over () as new,
            countIf(goes_on and is_described) over () as described,
            countIf(goes_on and is_repriced and not is_described) over () as repriced,
            countIf(goes_on and not is_repriced and not is_described) over () as counted
        from changed
        order by place
        limit {{products:UInt32}}
    )
    select
        shown.*, v.product_id as product_id, {", ".join(f"v.{name} as {name}" for name in versions.TRACKED)},
        v.valid_from_at as valid_from_at, v.valid_to_at as valid_to_at
    from serving.dim_products as v
    inner join shown on shown.product_id = v.product_id
    where v.valid_from <= {{day:Date32}}
    order by place, valid_from_at desc, valid_to_at desc
    limit {{versions:UInt32}} by product_id
"""
