"""What needs attention: the states that are not done, brought down to the few things that made them so.

A partition that waits for another, or that was made from one that is stale, is not told by itself: it follows. What is left is told
once for all the assets and days that share a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from rainbow.partitions.assets import STEPS, Asset
from rainbow.partitions.state import Key, State, Status

_FOLLOWS = ("upstream stale: ", "upstream failed: ")
_LOUDEST: tuple[State, ...] = ("failed", "stale", "missing", "running")
_DATA_CHANGED = "upstream data changed: "


@dataclass(frozen=True)
class Trouble:
    """Assets that are not done on the same days for the same reason; both in order."""

    state: State
    reason: str
    assets: tuple[str, ...]
    days: tuple[date, ...]


def troubles(
    statuses: Mapping[Key, Status], assets: Mapping[str, Asset], never_run: Sequence[date] = ()
) -> tuple[tuple[Trouble, ...], int]:
    """What needs attention, what failed first, then the newest; and how many assets' partitions only follow from it.

    ``statuses`` are those of ``state.states()``, in the order of days; ``never_run`` are days between them that no run has had.
    """
    days: dict[tuple[State, str, str], list[date]] = {}
    following = 0
    for day, of_day in _not_done(statuses).items():
        hindered = [STEPS.index(assets[name].step) for name, status in of_day.items() if status.state in ("failed", "running")]
        for name, status in of_day.items():
            waits = status.state == "missing" and hindered and STEPS.index(assets[name].step) >= min(hindered)
            reasons = () if waits else tuple(_own(status.reasons))
            following += not reasons
            for reason in reasons:
                days.setdefault((status.state, reason, name), []).append(day)
    shared: dict[tuple[State, str, tuple[date, ...]], list[str]] = {}
    for (state, reason, name), those in days.items():
        shared.setdefault((state, reason, tuple(those)), []).append(name)
    found = [Trouble(state, reason, tuple(names), those) for (state, reason, those), names in shared.items()]
    if never_run:
        found.append(Trouble("missing", "never run", tuple(assets), tuple(never_run)))
    return tuple(sorted(found, key=lambda one: (_LOUDEST.index(one.state), -one.days[-1].toordinal()))), following


def _not_done(statuses: Mapping[Key, Status]) -> dict[date, dict[str, Status]]:
    found: dict[date, dict[str, Status]] = {}
    for (name, day), status in statuses.items():
        if status.state != "done":
            found.setdefault(day, {})[name] = status
    return found


def _own(reasons: Sequence[str]) -> Iterator[str]:
    """The reasons that do not follow from the state of another asset. Which upstream data changed is left to the asset's page."""
    if any(reason.startswith(_DATA_CHANGED) for reason in reasons):
        yield _DATA_CHANGED.rstrip(": ")
    yield from (reason for reason in reasons if not reason.startswith((_DATA_CHANGED, *_FOLLOWS)))
