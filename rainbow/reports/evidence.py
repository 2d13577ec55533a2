"""The evidence page of a partition: for each of its views, what every place says of the day and whether it is from the batch or from the
mirror, the queries, the files and the notebooks.

The caller brings what was found (``rainbow.trace``); the headline figures of the report lead here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainbow.charts import formats
from rainbow.reports.files import link, write_atomically
from rainbow.reports.rendering import render

if TYPE_CHECKING:
    from rainbow.olap.serving.sides import Sides
    from rainbow.trace import Trace

PAGE = "evidence.html"

# older days are added up by month, so that the page does not grow by a line a day
DAYS = 31

COLUMNS = {
    "orders": "Orders",
    "lines": "Lines",
    "sales_quantity": "Pieces",
    "total_sales_amount": "Sales",
    "total_discount_amount": "Discount",
    "net_sales_amount": "Net sales",
}


def render_evidence(
    day: date, traces: Sequence[Trace], days: Sequence[Mapping[str, Any]], watermark: date | None, currency: str, destination: Path
) -> Path:
    """Write the page; ``days`` has the figures of each day with sales up to this one, as ``serving.total_sales`` has them, in order."""
    sides = next((one.sides for one in traces if one.view == "total_sales"), None)
    html = render(
        "evidence.html.jinja",
        day=day,
        traces=[_shown(one) for one in traces],
        periods=_periods(days, sides, destination),
        side=sides.of(day) if sides else None,
        watermark=watermark,
        currency=currency,
        columns=COLUMNS,
        files=[(path, rows) for path, rows in traces[0].lake_files.items()] if traces else [],
        notebooks=[(path.stem, link(path, destination)) for path in traces[0].notebooks] if traces else [],
        report=link(destination.parent / "sales.html", destination),
        index=link(destination.parent.parent / "index.html", destination),
    )
    return write_atomically(destination, html)


def _shown(trace: Trace) -> dict[str, Any]:
    rows, before = [], None
    for place in trace.places:
        differing = set(place.differs_from(before)) if before else set()
        cells = [(_text(name, (place.figures or {}).get(name)), name in differing) for name in COLUMNS]
        rows.append({"place": place, "cells": cells})
        before = place if place.figures is not None else before
    return {"view": trace.view, "rows": rows, "side": trace.side, "first_difference": trace.first_difference}


def _periods(days: Sequence[Mapping[str, Any]], sides: Sides | None, destination: Path) -> list[dict[str, Any]]:
    """What the days so far add up from: the newest ones, each with its own evidence, and the months before."""
    earlier, newest = days[:-DAYS], days[-DAYS:]
    found = [
        {"label": f"{month:%B %Y}", "link": "", **_summed(list(rows), sides)}
        for month, rows in groupby(earlier, key=lambda row: row["sales_date"].replace(day=1))
    ]
    for row in newest:
        page = destination.parent.parent / row["sales_date"].isoformat() / PAGE
        there = page == destination or page.exists()
        label = formats.short_date(row["sales_date"])
        found.append({"label": label, "link": link(page, destination) + "#total_sales" if there else "", **_summed([row], sides)})
    return [*found, {"label": "All days", "link": "", **_summed(days, sides)}]


def _summed(rows: Sequence[Mapping[str, Any]], sides: Sides | None) -> dict[str, Any]:
    """The days' sums, and how many of them are from the batch and from the mirror; of one day, which."""
    taken = Counter(side for row in rows if sides and (side := sides.of(row["sales_date"])))
    counted = ", ".join(f"{count} {name}" for name, count in sorted(taken.items()))
    return {"side": counted if len(rows) > 1 else "".join(taken), "cells": _sums(rows)}


def _sums(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [_text(name, sum(row[name] for row in rows)) for name in COLUMNS if name != "lines"]


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if name.endswith("_amount") else formats.exact(value)
