"""Partition dates: reading them, ranges of them, and the instants at which a day begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from rainbow.errors import PartitionError


def today() -> date:
    """The UTC day of now."""
    return datetime.now(UTC).date()


def start_of(day: date) -> datetime:
    """The first instant of a partition, UTC; its end is the start of the next day, exclusive."""
    return datetime.combine(day, time.min, UTC)


def start_of_next(day: date) -> datetime:
    """The end of a partition, exclusive: the first instant of the next."""
    return start_of(day + timedelta(days=1))


def parse_partition(text: str | date) -> date:
    """Read a partition date, ``YYYY-MM-DD``. Raises PartitionError when there is no such day or it has not begun."""
    if isinstance(text, date):
        day = text
    else:
        try:
            day = datetime.strptime(text, "%Y-%m-%d").date()
        except ValueError:
            raise PartitionError(
                f"partition {text!r} is not a day: write it as YYYY-MM-DD, for example {today() - timedelta(days=1)}"
            ) from None
    if day > today():
        raise PartitionError(
            f"partition {day} lies in the future: today is {today()} (UTC), the last whole partition is {today() - timedelta(days=1)}"
        )
    return day


@dataclass(frozen=True)
class PartitionRange:
    """Partitions from ``first`` to ``last``, both included."""

    first: date
    last: date

    @classmethod
    def parse(cls, first: str | date, last: str | date | None = None) -> PartitionRange:
        """Read a range, a single partition when ``last`` is None. Raises PartitionError for a bad day or an end before the start."""
        begin = parse_partition(first)
        end = begin if last is None else parse_partition(last)
        if end < begin:
            raise PartitionError(f"the range ends before it starts: {begin} .. {end}; write the earlier day first")
        return cls(begin, end)

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(days=n) for n in range(len(self)))

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} .. {self.last}"

    @property
    def begin(self) -> datetime:
        """First instant, inclusive."""
        return start_of(self.first)

    @property
    def end(self) -> datetime:
        """First instant after the range."""
        return start_of_next(self.last)
