"""Marks: which transactions a watermark's snapshot sees, by the 32 bits of their ids that travel."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from rainbow.olap.serving import statement
from rainbow.olap.serving.mark import Mark

FIRST, LAST = date(2024, 9, 1), date(2024, 9, 7)
PUBLISHED = datetime(2024, 9, 8, 0, 4, 11, 500, tzinfo=UTC)

snapshots = st.builds(
    lambda xmin, running: Mark(
        FIRST, LAST, xmin, max([xmin, *(xmin + r + 1 for r in running)]), PUBLISHED, tuple(sorted(xmin + r for r in running))
    ),
    st.integers(3, 2**40),
    st.sets(st.integers(0, 1000), max_size=5),
)


@given(snapshots, st.integers(-(2**31) + 2000, 2**31 - 2000))
def test_a_snapshot_sees_what_it_would_see_by_whole_ids(mark: Mark, past: int) -> None:
    xid = mark.xmin + past
    assert mark.sees(xid % 2**32) == (xid < mark.xmin or (xid < mark.xmax and xid not in mark.running))


@given(snapshots, st.integers(-(2**31) + 2000, 2**31 - 2000))
def test_it_sees_all_before_a_transaction_that_it_sees_each_of(mark: Mark, past: int) -> None:
    end = mark.xmax + past
    seen = end <= mark.xmax and all(running >= end for running in mark.running)
    assert mark.sees_all_before(end % 2**32) == seen


@given(snapshots, st.integers(-(2**31) + 2000, 2**31 - 2000))
def test_what_it_does_not_see_lies_in_the_range_that_the_indexes_are_asked_for(mark: Mark, past: int) -> None:
    xid = (mark.xmin + past) % 2**32
    if not mark.sees(xid):
        assert mark.low <= xid <= mark.high or xid < mark.wrapped


def test_a_watermark_as_json_gives_its_mark() -> None:
    watermark = {
        "first_partition": "2024-09-01",
        "watermark_date": "2024-09-07",
        "snapshot": "10:14:10,12",
        "published_at": "2024-09-08T02:04:11.0005+02:00",
        "changed_days": ["2024-09-02"],
    }
    assert Mark.of(watermark) == Mark(FIRST, LAST, 10, 14, PUBLISHED, (10, 12), (date(2024, 9, 2),))
    assert Mark.of(watermark).published == "toDateTime64('2024-09-08 00:04:11.000500', 6, 'UTC')"
    assert Mark.of({**watermark, "changed_days": None}).changed_days is None
    assert Mark.of({**watermark, "watermark_date": None}).last == date(2024, 8, 31)


def test_a_statement_does_not_change_between_two_calls() -> None:
    mark = Mark(FIRST, LAST, 10, 14, PUBLISHED, (10, 12))
    assert statement("top_sellers", "unified", mark) == statement("top_sellers", "unified", mark)
    assert "batch." not in statement("top_sellers", "mirror")
