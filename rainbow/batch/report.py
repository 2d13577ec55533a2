"""The pipeline's last step: one page from the executed dashboards of a partition, with what failed at its top."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from rainbow import charts, pipeline, reports
from rainbow.batch.context import partitions_of, step_of_run
from rainbow.batch.materialize import settle_report
from rainbow.checks import Check
from rainbow.partitions.assets import NOTEBOOKS, REPORT
from rainbow.partitions.ledger import Ledger
from rainbow.reports.files import write_atomically
from rainbow.settings import PROJECT_ROOT, settings
from rainbow.trace import TRACED, trace


def render(product: Any, upstream: Mapping[str, Any], partition_date: str, partition_start: str) -> None:
    """Write the report of a partition, or of a range of them; the signature is Ploomber's for a task that is a function."""
    partitions = partitions_of(partition_start, partition_date)
    page = Path(str(product))
    with step_of_run("report", partitions) as run:
        write(partitions.last, [Path(str(upstream[name])) for name in pipeline.dashboards()], page, run)
        settle_report(run, REPORT, partitions, page=f"{page.parent.name}/{page.name}")


def render_failed(day: date, folder: Path, run: str) -> list[str]:
    """Write the report of a partition whose run was stopped by a check or by a dashboard: what failed at its top, the rest below it,
    from the last good views. Returns a line for each dashboard that failed.
    """
    from ploomber_engine.execute import execute_notebook

    notebooks = [folder / f"{name}.ipynb" for name in pipeline.dashboards()]
    for notebook in notebooks:
        # the notebook keeps its error, and the report says it
        with contextlib.suppress(Exception):
            source = PROJECT_ROOT / "notebooks" / "dashboards" / notebook.name
            execute_notebook(str(source), str(notebook), parameters={"partition_date": str(day)}, progress_bar=False)
    write(day, notebooks, folder / "sales.html", run)
    return [f"dashboard {notebook.stem}: {error}" for notebook in notebooks if (error := reports.error_of(notebook))]


def write(day: date, dashboards: list[Path], destination: Path, run: str) -> None:
    """Write the report; beside it a page of each batch notebook that was executed, and the evidence of the report's figures."""
    for name in NOTEBOOKS:
        notebook = destination.parent / f"{name}.ipynb"
        if notebook.exists():
            write_atomically(notebook.with_suffix(".html"), reports.render_notebook(notebook))
    reports.render_report(day, dashboards, _checks(day, run), destination)
    total = charts.total_sales(day)
    reports.render_evidence(
        day, trace(day, TRACED), total.rows, total.scope.watermark, settings().currency, destination.with_name(reports.EVIDENCE_PAGE)
    )


def _checks(day: date, run: str) -> list[Check]:
    """The checks of a run, or, when it only draws the report anew, those of the partition's newest run that made any."""
    ledger = Ledger()
    own = ledger.checks_of(run)
    if own:
        return own
    return next((found for one in ledger.runs(partition=day) if (found := ledger.checks_of(one.run))), [])
