"""Plan: what would run for a range of partitions, and why; nothing runs here.

An asset is planned when it is missing, failed or stale (or everything, when forced), and then all that is made from it, since its
data will be others. What shows every day up to its own is planned for later partitions too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from rainbow.errors import RainbowError, ServiceError, SettingsError
from rainbow.partitions.assets import STEPS, assets, select, upstream
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.state import Key, Status, states

Kind = Literal["missing", "failed", "stale"]
KINDS: tuple[Kind, ...] = ("missing", "failed", "stale")


@dataclass(frozen=True)
class Planned:
    """An asset of a partition that would be made. ``kind`` is its own state, or ``forced``, or ``upstream`` when only what it is made
    from would be made anew."""

    asset: str
    partition_date: date
    kind: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What would run for each partition of a range, and for later ones that show it."""

    partitions: PartitionRange
    planned: tuple[Planned, ...]
    under_way: tuple[date, ...] = ()
    _by_day: dict[date, list[Planned]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for one in self.planned:
            self._by_day.setdefault(one.partition_date, []).append(one)

    def __bool__(self) -> bool:
        return bool(self.planned)

    @property
    def days(self) -> list[date]:
        """The partitions that have something to run, in order."""
        return sorted(self._by_day)

    def of(self, day: date) -> list[Planned]:
        """What would be made for a partition."""
        return self._by_day.get(day, [])

    def steps(self, day: date) -> tuple[str, ...]:
        """The steps that a partition needs, in order. What is published is validated in the same run."""
        known = assets()
        found = {known[one.asset].step for one in self.of(day)}
        if found & {"transform", "publish"}:
            found.add("validate")
        return tuple(step for step in STEPS if step in found)


def make_plan(
    partitions: PartitionRange,
    *,
    selection: Iterable[str] = (),
    only: Collection[Kind] = (),
    force: bool = False,
    ledger: Ledger | None = None,
    late: Mapping[Key, int] | None = None,
) -> Plan:
    """The plan for a range of partitions.

    ``selection`` leaves all other assets out (``assets.select``), ``only`` begins with what is missing, failed or stale alone (and
    with what stands in its way upstream);
    ``late`` counts rows that the source has and no extract has seen. Raises RainbowError for an unknown asset or kind.
    """
    for kind in only:
        if kind not in KINDS:
            raise RainbowError(f"there is no kind {kind}: use {', '.join(KINDS)}")
    chosen = select(selection) if selection else set(assets())
    ledger = ledger or Ledger()
    found = states(partitions, ledger=ledger, late=late)
    planned: dict[Key, Planned] = {}
    for day in partitions:
        _plan_day(day, chosen, only or KINDS, force, found, planned)
    _plan_later(chosen, ledger.days(), planned)
    running = tuple(day for day in partitions if any(found[name, day].state == "running" for name in assets()))
    return Plan(partitions, tuple(planned.values()), running)


def _plan_day(
    day: date, chosen: set[str], only: Collection[str], force: bool, found: Mapping[Key, Status], planned: dict[Key, Planned]
) -> None:
    begun = {name for name in chosen if found[name, day].state in only}
    # what is made anew from something that is not done itself would come out as it is
    needed = begun | {up for up in upstream(begun) & chosen if found[up, day].state in KINDS}
    for one in assets().values():
        status = found[one.name, day]
        if one.name not in chosen or status.state == "running":
            continue
        above = [up for up in one.upstream if (up, day) in planned]
        if force:
            planned[one.name, day] = Planned(one.name, day, "forced", ("forced",))
        elif one.name in needed and not (above and status.state == "stale"):
            planned[one.name, day] = Planned(one.name, day, status.state, status.reasons)
        elif above:
            planned[one.name, day] = Planned(one.name, day, "upstream", tuple(f"made from {up}" for up in above))


def _plan_later(chosen: set[str], known: list[date], planned: dict[Key, Planned]) -> None:
    """What shows all days up to its own, of the partitions that come after one that is planned."""
    for one in assets().values():
        if not one.cumulative or one.name not in chosen:
            continue
        first = min((day for name, day in planned if name in one.upstream), default=None)
        for day in known if first else ():
            if first and day > first and (one.name, day) not in planned:
                planned[one.name, day] = Planned(one.name, day, "upstream", (f"shows {first}",))


def look_for_late_rows() -> tuple[dict[Key, int], str]:
    """How many rows the source has that no extract has seen, by asset and partition; and a note when the source cannot be asked."""
    from rainbow.lake.late import late_rows

    try:
        return {(f"lake/{table}", day): count for (table, day), count in late_rows().items()}, ""
    except (ServiceError, SettingsError) as error:
        return {}, f"late rows in the source are not looked for: {error}"
