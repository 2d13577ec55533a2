"""Schedule: each day's partition when the day has ended, and before it what was missed.

What is due is decided from what the ledger lacks at the wall clock's time of now, looked at every few seconds; nothing is counted
in seconds slept. So a machine that slept, a clock that was put forwards or back, and a schedule that was not running for a while
all come to the same: the days that are not done are due, in order. The deciding is pure (``Timetable``, ``due``), ``follow`` is
the loop, and ``LedgerWork`` is what it looks at and sets to work.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from rainbow.errors import LockedError, RainbowError
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger, one_line
from rainbow.partitions.locks import Held
from rainbow.partitions.plan import Plan, look_for_late_rows, make_plan
from rainbow.partitions.state import Key, states
from rainbow.runs.backfill import backfill
from rainbow.runs.catalogue import write_catalogue
from rainbow.runs.run import RunResult
from rainbow.settings import settings

LOCK = "schedule"
SLICE_SECONDS = 5.0
# how long after its first, second, ... failure a day is tried again; the last of them from then on
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 4, 16, 60))
# for so many failures of a service later days wait too, since they need it as well; then they have a try of their own
_HOLDING = 3

Say = Callable[[str], None]
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Timetable:
    """A day's partition is due at ``at`` (UTC) of the next day. Days that are not done are caught up on when they are among the
    last ``catch_up``; one that fails is tried again ``retries`` times before the next day is due.
    """

    at: time = time(0)
    catch_up: int = 31
    retries: int = 5

    def newest(self, now: datetime) -> date:
        """The newest day that is due at an instant."""
        shifted = now.astimezone(UTC) - timedelta(hours=self.at.hour, minutes=self.at.minute)
        return shifted.date() - timedelta(days=1)

    def window(self, now: datetime, first: date | None) -> PartitionRange | None:
        """The days that are looked after, in a ledger whose first partition is ``first``; the newest alone when it has none."""
        last = self.newest(now)
        begin = max(first or last, last - timedelta(days=self.catch_up - 1))
        return PartitionRange(begin, last) if begin <= last else None

    def further_back(self, now: datetime, first: date | None) -> PartitionRange | None:
        """The days of the ledger before the window."""
        window = self.window(now, first)
        return PartitionRange(first, window.first - timedelta(days=1)) if window and first and first < window.first else None


@dataclass(frozen=True)
class Tried:
    """How often a day was tried since the newest day became due, and when last; ``holds`` when a service failed that all need."""

    count: int
    at: datetime
    holds: bool = False

    @property
    def again_at(self) -> datetime:
        """When it is to be tried again."""
        return self.at + PAUSES[min(self.count, len(PAUSES)) - 1]

    def rests(self, now: datetime) -> bool:
        """Whether its pause is not over. A clock that was put back before the try has ended the pause, since nobody knows."""
        return self.at <= now < self.again_at


@dataclass(frozen=True)
class Due:
    """The days that are to be run ``now``, in order; those that rest after a failure; those that are given up until the next day is due."""

    now: tuple[date, ...] = ()
    resting: tuple[date, ...] = ()
    given_up: tuple[date, ...] = ()


def due(unfinished: Iterable[date], tried: Mapping[date, Tried], now: datetime, retries: int) -> Due:
    """What is to be done about days that are not done. A day that rests for want of a service holds up those after it."""
    ready: list[date] = []
    resting: list[date] = []
    given_up: list[date] = []
    for day in sorted(unfinished):
        before = tried.get(day)
        if before and before.count > retries:
            given_up.append(day)
        elif before and before.rests(now):
            resting.append(day)
            if before.holds and before.count <= _HOLDING:
                break
        else:
            ready.append(day)
    return Due(tuple(ready), tuple(resting), tuple(given_up))


@dataclass(frozen=True)
class Outcome:
    """How a day's run ended; ``holds`` when it failed for want of what all days need."""

    day: date
    error: str | None = None
    holds: bool = False


class Work(Protocol):
    """What a schedule looks after."""

    def first(self) -> date | None:
        """The first partition there is."""

    def unfinished(self, partitions: PartitionRange, now: datetime) -> set[date]:
        """Which of these days are not done."""

    def run(self, days: tuple[date, ...]) -> Iterator[Outcome]:
        """Run these days in order. Ends after the first that fails for want of what all need."""


def follow(timetable: Timetable, work: Work, *, clock: Clock, pause: Callable[[float], None], say: Say, warn: Say, once: bool) -> bool:
    """Do what is due, again and again; ``once``: until nothing is due any more. Gives whether all is done then.

    ``pause`` waits for some seconds; it raises KeyboardInterrupt to end the schedule. Raises what ``work`` raises when ``once``;
    else that is said, and tried again.
    """
    turn: date | None = None
    tried: dict[date, Tried] = {}
    unfinished: set[date] = set()
    while True:
        now = clock()
        try:
            if timetable.newest(now) != turn:
                unfinished = _begin_turn(timetable, work, now, say)
                turn, tried = timetable.newest(now), {}
            found = due(unfinished, tried, now, timetable.retries)
            if found.now:
                for outcome in _outcomes(work, found.now):
                    tried[outcome.day] = _next_try(tried.get(outcome.day), outcome, clock())
                    _tell(outcome, tried[outcome.day], timetable, warn)
                unfinished = _unfinished(timetable, work, clock())
                continue
        except Exception as error:
            # whatever it is, it must not end what runs for years
            if once:
                raise
            warn(f"{_text(error)}; tried again in a minute")
            _wait(60, clock, pause)
            continue
        if once and not found.resting:
            return not unfinished
        pause(SLICE_SECONDS)


def _outcomes(work: Work, days: tuple[date, ...]) -> Iterator[Outcome]:
    """What became of these days. One for which there was nothing to run counts as tried, whoever makes it now."""
    waiting = set(days)
    for outcome in work.run(days):
        waiting.discard(outcome.day)
        yield outcome
        if outcome.holds:
            return
    yield from map(Outcome, sorted(waiting))


def _begin_turn(timetable: Timetable, work: Work, now: datetime, say: Say) -> set[date]:
    first = work.first()
    if past := timetable.further_back(now, first):
        left = sorted(work.unfinished(past, now))
        if left:
            span = f"{left[0]} {left[-1]}"
            say(f"{_partitions(len(left))} further back and not done: that is left to `rainbow backfill {span}`")
    unfinished = _unfinished(timetable, work, now)
    say(f"{_partitions(len(unfinished))} due up to {timetable.newest(now)}" if unfinished else f"all is done up to {timetable.newest(now)}")
    return unfinished


def _unfinished(timetable: Timetable, work: Work, now: datetime) -> set[date]:
    window = timetable.window(now, work.first())
    return work.unfinished(window, now) if window else set()


def _next_try(before: Tried | None, outcome: Outcome, now: datetime) -> Tried:
    return Tried((before.count if before else 0) + 1, now, outcome.holds)


def _tell(outcome: Outcome, tried: Tried, timetable: Timetable, warn: Say) -> None:
    if outcome.error is None:
        return
    if tried.count > timetable.retries:
        warn(f"{outcome.day} failed: {outcome.error}; given up until the next day is due")
    else:
        left = timetable.retries - tried.count + 1
        warn(f"{outcome.day} failed: {outcome.error}; tried again from {tried.again_at:%H:%M} UTC on, {left} times more at most")


def _wait(seconds: float, clock: Clock, pause: Callable[[float], None]) -> None:
    """Wait in slices, and no longer when the clock is put forwards or back."""
    began = clock()
    while timedelta(0) <= clock() - began < timedelta(seconds=seconds):
        pause(SLICE_SECONDS)


def _partitions(count: int) -> str:
    return "1 partition is" if count == 1 else f"{count:,} partitions are"


class LedgerWork:
    """The pipeline, as the ledger has it."""

    def __init__(self, *, clock: Clock, pause: Callable[[float], None], say: Say) -> None:
        self.clock, self.pause, self.say = clock, pause, say
        self._owner = f"schedule, process {os.getpid()} of {socket.gethostname()}"
        self._held: Held | None = None
        self._current: date | None = None
        self._late: Mapping[Key, int] = {}

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Hold the schedule's lock; gives whether no other schedule has it."""
        try:
            yield self._hold(Ledger())
        finally:
            if self._held:
                self._held.let_go()

    def first(self) -> date | None:
        """See ``Work``. Until something was made, the first day that was tried. Raises LockedError when another schedule is at work."""
        # a service that moved, or was started since
        settings.cache_clear()
        ledger = Ledger()
        if not self._hold(ledger):
            raise LockedError("another schedule is at work")
        days = ledger.days() or sorted(ledger.newest_runs())
        return days[0] if days else None

    def unfinished(self, partitions: PartitionRange, now: datetime) -> set[date]:
        """See ``Work``."""
        found = states(partitions, late=look_for_late_rows()[0])
        return {day for (_, day), status in found.items() if status.state != "done"} | self._ahead(partitions, now)

    def run(self, days: tuple[date, ...]) -> Iterator[Outcome]:
        """See ``Work``."""
        self._current = days[0]
        try:
            for result in backfill(self.plan(days), replan=self._replan, max_parallel=1, progress=self, before=self._wait_for_others):
                yield Outcome(result.partitions.last, _text(result.error) if result.error else None)
                self.pause(0)
        except Exception as error:
            yield Outcome(self._current, _text(error), holds=True)
        write_catalogue()

    def begin(self, partitions: PartitionRange) -> None:
        """A run begins."""
        self._current = partitions.last
        self.say(f"{partitions} begins")

    def step(self, name: str) -> None:
        """A step of the run has ended: nothing to say."""

    def end(self, result: RunResult) -> None:
        """A run has ended."""
        if result.error is None:
            if "extract" in result.steps:
                # any day's extract takes them all
                self._late = {}
            passed = sum(check.passed for check in result.checks)
            self.say(
                f"{result.partitions} done: {', '.join(result.steps)}, {result.rows:,} rows, {passed} checks passed, {result.seconds:.1f} s"
            )

    def _hold(self, ledger: Ledger) -> bool:
        """Take the schedule's lock, or see that it is still held: one of PostgreSQL ends with its connection."""
        owner = ledger.locks.owner(LOCK)
        if owner is None:
            self._held = ledger.locks.take(LOCK, self._owner)
            return self._held is not None
        return self._held is not None and self._owner.startswith(owner)

    def plan(self, days: tuple[date, ...]) -> Plan:
        """The plan for these days, with the reports of other days that show them."""
        self._late = look_for_late_rows()[0]
        whole = self._replan(PartitionRange(days[0], days[-1]))
        shown = {one.partition_date for one in whole.planned if one.kind == "upstream" and whole.steps(one.partition_date) == ("report",)}
        planned = tuple(one for one in whole.planned if one.partition_date in shown.union(days))
        return Plan(whole.partitions, planned, whole.under_way)

    def _replan(self, partitions: PartitionRange) -> Plan:
        made = make_plan(partitions, late=self._late)
        ahead = self._ahead(partitions, self.clock())
        forced = [one for day in ahead for one in make_plan(PartitionRange(day, day), force=True).of(day)]
        kept = [one for one in made.planned if one.partition_date not in ahead]
        return Plan(made.partitions, (*kept, *forced), made.under_way) if forced else made

    def _ahead(self, partitions: PartitionRange, now: datetime) -> set[date]:
        """Days that were made at a time that is yet to come: by a clock that was ahead, so perhaps before the day had ended."""
        return {day for (_, day), newest in Ledger().newest(partitions).items() if newest.made_at > now + timedelta(minutes=1)}

    def _wait_for_others(self, day: date) -> None:
        """Wait until no other run is under way."""
        self._current = day
        locks = Ledger().locks
        if owner := locks.owner("batch"):
            self.say(f"{day} waits for another run ({owner})")
        while locks.owner("batch"):
            self.pause(1.0)


def _text(error: Exception) -> str:
    return one_line(error) if isinstance(error, RainbowError | OSError) else f"{type(error).__name__}: {one_line(error)}"


def parse_time(text: str) -> time:
    """Read a time of day, ``HH:MM``. Raises RainbowError when there is no such time."""
    try:
        return datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise RainbowError(f"{text!r} is not a time of day: write it as HH:MM, for example 02:30 (UTC)") from None
