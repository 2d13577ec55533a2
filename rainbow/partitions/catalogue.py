"""The catalogue page: what the ledger knows, as the pages show it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from rainbow import reports
from rainbow.batch.report import DASHBOARDS, NOTEBOOKS
from rainbow.partitions.ledger import Ledger, Run
from rainbow.settings import settings

STATES: dict[str, reports.State] = {"done": "materialized", "running": "running", "failed": "failed", "interrupted": "failed"}


def write_catalogue() -> Path:
    """Write the index page of all partitions that the ledger knows."""
    ledger = Ledger()
    entries = [_entry(ledger, day, run) for day, run in ledger.newest_runs().items()]
    return reports.render_index(entries, settings().reports_dir / "index.html")


def _entry(ledger: Ledger, day: date, run: Run) -> reports.Entry:
    folder = settings().reports_dir / str(day)
    made = [m for m in ledger.made(run.run) if m.partition_date == day]
    checks = ledger.checks_of(run.run)
    return reports.Entry(
        partition_date=day,
        state=STATES[run.status],
        rows=sum(m.rows or 0 for m in made if m.asset.startswith("lake/")),
        seconds=run.seconds,
        report=folder / "sales.html",
        notebooks=tuple(folder / f"{name}.ipynb" for name in (*NOTEBOOKS, *DASHBOARDS)),
        checks_passed=sum(c.passed for c in checks),
        checks_failed=sum(not c.passed for c in checks),
        note=run.error or "",
    )
