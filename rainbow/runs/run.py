"""Running the pipeline, or some of its steps, for a range of partitions: in this process, under a lock and with the ledger kept."""

from __future__ import annotations

import contextlib
import copy
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from rainbow import interrupts, pipeline
from rainbow.batch.context import ended_with, last_error, within
from rainbow.batch.report import render_failed
from rainbow.checks import Check
from rainbow.errors import CheckError, RainbowError
from rainbow.partitions.assets import STEPS
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger, one_line
from rainbow.partitions.locks import holding
from rainbow.settings import PROJECT_ROOT, settings

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class RunResult:
    """How a run ended: rows extracted, seconds, its checks. ``error`` says why it failed, None when all is well."""

    run: str
    partitions: PartitionRange
    steps: tuple[str, ...]
    rows: int
    seconds: float
    checks: tuple[Check, ...]
    report: Path
    error: RainbowError | None = None


def run_partitions(partitions: PartitionRange, *, steps: Sequence[str] = STEPS, on_step: OnStep | None = None) -> RunResult:
    """Run steps of the pipeline once for a range of partitions; its executed notebooks are kept under the range's last day.

    Raises the step's own RainbowError when one fails; the ledger has it then, and the same command again goes on from there.
    """
    began = perf_counter()
    ledger = Ledger()
    what = f"run of {partitions}" if tuple(steps) == STEPS else f"{', '.join(steps)} of {partitions}"
    lock = f"report {partitions.last}" if set(steps) == {"report"} else "batch"
    with holding(ledger.locks, lock, f"{what}, process {os.getpid()}"), ended_with(ledger.begin(partitions, what)) as run:
        try:
            with within(run):
                _build(partitions, steps, on_step)
                interrupts.check()
        except BaseException as error:
            cause = last_error() or error
            # dashboards are no step of their own: what fails outside of steps is one of them
            if isinstance(cause, CheckError) or (isinstance(error, Exception) and not last_error()):
                with _quiet(), contextlib.suppress(Exception):
                    failed = render_failed(partitions.last, _folder(partitions), run)
                    if failed and not last_error():
                        cause = _note_failed(ledger, run, partitions, failed)
            if isinstance(cause, RainbowError | KeyboardInterrupt | OSError):
                raise cause from None
            raise RainbowError(f"run of {partitions} failed: {one_line(cause)}; its notebooks are in {_folder(partitions)}") from error
    rows = sum(made.rows or 0 for made in ledger.made(run) if made.asset.startswith("lake/"))
    report = _folder(partitions) / "sales.html"
    return RunResult(run, partitions, tuple(steps), rows, perf_counter() - began, tuple(ledger.checks_of(run)), report)


def _note_failed(ledger: Ledger, run: str, partitions: PartitionRange, failed: Sequence[str]) -> RainbowError:
    """Note in the ledger that the step ``report`` failed because of these dashboards; returns the error to raise."""
    error = RainbowError(f"{'; '.join(failed)}; all others are in {_folder(partitions) / 'sales.html'}")
    with contextlib.suppress(RainbowError), ledger.step(run, pipeline.REPORT, partitions):
        raise error
    return error


def _folder(partitions: PartitionRange) -> Path:
    return settings().reports_dir / str(partitions.last)


def _build(partitions: PartitionRange, steps: Sequence[str], on_step: OnStep | None) -> None:
    from ploomber.spec import DAGSpec

    env = {
        "partition_date": str(partitions.last),
        "partition_start": str(partitions.first),
        "reports": str(settings().reports_dir),
    }
    with _working_in(PROJECT_ROOT), _quiet():
        dag = DAGSpec(_tasks(steps), env=env, parent_path=str(PROJECT_ROOT)).to_dag()
        if on_step:
            for name in dag:
                dag[name].on_finish = _telling(on_step, name)
        dag.build(force=True, show_progress=False)


def _tasks(steps: Sequence[str]) -> dict[str, Any]:
    """The pipeline with the tasks of these steps alone; a dashboard is part of the step ``report``."""
    spec = copy.deepcopy(pipeline.spec())
    names = {task["name"] for task in spec["tasks"] if _step_of(task["name"]) in steps}
    tasks = [_after(task, names) for task in spec["tasks"] if task["name"] in names]
    return {**spec, "tasks": tasks}


def _step_of(task: str) -> str:
    return pipeline.REPORT if task in pipeline.dashboards() else task


def _after(task: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    upstream = task.get("upstream", [])
    kept = [name for name in ([upstream] if isinstance(upstream, str) else upstream) if name in names]
    return {**{key: value for key, value in task.items() if key != "upstream"}, **({"upstream": kept} if kept else {})}


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
