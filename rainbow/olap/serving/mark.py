"""A batch view's watermark as the unified view's SQL needs it, and whether a batch view can be used beside a mirror at all.

Snapshots know transactions by 64 bits, changes carry the lower 32, which wrap. So an id is placed by how far it is past the snapshot's
xmin: up to half the ring counts as past it, the other half as before. Ids older than that look new, which costs time and is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

_RING = 1 << 32
_HALF = _RING >> 1


@dataclass(frozen=True)
class Mark:
    """What a published table says of itself: its days, the snapshot it was extracted at, and the days of its rows that changed since.

    ``changed_days`` are days on which the batch has rows that were changed or deleted after the end of its last day and before it was
    published, which the mirror need not know of; None: nobody could say. ``published_at``, by ClickHouse's clock: what the mirror noted
    before that was known when the tables beside the view were made.
    """

    first: date
    last: date
    xmin: int
    xmax: int
    published_at: datetime
    running: tuple[int, ...] = ()
    changed_days: tuple[date, ...] | None = ()

    @classmethod
    def of(cls, watermark: dict[str, Any]) -> Mark:
        """The mark of a table with this watermark (``rainbow.olap.publish.Watermark`` as JSON)."""
        first = date.fromisoformat(watermark["first_partition"])
        last = date.fromisoformat(watermark["watermark_date"]) if watermark["watermark_date"] else first - timedelta(days=1)
        xmin, xmax, running = watermark["snapshot"].split(":")
        days = watermark.get("changed_days", [])
        return cls(
            first,
            last,
            int(xmin),
            int(xmax),
            datetime.fromisoformat(watermark["published_at"]),
            tuple(int(xid) for xid in running.split(",") if xid),
            None if days is None else tuple(map(date.fromisoformat, days)),
        )

    def sees(self, xid: int) -> bool:
        """Whether the snapshot sees the transaction with these lower 32 bits."""
        past = self._past(xid, self.xmin)
        return past < 0 or (past < self.xmax - self.xmin and self.xmin + past not in self.running)

    def sees_all_before(self, xid: int) -> bool:
        """Whether the snapshot sees whatever a snapshot with this xmax may have seen."""
        end = self.xmax + self._past(xid, self.xmax)
        return end <= self.xmax and not any(running < end for running in self.running)

    @staticmethod
    def _past(xid: int, mark: int) -> int:
        return (xid - mark + _HALF) % _RING - _HALF

    @property
    def low(self) -> int:
        """The lower bits of xmin; what the snapshot may not see lies in ``low .. high``, or before ``wrapped``."""
        return self.xmin % _RING

    @property
    def high(self) -> int:
        """See ``low``."""
        return min(self.low + _HALF - 1, _RING - 1)

    @property
    def wrapped(self) -> int:
        """See ``low``."""
        return max(self.low - _HALF, 0)

    @property
    def width(self) -> int:
        """How far the snapshot's xmax is past its xmin."""
        return self.xmax - self.xmin

    @property
    def running_past(self) -> list[int]:
        """How far the transactions that were under way are past xmin."""
        return [xid - self.xmin for xid in self.running]

    @property
    def first_day(self) -> str:
        """The first day, in SQL."""
        return _day(self.first)

    @property
    def last_day(self) -> str:
        """The last day, in SQL."""
        return _day(self.last)

    @property
    def begins_at(self) -> str:
        """When the first day begins, in SQL."""
        return _moment(self.first)

    @property
    def ends_at(self) -> str:
        """When the last day ends, in SQL."""
        return _moment(self.last + timedelta(days=1))

    @property
    def published(self) -> str:
        """``published_at``, in SQL."""
        return f"toDateTime64('{self.published_at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}', 6, 'UTC')"

    @property
    def changed(self) -> list[str]:
        """``changed_days``, in SQL."""
        return [_day(day) for day in self.changed_days or ()]


def _day(day: date) -> str:
    return f"toDate32('{day}')"


def _moment(day: date) -> str:
    return f"toDateTime64('{day} 00:00:00', 6, 'UTC')"
