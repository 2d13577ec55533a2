"""What the validate notebook shows a person: the invariants with counts, the rows at fault, and the history of a few changed products.

Whether the warehouse is right is decided by dbt's tests (``rainbow.warehouse.transform.run_tests``); here is only read and drawn.
The fact is read for the partitions at hand alone, so that a day costs by its work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rainbow.batch.context import partitions_of
from rainbow.charts import formats, shapes, versions
from rainbow.charts.elements import Chart, Column, Fragment, Row, empty, table
from rainbow.charts.shapes import ACCENT, BASE
from rainbow.checks import Check
from rainbow.errors import CheckError
from rainbow.partitions.dates import PartitionRange
from rainbow.settings import settings
from rainbow.warehouse.client import connect
from rainbow.warehouse.sql import rows

if TYPE_CHECKING:
    from google.cloud import bigquery

DIMENSIONS = {"dim_customers": "customer_id", "dim_payments": "payment_id", "dim_products": "product_id", "dim_promotions": "promotion_id", "dim_sellers": "seller_id"}  # fmt: skip
MEMBERS = ("product", "customer", "seller", "promotion", "payment")
PRODUCTS = 6
# of a product with a longer history the latest versions are drawn
MOST_VERSIONS = 40
MOST_CHANGES = 20

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What was found of some partitions; ``versions`` are those of the products that changed most in them, in order.

    ``counts`` has a row for each of the dimensions, ``fact`` one for the fact's lines of the partitions and one for the source's.
    """

    partitions: PartitionRange
    checks: Sequence[Check]
    counts: Sequence[Found]
    fact: Sequence[Found]
    versions: Sequence[Found]

    def dimensions(self) -> Fragment:
        """Each dimension's members and versions, and how many rows are at fault."""
        shown = [
            {
                **row,
                "gone": row["members"] - row["live"],
                "ranges": self._at_fault("no_gaps_or_overlaps", row["dimension"]),
                "currents": self._at_fault("one_current_row", row["dimension"]),
            }
            for row in self.counts
        ]
        columns = [
            Column("dimension", "Dimension"),
            Column("members", "Members", "number"),
            Column("versions", "Versions", "number"),
            Column("live", "Current", "number"),
            Column("gone", "Deleted", "number"),
            Column("ranges", "Gaps and overlaps", "number"),
            Column("currents", "Wrong current rows", "number"),
        ]
        return table(shown, columns, caption="The history of the members", currency="")

    def lines(self) -> Fragment:
        """The fact's lines of the partitions against the source's, and how many of them have a member that was never seen."""
        columns = [
            Column("store", "Lines of"),
            Column("lines", "Lines", "number"),
            Column("pieces", "Pieces", "number"),
            Column("sales", "Sales", "amount"),
            Column("discount", "Discount", "amount"),
            *(Column(f"unknown_{name}", f"Unknown {name}", "number") for name in MEMBERS),
        ]
        return table(self.fact, columns, caption=f"Lines sold {_period(self.partitions)}", currency=settings().currency)

    def at_fault(self) -> Row:
        """For each failed check, rows that show it."""
        return Row([_sample(check) for check in sorted(self.checks, key=lambda check: not check.stops) if not check.passed])

    def timeline(self) -> Chart | Fragment:
        """The versions of the changed products, a bar each, over the time up to the partitions' end."""
        if not self.versions:
            return empty(f"No product changed {_period(self.partitions)}: no history to draw.")
        products = versions.by_product(self.versions)
        bars = [bar for rank, of_one in enumerate(products, start=1) for bar in self._bars(rank, of_one)]
        names = [
            {"rank": rank, "name": formats.plain(of_one[-1]["name"]), "label": _counted(of_one[-1]["of"], "version")}
            for rank, of_one in enumerate(products, start=1)
        ]
        title = f"Products that changed {_period(self.partitions)}"
        alt = f"{title}, with their versions over time: " + ", ".join(f"{row['name']}: {row['label']}" for row in names) + "."
        note = "a bar a version, a mark where it begins"
        legend = [(ACCENT, f"began {_period(self.partitions)}"), (BASE, "earlier")]
        drawn = {bar["role"] for bar in bars}
        return Chart(
            shapes.timeline(bars, names, tooltip=versions.TOOLTIP),
            title,
            alt,
            note=note,
            legend=[pair for pair in legend if pair[0] in drawn],
        )

    def changes(self) -> Fragment:
        """What changed of these products in the partitions, a row a column."""
        shown = [
            {"product": new["name"], "moment": versions.moment(new["valid_from_at"]), "column": column, "before": before, "after": after}
            for of_one in versions.by_product(self.versions)
            for old, new in pairwise(of_one)
            if new["valid_from_at"].date() in self.partitions
            for column, before, after in versions.differences(old, new)
        ]
        if not shown:
            return empty("Nothing to list.")
        columns = [Column("product", "Product"), Column("moment", "When"), Column("column", "What"), Column("before", "Before"), Column("after", "After")]  # fmt: skip
        first = f"; the first {MOST_CHANGES} of {len(shown)}" if len(shown) > MOST_CHANGES else ""
        return table(shown[:MOST_CHANGES], columns, caption=f"What changed, in UTC{first}", currency="")

    def _at_fault(self, check: str, model: str) -> int | None:
        found = [one.failing for one in self.checks if one.name.startswith(f"{check}_{model}")]
        return sum(found) if found else None

    def _bars(self, rank: int, of_one: Sequence[Found]) -> Iterator[dict[str, Any]]:
        for old, new in versions.steps(of_one):
            role = ACCENT if new["valid_from_at"].date() in self.partitions else BASE
            yield versions.bar(rank, old, new, self.partitions.end, role)


def evidence(partitions: PartitionRange, checks: Sequence[Check] = (), *, client: bigquery.Client | None = None) -> Evidence:
    """Read what the notebook shows of these partitions; ``checks`` are those that were made of the warehouse."""
    client = client or connect()
    with ThreadPoolExecutor(3) as pool:
        counts, fact = pool.submit(_counts, client), pool.submit(_fact, client, partitions)
        versions = pool.submit(_versions, client, partitions)
        return Evidence(partitions, checks, counts.result(), fact.result(), versions.result())


@contextmanager
def shown_if_it_fails(partition_date: str | date | None = None, partition_end: str | date | None = None) -> Iterator[None]:
    """A block of a notebook: where a check fails in it, the rows at fault and the invariants are shown before the error goes on."""
    from IPython.display import display

    try:
        yield
    except CheckError as error:
        found = evidence(partitions_of(partition_date, partition_end), error.checks)
        for part in (found.at_fault(), found.dimensions(), found.lines()):
            display(part)
        raise


def _counts(client: bigquery.Client) -> list[Found]:
    each = " union all ".join(
        f"select '{name}' as dimension, count(distinct {member}) as members, count(*) as versions, count(distinct if(is_current, {member}, null)) as live "
        f"from warehouse.{name} where {member} >= 0"
        for name, member in DIMENSIONS.items()
    )
    return [dict(row.items()) for row in rows(client, f"{each} order by dimension")]


def _fact(client: bigquery.Client, partitions: PartitionRange) -> list[Found]:
    unknown = ", ".join(f"countif({name}_key = -1) as unknown_{name}" for name in MEMBERS)
    none = ", ".join(f"null as unknown_{name}" for name in MEMBERS)
    sql = f"""
        select 'fact_sales' as store, count(*) as lines, sum(sales_quantity) as pieces, sum(extended_sales_amount) as sales,
            sum(extended_discount_amount) as discount, {unknown}
        from warehouse.fact_sales
        where ordered_at >= timestamp(@first) and ordered_at < timestamp(date_add(@last, interval 1 day))
        union all
        select 'the source' as store, count(*) as lines, sum(quantity) as pieces, sum(amount) as sales, sum(discount) as discount, {none}
        from staging.sales_lines
        where ordered_on between @first and @last
        order by store
    """
    return [dict(row.items()) for row in rows(client, sql, _days(partitions))]


def _versions(client: bigquery.Client, partitions: PartitionRange) -> list[Found]:
    """Versions, begun by the partitions' end, of the products of which most versions ended in the partitions: changed or deleted."""
    columns = ", ".join(f"v.{column}" for column in versions.TRACKED)
    sql = f"""
        with changed as (
            select product_id, count(*) as changes
            from warehouse.dim_products
            where valid_to between @first and @last
            group by product_id
            order by changes desc, product_id
            limit {PRODUCTS}
        )

        select v.product_id, v.valid_from_at, v.valid_to_at, v.is_current, changed.changes, count(*) over (partition by v.product_id) as versions, {columns}
        from warehouse.dim_products as v
        inner join changed on v.product_id = changed.product_id
        where v.valid_from <= @last
        qualify row_number() over (partition by v.product_id order by v.valid_from_at desc, v.valid_to_at desc) <= {MOST_VERSIONS}
        order by changed.changes desc, v.product_id, v.valid_from_at, v.valid_to_at
    """
    return [{**dict(row.items()), "of": row.versions} for row in rows(client, sql, _days(partitions))]


def _days(partitions: PartitionRange) -> list[bigquery.ScalarQueryParameter]:
    """The first and the last day as parameters, so that the statement's text is each day's."""
    from google.cloud import bigquery

    return [bigquery.ScalarQueryParameter(name, "DATE", day) for name, day in (("first", partitions.first), ("last", partitions.last))]


def _sample(check: Check) -> Fragment:
    columns = [Column(name, name.replace("_", " ")) for name in check.sample[0]] if check.sample else []
    shown = [{name: None if value is None else _text(value) for name, value in row.items()} for row in check.sample]
    # what dbt adds to a test's name for the models that it is given
    name = re.sub(r"__ref_\w+$", "", check.name)
    first = f", the first {len(shown)}" if check.failing > len(shown) else ""
    return table(shown, columns, caption=f"{check.asset}: {name}: {_counted(check.failing, 'row')} at fault{first}", currency="")


def _text(value: Any) -> str:
    return versions.moment(value) if isinstance(value, datetime) else str(value)


def _counted(count: int, one: str) -> str:
    return f"{formats.exact(count)} {one}{'' if count == 1 else 's'}"


def _period(partitions: PartitionRange) -> str:
    first: date = partitions.first
    if len(partitions) == 1:
        return f"on {formats.short_date(first)}"
    return f"from {formats.short_date(first)} to {formats.short_date(partitions.last)}"
