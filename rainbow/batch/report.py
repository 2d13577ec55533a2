"""The pipeline's last step: one page from the executed dashboards of a partition, with what failed at its top."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rainbow import reports
from rainbow.batch.context import current_run, partitions_of
from rainbow.partitions.ledger import Ledger

STEPS = ("extract", "load", "transform", "validate", "publish")
DASHBOARDS = ("total_sales", "day_of_week", "top_sellers", "top_products_by_category", "payment_methods", "customer_ranking")


def render(product: Any, upstream: Mapping[str, Any], partition_date: str) -> None:
    """Write the report of a partition, and pages of its executed batch notebooks; the signature is Ploomber's for a task that is a function."""
    day = partitions_of(partition_date).last
    run, ledger = current_run(), Ledger()
    notebooks = [Path(str(upstream[name])) for name in DASHBOARDS]
    folder = Path(str(product)).parent
    for name in STEPS:
        if (folder / f"{name}.ipynb").exists():
            (folder / f"{name}.html").write_text(reports.render_notebook(folder / f"{name}.ipynb"))
    reports.render_report(day, notebooks, ledger.checks_of(run) if run else [], Path(str(product)))
    if run:
        ledger.record(run, "report/sales", [day])
