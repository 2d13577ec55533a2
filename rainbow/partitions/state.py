"""States: what the ledger says of each asset's partition, and why it is not done.

``done``     made by the code of now from the data of now
``stale``    made by other code, from other data, before its day had ended, or from something that is itself to be made anew
``failed``   the step that makes it, or an error check of it, failed last; or its process was gone
``missing``  never made
``running``  a run is making it now
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple

from rainbow.checks import Check
from rainbow.partitions.assets import Asset, assets
from rainbow.partitions.dates import PartitionRange, start_of_next
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.records import Newest, StepRun

State = Literal["done", "running", "failed", "stale", "missing"]
# the first of these that an asset of a partition has is the partition's own
BY_WEIGHT: tuple[State, ...] = ("running", "failed", "stale", "missing", "done")

Key = tuple[str, date]


class Status(NamedTuple):
    """The state of an asset's partition. ``reasons`` say why it is not done, each in a few words."""

    state: State
    reasons: tuple[str, ...] = ()
    newest: Newest | None = None


_MISSING = Status("missing", ("never made",))


def states(
    partitions: PartitionRange | None = None, *, ledger: Ledger | None = None, late: Mapping[Key, int] | None = None
) -> dict[Key, Status]:
    """The state of every asset for each of the partitions, or for each that the ledger knows, in the order of days.

    ``late`` counts rows that the source has and no extract has seen, by asset and partition.
    """
    ledger = ledger or Ledger()
    ledger.mark_interrupted()
    catalogue = assets()
    shown = {up for one in catalogue.values() if one.cumulative for up in one.upstream}
    known = ledger.newest(partitions)
    if partitions is not None and partitions.first > date.min:
        known |= ledger.newest(PartitionRange(date.min, partitions.first - timedelta(days=1)), shown)
    unfinished = ledger.steps(not_done=True, partitions=partitions)
    failed = ledger.failed_checks(partitions)
    wanted = set(partitions or {day for _, day in known} | {day for step in unfinished for day in step.partitions})
    troubled = _troubled(unfinished, failed, known)
    history = {name: CumulativeVersion() for name in shown}
    found: dict[Key, Status] = {}
    for day in sorted({day for _, day in known} | wanted):
        versions = {name: known[name, day].data_version for name in catalogue if (name, day) in known}
        ended = start_of_next(day).replace(tzinfo=None)
        for name in shown & versions.keys():
            history[name].add(day, versions[name])
        for one in catalogue.values() if day in wanted else ():
            found[one.name, day] = _status(one, day, ended, known, versions, history, troubled, found, late or {})
    return found


class CumulativeVersion:
    """The data version of all partitions of an asset up to a day, in the order of days."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, day: date, version: str) -> None:
        """The next day's data version."""
        self._digest.update(f"{day}={version};".encode())

    @property
    def version(self) -> str:
        """The version of all that was added."""
        return self._digest.hexdigest()[:16]


def _status(
    asset: Asset,
    day: date,
    ended: datetime,
    known: Mapping[Key, Newest],
    versions: Mapping[str, str],
    history: Mapping[str, CumulativeVersion],
    troubled: Mapping[Key, tuple[State, str]],
    found: Mapping[Key, Status],
    late: Mapping[Key, int],
) -> Status:
    newest = known.get((asset.name, day))
    trouble = troubled.get((asset.name, day))
    if trouble:
        return Status(trouble[0], (trouble[1],), newest)
    if newest is None:
        return _MISSING
    reasons = _reasons(asset, day, ended, newest, versions, history, found, late)
    return Status("stale", tuple(reasons), newest) if reasons else Status("done", (), newest)


def _reasons(
    asset: Asset,
    day: date,
    ended: datetime,
    newest: Newest,
    versions: Mapping[str, str],
    history: Mapping[str, CumulativeVersion],
    found: Mapping[Key, Status],
    late: Mapping[Key, int],
) -> list[str]:
    """Why what was made is to be made anew; nothing for what is done, as most of the years' partitions are."""
    reasons = []
    if newest.code_version != asset.code_version:
        reasons.append("code changed")
    if newest.made < ended:
        reasons.append("made before the day had ended")
    if late and (count := late.get((asset.name, day))):
        reasons.append(f"{count:,} late rows in the source" if count > 1 else "1 late row in the source")
    for up in asset.upstream:
        now = history[up].version if asset.cumulative else versions.get(up)
        if now is not None and newest.inputs.get(up) != now:
            reasons.append(f"upstream data changed: {up}")
            continue
        above = found.get((up, day))
        if above is not None and above.state in ("stale", "failed"):
            reasons.append(f"upstream {above.state}: {up}")
    return reasons


def _troubled(
    unfinished: Sequence[StepRun], failed: Mapping[Key, Sequence[Check]], known: Mapping[Key, Newest]
) -> dict[Key, tuple[State, str]]:
    """What is being made now, and what failed last, with the reason."""
    found: dict[Key, tuple[State, str]] = {}
    by_step: dict[str, list[str]] = {}
    for one in assets().values():
        by_step.setdefault(one.step, []).append(one.name)
    for step in unfinished:
        for name in by_step.get(step.step, ()):
            for day in step.partitions:
                newest = known.get((name, day))
                if newest is None or newest.made_at < step.started_at:
                    found[name, day] = _trouble(step)
    for (name, day), checks in failed.items():
        errors = [check for check in checks if check.severity == "error"]
        if errors and name in assets():
            found.setdefault((name, day), ("failed", f"check {errors[0].name} failed: {errors[0].detail}"))
    return found


def _trouble(step: StepRun) -> tuple[State, str]:
    if step.status == "running":
        return "running", f"run {step.run} is at it"
    if step.status == "interrupted":
        return "failed", f"interrupted in {step.step}: {step.error}"
    return "failed", f"{step.step} failed: {step.error}"


def of_partition(found: Sequence[Status]) -> State:
    """The state of a partition: that of its asset which needs the most attention."""
    there = {status.state for status in found}
    return next((state for state in BY_WEIGHT if state in there), "missing")


class Freshness(NamedTuple):
    """How up to date an asset is: its newest partition that is done, and how many days that is behind yesterday (UTC)."""

    newest: date | None
    days_behind: int | None

    def __str__(self) -> str:
        if self.newest is None or self.days_behind is None:
            return "no partition is done"
        behind = "up to date" if self.days_behind <= 0 else f"{self.days_behind:,} {'day' if self.days_behind == 1 else 'days'} behind"
        return f"{self.newest}, {behind}"


def freshness(found: Mapping[Key, Status], asset: str, now: date) -> Freshness:
    """How fresh an asset is on the day ``now``: today's own partition is not due before it has ended."""
    newest = max((day for (name, day), status in found.items() if name == asset and status.state == "done"), default=None)
    return Freshness(newest, None if newest is None else (now - newest).days - 1)
