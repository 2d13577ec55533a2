"""The catalogue's sentences: what the whole of it says, how far behind a group of assets is, which days something is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from rainbow.charts import formats
from rainbow.reports.catalogue.grid import MARKS

if TYPE_CHECKING:
    from rainbow.partitions.attention import Trouble
    from rainbow.partitions.catalogue import Catalogue, Freshness


def verdict(catalogue: Catalogue) -> str:
    """The state of all of it, in one sentence."""
    if not catalogue.days:
        return "Nothing has been run yet"
    return _of_days(catalogue) + _of_checks(catalogue)


def _of_days(catalogue: Catalogue) -> str:
    counts = Counter(partition.state for partition in catalogue.partitions.values())
    total = len(catalogue.days)
    if len(counts) == 1:
        return f"{'The one day' if total == 1 else f'All {total:,} days'} {_is(next(iter(counts)), total)}"
    said = [f"{counts[state]:,} {_is(state, counts[state])}" for state in MARKS if counts[state] and state != "done"]
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"Of {total:,} days, {listed}"


def _of_checks(catalogue: Catalogue) -> str:
    """What the states do not tell: checks that fail, of something that has no state of its own too."""
    count = len({one.check.name for one in catalogue.failures})
    return "" if not count else "; a check fails" if count == 1 else f"; {count:,} checks fail"


def _is(state: str, count: int) -> str:
    if state == "failed":
        return "has failed" if count == 1 else "have failed"
    return f"{'is' if count == 1 else 'are'} {state}"


def behind(freshness: Freshness, yesterday: date) -> str:
    """How far a group's newest whole partition is behind the last day that has ended."""
    if freshness.whole is None:
        return "no whole partition yet"
    days = (yesterday - freshness.whole).days
    return "up to yesterday" if days <= 0 else "a day behind yesterday" if days == 1 else f"{days:,} days behind yesterday"


def span(days: Sequence[date]) -> str:
    """Days in words: one, a range, or how many within a range."""
    if len(days) == 1:
        return formats.short_date(days[0])
    first, last = formats.short_date(days[0]), formats.short_date(days[-1])
    if days[0].year == days[-1].year:
        first = first.rpartition(" ")[0]
    return f"{_days(len(days))}, {first} to {last}"


def command(trouble: Trouble) -> str:
    """What puts it right; empty while a run is at it."""
    if trouble.state == "running":
        return ""
    return f"rainbow backfill {trouble.days[0]} {trouble.days[-1]} --only {trouble.state}"


def size(count: int | None) -> str:
    """Bytes as people say them."""
    if count is None:
        return formats.NO_VALUE
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} B"


def _days(count: int) -> str:
    return f"{count:,} day" if count == 1 else f"{count:,} days"
