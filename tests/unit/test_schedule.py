"""The schedule: what is due when, whatever the clock, the machine and the services do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.errors import LockedError, RainbowError, ServiceError
from rainbow.partitions.assets import REPORT, assets
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.records import Made
from rainbow.runs.schedule import PAUSES, Due, LedgerWork, Outcome, Timetable, Tried, due, follow, parse_time
from rainbow.settings import settings

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
FIRST = date(2024, 9, 1)
START = datetime(2024, 9, 6, 12, tzinfo=UTC)

days = st.dates(date(2024, 8, 25), date(2024, 9, 10))
instants = st.datetimes(datetime(2024, 1, 1), datetime(2024, 12, 31), timezones=st.just(UTC))
tries = st.builds(Tried, st.integers(1, 8), st.datetimes(datetime(2024, 9, 5), datetime(2024, 9, 7), timezones=st.just(UTC)), st.booleans())


def on(*numbers: int) -> tuple[date, ...]:
    return tuple(date(2024, 9, number) for number in numbers)


@pytest.mark.parametrize(
    ("at", "now", "newest"),
    [
        ("00:00", "2024-09-02T00:00", 1),
        ("00:00", "2024-09-02T23:59", 1),
        ("00:00", "2024-09-03T00:00", 2),
        ("02:30", "2024-09-03T02:29", 1),
        ("02:30", "2024-09-03T02:30", 2),
    ],
)
def test_a_day_is_due_at_the_time_of_the_next_day(at: str, now: str, newest: int) -> None:
    assert Timetable(parse_time(at)).newest(datetime.fromisoformat(now).replace(tzinfo=UTC)) == date(2024, 9, newest)


@given(now=instants, at=st.times(), catch_up=st.integers(1, 400), first=st.none() | st.dates(date(2023, 1, 1), date(2025, 1, 1)))
def test_the_window_ends_with_the_newest_day_and_reaches_no_further_back_than_the_first(
    now: datetime, at: time, catch_up: int, first: date | None
) -> None:
    timetable = Timetable(time(at.hour, at.minute), catch_up)
    window, past = timetable.window(now, first), timetable.further_back(now, first)
    if first and first > timetable.newest(now):
        assert (window, past) == (None, None)
        return
    assert window
    assert window.last == timetable.newest(now)
    assert datetime.combine(window.last + DAY, time.min, UTC) <= now
    assert len(window) <= catch_up
    if first is None:
        assert (len(window), past) == (1, None)
    else:
        assert len(window) + (len(past) if past else 0) == (window.last - first).days + 1


@given(unfinished=st.sets(days), tried=st.dictionaries(days, tries), now=instants, retries=st.integers(0, 5))
def test_what_is_due_is_not_done_in_order_and_not_resting(
    unfinished: set[date], tried: Mapping[date, Tried], now: datetime, retries: int
) -> None:
    found = due(unfinished, tried, now, retries)
    listed = [*found.now, *found.resting, *found.given_up]
    assert len(listed) == len(set(listed))
    assert set(listed) <= unfinished
    assert list(found.now) == sorted(found.now)
    assert all(day not in tried or not tried[day].rests(now) for day in found.now)
    assert all(tried[day].count > retries for day in found.given_up)
    # what is missing is held up by a day before it that rests
    assert all(any(day > other for other in found.resting) for day in unfinished - set(listed))


def test_a_failure_of_the_day_alone_lets_the_later_days_go_on() -> None:
    assert due(on(1, 2, 3), {FIRST: Tried(1, START)}, START, 5) == Due(on(2, 3), on(1))


def test_a_failed_service_holds_up_the_later_days_a_few_times_and_not_for_ever() -> None:
    assert due(on(1, 2, 3), {FIRST: Tried(3, START, holds=True)}, START, 5) == Due((), on(1))
    assert due(on(1, 2, 3), {FIRST: Tried(4, START, holds=True)}, START, 5) == Due(on(2, 3), on(1))


def test_a_day_that_failed_too_often_is_given_up_and_holds_up_none() -> None:
    assert due(on(1, 2), {FIRST: Tried(6, START, holds=True)}, START + DAY, 5) == Due(on(2), (), on(1))


def test_the_pauses_grow_and_a_clock_that_was_put_back_ends_them() -> None:
    again = [Tried(count, START).again_at - START for count in range(1, 7)]
    assert again == [*PAUSES, PAUSES[-1], PAUSES[-1]]
    assert again == sorted(again)
    assert Tried(1, START).rests(START)
    assert not Tried(1, START).rests(START + PAUSES[0])
    assert not Tried(1, START).rests(START - DAY)


@dataclass
class Shop:
    """A ledger, a pipeline whose runs fail as the test says, and the clock of the machine: time passes in ``pause`` alone, where the
    machine may also sleep and the clock be put forwards or back."""

    made_at: dict[date, datetime] = field(default_factory=dict)
    failures: dict[date, list[str]] = field(default_factory=dict)
    leaps: list[timedelta] = field(default_factory=list)
    quiet_days: int = 3
    looked_at: datetime = START
    now: datetime = START
    runs: list[tuple[datetime, date]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    def pause(self, seconds: float) -> None:
        self.looked_at = self.now
        self.now += max(timedelta(seconds=seconds), 7 * MINUTE)
        if self.leaps:
            self.now += self.leaps.pop(0)
            self.ends_at = self.now + self.quiet_days * DAY
        elif self.now > self.ends_at:
            raise KeyboardInterrupt

    def first(self) -> date | None:
        return FIRST

    def unfinished(self, partitions: PartitionRange, now: datetime) -> set[date]:
        return {day for day in partitions if day not in self.made_at or self.made_at[day] > now}

    def run(self, days: tuple[date, ...]) -> Iterator[Outcome]:
        assert list(days) == sorted(days)
        for day in days:
            assert day in self.unfinished(PartitionRange(day, day), self.now), "run though it is done"
            assert day < self.now.date(), "run before its day had ended"
            self.runs.append((self.now, day))
            self.now += 2 * MINUTE
            failures = self.failures.get(day, [])
            kind = failures.pop(0) if failures else ""
            if not kind:
                self.made_at[day] = self.now
            yield Outcome(day, kind or None, holds=kind == "service")
            if kind == "service":
                return

    def follow(self, timetable: Timetable, *, once: bool = False) -> bool:
        self.ends_at = self.now + self.quiet_days * DAY
        return follow(timetable, self, clock=self.clock, pause=self.pause, say=self.said.append, warn=self.said.append, once=once)

    def lives(self, timetable: Timetable) -> None:
        with pytest.raises(KeyboardInterrupt):
            self.follow(timetable)


leaps = st.lists(st.just(timedelta()) | st.timedeltas(timedelta(days=-4), timedelta(days=6)), max_size=8)
failures = st.dictionaries(st.dates(FIRST, date(2024, 9, 12)), st.lists(st.sampled_from(["check", "service"]), max_size=3))
done_before = st.sets(st.dates(FIRST, date(2024, 9, 5)))


@given(leaps=leaps, failures=failures, done=done_before, at=st.sampled_from([time(0), time(2, 30), time(23, 59)]))
def test_each_day_is_run_none_twice_while_done_in_order_whatever_the_clock_does(
    leaps: list[timedelta], failures: dict[date, list[str]], done: set[date], at: time
) -> None:
    shop = Shop(dict.fromkeys(done, START - DAY), {day: list(kinds) for day, kinds in failures.items()}, list(leaps))
    timetable = Timetable(at)
    shop.lives(timetable)
    # a day that became due just before the end may still be resting
    window = timetable.window(shop.looked_at - 2 * HOUR, FIRST)
    assert window is None or shop.unfinished(window, shop.looked_at) == set()
    if not failures and all(leap >= timedelta() for leap in leaps):
        ran = [day for _, day in shop.runs]
        assert ran == sorted(set(ran))
        assert not done.intersection(ran)


@given(always=st.sets(st.sampled_from(on(2, 3, 4)), min_size=1), kind=st.sampled_from(["check", "service"]), retries=st.integers(0, 4))
def test_a_day_that_always_fails_is_tried_so_often_a_day_and_the_others_are_done(always: set[date], kind: str, retries: int) -> None:
    shop = Shop(failures={day: [kind] * 1000 for day in always})
    shop.lives(Timetable(retries=retries))
    assert set(shop.made_at) == set(PartitionRange(FIRST, shop.looked_at.date() - DAY)) - always
    turns = {Timetable().newest(moment) for moment, _ in shop.runs}
    for day in always:
        for turn in turns:
            tries = [moment for moment, tried in shop.runs if tried == day and Timetable().newest(moment) == turn]
            assert len(tries) == retries + 1


def test_yesterday_is_not_held_up_for_long_by_a_day_whose_service_always_refuses() -> None:
    shop = Shop(dict.fromkeys(on(1, 3, 4), START), {on(2)[0]: ["service"] * 1000})
    shop.lives(Timetable())
    midnight = datetime(2024, 9, 8, tzinfo=UTC)
    assert shop.made_at[on(7)[0]] - midnight < 60 * MINUTE


def test_a_machine_that_slept_for_a_week_catches_up_in_order() -> None:
    shop = Shop(dict.fromkeys(on(1, 2, 3, 4, 5), START), leaps=[timedelta(), 7 * DAY])
    shop.lives(Timetable())
    assert [day for _, day in shop.runs] == list(PartitionRange(date(2024, 9, 6), shop.looked_at.date() - DAY))


def test_a_day_made_by_a_clock_that_was_ahead_is_made_again_when_it_has_ended() -> None:
    shop = Shop(dict.fromkeys(on(1, 2, 3, 4, 5), START), leaps=[timedelta(), 2 * DAY, -2 * DAY])
    shop.lives(Timetable())
    ran = [day for _, day in shop.runs]
    assert ran[:4] == [*on(6, 7), *on(6, 7)]


def test_once_does_what_is_due_tries_again_and_ends() -> None:
    shop = Shop({FIRST: START}, {on(3)[0]: ["check", "check"]})
    assert shop.follow(Timetable(), once=True)
    assert [day for _, day in shop.runs] == [*on(2, 3, 4, 5), *on(3, 3)]


def test_once_says_when_something_is_still_not_done() -> None:
    shop = Shop({FIRST: START}, {on(3)[0]: ["check"] * 9})
    assert not shop.follow(Timetable(retries=1), once=True)
    assert "2024-09-03 failed: check; given up until the next day is due" in shop.said


def test_what_lies_further_back_is_named_in_one_line_and_not_run() -> None:
    shop = Shop()
    assert shop.follow(Timetable(catch_up=2), once=True)
    assert [day for _, day in shop.runs] == list(on(4, 5))
    assert shop.said[0] == "3 partitions are further back and not done: that is left to `rainbow backfill 2024-09-01 2024-09-03`"


def test_a_day_that_another_process_is_at_is_looked_at_again_after_a_pause() -> None:
    class Elsewhere(Shop):
        looks = 0

        def run(self, days: tuple[date, ...]) -> Iterator[Outcome]:
            self.looks += 1
            if self.looks == 3:
                self.made_at |= dict.fromkeys(days, self.now)
            yield from ()

    shop = Elsewhere(dict.fromkeys(on(1, 2, 3, 4), START))
    assert shop.follow(Timetable(), once=True)
    assert shop.now - START >= PAUSES[0] + PAUSES[1]


def test_a_ledger_that_does_not_answer_ends_nothing_but_once() -> None:
    class Silent(Shop):
        asked = 0

        def first(self) -> date | None:
            self.asked += 1
            if self.asked < 5:
                raise ServiceError("the ledger's database does not answer")
            return FIRST

    shop = Silent()
    shop.lives(Timetable())
    assert len(shop.made_at) == 8
    assert shop.said[:4] == ["the ledger's database does not answer; tried again in a minute"] * 4
    with pytest.raises(ServiceError):
        Silent().follow(Timetable(), once=True)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("RAINBOW_HOME", str(tmp_path))
    monkeypatch.delenv("RAINBOW_LEDGER_URL", raising=False)
    settings.cache_clear()
    yield Ledger()
    monkeypatch.undo()
    settings.cache_clear()


def test_all_of_a_day_that_was_made_by_a_clock_that_was_ahead_is_planned(ledger: Ledger) -> None:
    yesterday = datetime.now(UTC).date() - DAY
    run = ledger.begin(PartitionRange(yesterday, yesterday), "run")
    ledger.record(run, [Made("lake/orders", yesterday, "code", "data")])
    ledger.end(run)
    for offset, kinds in ((timedelta(), {"missing", "stale"}), (-DAY, {"forced"})):
        work = LedgerWork(clock=lambda offset=offset: datetime.now(UTC) + offset, pause=lambda _: None, say=print)
        planned = work.plan((yesterday,)).of(yesterday)
        assert len(planned) == len(assets())
        assert {one.kind for one in planned} == kinds


def test_the_plan_is_of_the_days_that_are_due_and_of_the_reports_that_show_them(ledger: Ledger) -> None:
    first = datetime.now(UTC).date() - 5 * DAY
    run = ledger.begin(PartitionRange(first, first), "run")
    ledger.record(run, [Made(REPORT, first + n * DAY, "code", "data") for n in range(5)])
    ledger.end(run)
    work = LedgerWork(clock=lambda: datetime.now(UTC), pause=lambda _: None, say=print)
    planned = work.plan((first, first + 2 * DAY))
    assert planned.days == [first + n * DAY for n in (0, 2, 3, 4)]
    assert planned.steps(first + 3 * DAY) == ("report",)


def test_a_ledger_begins_with_what_was_made_or_else_with_what_was_tried(ledger: Ledger) -> None:
    work = LedgerWork(clock=lambda: datetime.now(UTC), pause=lambda _: None, say=print)
    with work.alone():
        assert work.first() is None
        run = ledger.begin(PartitionRange(*on(1, 1)), "run")
        ledger.end(run, "no service")
        assert work.first() == FIRST
        ledger.record(run, [Made(REPORT, on(3)[0], "code", "data")])
        assert work.first() == on(3)[0]


def test_one_schedule_at_a_time(ledger: Ledger) -> None:
    one, other = (LedgerWork(clock=lambda: START, pause=lambda _: None, say=print) for _ in range(2))
    with one.alone() as alone, other.alone() as also:
        assert (alone, also) == (True, False)
        with pytest.raises(LockedError, match="another schedule is at work"):
            other.first()
    with other.alone() as alone:
        assert alone


@pytest.mark.parametrize("text", ["24:00", "2:3:4", "noon", "", "-1:00"])
def test_a_time_that_does_not_exist_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RainbowError, match="write it as HH:MM, for example 02:30"):
        parse_time(text)
