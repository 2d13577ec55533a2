"""Running the pipeline for a range of partitions, in this process, under the lock and with the ledger kept."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import perf_counter

from rainbow import reports
from rainbow.batch.context import last_error, within
from rainbow.batch.report import DASHBOARDS, STEPS, render_failed
from rainbow.checks import Check
from rainbow.errors import CheckError, RainbowError
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger, PartitionState, one_at_a_time
from rainbow.settings import PROJECT_ROOT, settings

OnStep = Callable[[str], None]
STATES: dict[str, reports.State] = {"done": "materialized", "running": "running", "failed": "failed", "interrupted": "failed"}


@dataclass(frozen=True)
class RunResult:
    """How a run ended: rows extracted, seconds, its checks."""

    run: str
    partitions: PartitionRange
    rows: int
    seconds: float
    checks: tuple[Check, ...]
    report: Path


def run_partitions(partitions: PartitionRange, *, on_step: OnStep | None = None) -> RunResult:
    """Run the whole pipeline once for a range of partitions; its executed notebooks are kept under the range's last day.

    Raises the step's own RainbowError when one fails; the ledger has it then, and the same command again goes on from there.
    """
    began = perf_counter()
    ledger = Ledger()
    with one_at_a_time(f"run of {partitions}"):
        run = ledger.begin(partitions)
        try:
            with within(run):
                _build(partitions, on_step)
        except BaseException as error:
            cause = last_error() or error
            ledger.end(run, _one_line(cause))
            if isinstance(cause, CheckError):
                with _quiet(), contextlib.suppress(Exception):
                    render_failed(partitions.last, _folder(partitions), run)
            if isinstance(cause, RainbowError | KeyboardInterrupt | OSError):
                raise cause from None
            raise RainbowError(f"run of {partitions} failed: {_one_line(cause)}; its notebooks are in {_folder(partitions)}") from error
        ledger.end(run)
    rows = sum(
        made["rows"] or 0 for made in ledger.made(run) if made["asset"].startswith("lake/") and made["partition_date"] == partitions.last
    )
    return RunResult(run, partitions, rows, perf_counter() - began, tuple(ledger.checks_of(run)), _folder(partitions) / "sales.html")


def _folder(partitions: PartitionRange) -> Path:
    return settings().reports_dir / str(partitions.last)


def _build(partitions: PartitionRange, on_step: OnStep | None) -> None:
    from ploomber.spec import DAGSpec

    env = {
        "partition_date": str(partitions.last),
        "partition_start": str(partitions.first),
        "reports": str(settings().reports_dir),
    }
    with _working_in(PROJECT_ROOT), _quiet():
        dag = DAGSpec(str(PROJECT_ROOT / "pipeline.yaml"), env=env).to_dag()
        if on_step:
            for name in dag:
                dag[name].on_finish = _telling(on_step, name)
        dag.build(force=True, show_progress=False)


def _telling(on_step: OnStep, name: str) -> Callable[[], None]:
    def finished() -> None:
        on_step(name)

    return finished


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what libraries say into the log of batch runs."""
    folder = settings().home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "batch.log").open("a") as log, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def write_index() -> Path:
    """Write the index page of all partitions that the ledger knows."""
    ledger = Ledger()
    entries = [_entry(ledger, day, state) for day, state in ledger.states().items()]
    return reports.render_index(entries, settings().reports_dir / "index.html")


def _entry(ledger: Ledger, day: date, state: PartitionState) -> reports.Entry:
    folder = settings().reports_dir / str(day)
    made = [m for m in ledger.made(state.run) if m["partition_date"] == day]
    checks = ledger.checks_of(state.run)
    return reports.Entry(
        partition_date=day,
        state=STATES[state.status],
        rows=sum(m["rows"] or 0 for m in made if m["asset"].startswith("lake/")),
        seconds=(state.ended_at - state.started_at).total_seconds() if state.ended_at else None,
        report=folder / "sales.html",
        notebooks=tuple(folder / f"{name}.ipynb" for name in (*STEPS, *DASHBOARDS)),
        checks_passed=sum(c.passed for c in checks),
        checks_failed=sum(not c.passed for c in checks),
        note=state.error or "",
    )
