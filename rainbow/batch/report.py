"""The pipeline's last step: one page from the executed dashboards of a partition, with what failed at its top."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from rainbow import reports
from rainbow.batch.context import current_run, partitions_of
from rainbow.partitions.ledger import Ledger
from rainbow.reports.files import write_atomically
from rainbow.settings import PROJECT_ROOT

STEPS = ("extract", "load", "transform", "validate", "publish")
DASHBOARDS = ("total_sales", "day_of_week", "top_sellers", "top_products_by_category", "payment_methods", "customer_ranking")


def render(product: Any, upstream: Mapping[str, Any], partition_date: str) -> None:
    """Write the report of a partition; the signature is Ploomber's for a task that is a function."""
    run = current_run()
    write(partitions_of(partition_date).last, [Path(str(upstream[name])) for name in DASHBOARDS], Path(str(product)), run)
    if run:
        Ledger().record(run, "report/sales", [partitions_of(partition_date).last])


def render_failed(day: date, folder: Path, run: str) -> None:
    """Write the report of a partition whose run a check has stopped: the check at its top, the last good views below it."""
    from ploomber_engine.execute import execute_notebook

    notebooks = [folder / f"{name}.ipynb" for name in DASHBOARDS]
    for notebook in notebooks:
        source = PROJECT_ROOT / "notebooks" / "dashboards" / notebook.name
        execute_notebook(str(source), str(notebook), parameters={"partition_date": str(day)}, progress_bar=False)
    write(day, notebooks, folder / "sales.html", run)


def write(day: date, dashboards: list[Path], destination: Path, run: str | None) -> None:
    """Write the report, and a page of each batch notebook that was executed, beside it."""
    for name in STEPS:
        notebook = destination.parent / f"{name}.ipynb"
        if notebook.exists():
            write_atomically(notebook.with_suffix(".html"), reports.render_notebook(notebook))
    reports.render_report(day, dashboards, Ledger().checks_of(run) if run else [], destination)
