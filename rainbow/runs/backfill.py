"""Backfill: carrying out a plan, partition by partition or as one run, and the report of how it went.

What works on the warehouse runs in date order, one partition at a time, since each day builds on the history of the days before
it. Reports that alone are to be drawn anew do not depend on each other and are drawn by several processes. Before each run the
plan of its partitions is made afresh, because an earlier run may have brought them up to date.
"""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from typing import Literal, Protocol

from rainbow.errors import RainbowError, ServiceError, SettingsError
from rainbow.partitions.assets import REPORT, STEPS
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.plan import Plan, make_plan
from rainbow.runs.run import RunResult, run_partitions
from rainbow.settings import settings

Mode = Literal["per-partition", "single-run"]
MODES: tuple[Mode, ...] = ("per-partition", "single-run")
# a process starts in about two seconds; fewer reports than this are drawn sooner without
_REPORTS_A_PROCESS = 6


class Progress(Protocol):
    """Who is told how a backfill goes on."""

    def begin(self, partitions: PartitionRange) -> None:
        """A run begins."""

    def step(self, name: str) -> None:
        """A step of the current run has ended."""

    def end(self, result: RunResult) -> None:
        """A run has ended, well or with an error."""


Replan = Callable[[PartitionRange], Plan]


def backfill(
    plan: Plan,
    *,
    replan: Replan,
    mode: Mode = "per-partition",
    max_parallel: int = 2,
    fail_fast: bool = False,
    progress: Progress,
    before: Callable[[date], None] | None = None,
) -> Iterator[RunResult]:
    """Carry out a plan; gives each run's result, those that failed too.

    ``per-partition`` runs the steps once a day; ``single-run`` once for each row of days without a gap. Both give the same tables.
    A partition that fails is passed over, unless ``fail_fast``: its error is raised then. What no partition could do without (a
    service that does not answer, a full disk) is always raised. ``before`` is called with a day before its partition is run.
    ``replan`` makes the plan of some partitions again.
    """
    check_mode(mode)
    drawn_only = [day for day in plan.days if plan.steps(day) == ("report",)]
    perhaps = {day for day in drawn_only if all(one.kind == "upstream" for one in plan.of(day))}
    for partitions in _runs([day for day in plan.days if day not in drawn_only], mode):
        for day in partitions if before else ():
            before(day)  # type: ignore[misc]
        now = replan(partitions)
        steps = [step for step in STEPS if any(step in now.steps(day) for day in partitions)]
        if steps == ["report"]:
            perhaps |= set(partitions)
        elif steps:
            yield _carry_out(partitions, steps, fail_fast, progress)
    reports = [*(day for day in drawn_only if day not in perhaps), *(day for day in sorted(perhaps) if _is_to_be_drawn(day))]
    yield from _draw(sorted(reports), max_parallel, fail_fast, progress)


def _is_to_be_drawn(day: date) -> bool:
    """Whether a report shows what is no longer so, now that all else is done."""
    return bool(make_plan(PartitionRange(day, day), selection=[REPORT]).of(day))


def _carry_out(partitions: PartitionRange, steps: Iterable[str], fail_fast: bool, progress: Progress) -> RunResult:
    progress.begin(partitions)
    try:
        result = run_partitions(partitions, steps=tuple(steps), on_step=progress.step)
    except (ServiceError, SettingsError):
        raise
    except RainbowError as error:
        if fail_fast:
            raise
        result = _failed(partitions, steps, error)
    progress.end(result)
    return result


def _failed(partitions: PartitionRange, steps: Iterable[str], error: RainbowError) -> RunResult:
    page = settings().reports_dir / str(partitions.last) / "sales.html"
    return RunResult("", partitions, tuple(steps), 0, 0.0, (), page, error)


def _draw(days: list[date], max_parallel: int, fail_fast: bool, progress: Progress) -> Iterator[RunResult]:
    """Draw the reports of these days anew, several at a time where there are many."""
    processes = min(max_parallel, len(days) // _REPORTS_A_PROCESS)
    if processes < 2:
        for day in days:
            yield _carry_out(PartitionRange(day, day), ["report"], fail_fast, progress)
        return
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_process)
    try:
        futures = {pool.submit(_draw_one, day): PartitionRange(day, day) for day in days}
        for future in as_completed(futures):
            partitions = futures[future]
            try:
                result = future.result()
            except (ServiceError, SettingsError):
                raise
            except RainbowError as error:
                if fail_fast:
                    raise
                result = _failed(partitions, ["report"], error)
            progress.begin(partitions)
            progress.end(result)
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_process() -> None:
    """Spare a drawing process what costs it more than drawing: looking for garbage, and at its end taking Ploomber's objects apart."""
    gc.set_threshold(100_000, 10, 10)
    # after all else that is done at the end
    multiprocessing.util.Finalize(None, _leave, exitpriority=-1000)


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _draw_one(day: date) -> RunResult:
    return run_partitions(PartitionRange(day, day), steps=("report",))


def _runs(days: list[date], mode: Mode) -> list[PartitionRange]:
    ordered = sorted(days)
    if mode == "per-partition" or not ordered:
        return [PartitionRange(day, day) for day in ordered]
    found = [PartitionRange(ordered[0], ordered[0])]
    for day in ordered[1:]:
        if (day - found[-1].last).days == 1:
            found[-1] = PartitionRange(found[-1].first, day)
        else:
            found.append(PartitionRange(day, day))
    return found


def check_mode(mode: str) -> None:
    """Raise RainbowError when there is no such mode."""
    if mode not in MODES:
        raise RainbowError(f"there is no mode {mode!r}: use {' or '.join(MODES)}")
