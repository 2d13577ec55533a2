"""Backfill: a range of partitions, one run each or one run for all, with what is done already left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Literal, Protocol

from rainbow.errors import RainbowError
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.run import RunResult, run_partitions, write_index

Mode = Literal["per-partition", "single-run"]


class Progress(Protocol):
    """Who is told how a backfill goes on."""

    def begin(self, partitions: PartitionRange) -> None:
        """A run begins."""

    def step(self, name: str) -> None:
        """A step of the current run has ended."""

    def end(self, result: RunResult) -> None:
        """A run has ended well."""


def pending(partitions: PartitionRange, *, force: bool = False) -> list[date]:
    """The partitions of a range that are not done: never run, failed, interrupted, or run before their day had ended."""
    if force:
        return list(partitions)
    states = Ledger().states(partitions)
    return [day for day in partitions if day not in states or states[day].status != "done" or states[day].partial]


def backfill(
    days: list[date], *, mode: Mode = "per-partition", progress: Progress, before: Callable[[date], None] | None = None
) -> Iterator[RunResult]:
    """Run these partitions in date order, and write the index page at the end, whatever happens.

    ``per-partition`` runs the pipeline once a day; ``single-run`` once for each row of days without a gap. Both give the same
    tables. ``before`` is called with a day before its partition is run. Raises the error of the first run that fails.
    """
    try:
        for partitions in _runs(days, mode):
            if before:
                for day in partitions:
                    before(day)
            progress.begin(partitions)
            result = run_partitions(partitions, on_step=progress.step)
            progress.end(result)
            yield result
    finally:
        if days:
            write_index()


def _runs(days: list[date], mode: Mode) -> list[PartitionRange]:
    if mode not in ("per-partition", "single-run"):
        raise RainbowError(f"there is no mode {mode!r}: use per-partition or single-run")
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
