"""The watermark's days: the unbroken row of whole partitions that holds the first one ever run."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from rainbow.olap.publish import unbroken

DAY = date(2024, 9, 1)


def day(number: int) -> date:
    return DAY + timedelta(days=number)


@pytest.mark.parametrize(
    ("runs", "first", "last"),
    [
        ([(0, 0)], 0, 0),
        ([(0, 0), (1, 1), (2, 2)], 0, 2),
        ([(0, 4)], 0, 4),
        ([(0, 0), (2, 2)], 0, 0),
        ([(0, 0), (2, 2), (1, 1)], 0, 2),
        ([(5, 5), (3, 4)], 3, 5),
        ([(5, 5), (0, 2)], 5, 5),
        ([(5, 5), (0, 2), (3, 4)], 0, 5),
        ([(0, 3), (1, 2), (3, 6)], 0, 6),
        ([(0, 0), (1, 0)], 0, 0),
        ([(0, -1)], 0, None),
        ([(0, -1), (0, 0)], 0, 0),
        ([(3, 2), (0, 2)], 3, None),
        ([(0, 2), (3, 2)], 0, 2),
    ],
)
def test_the_days_are_those_around_the_first_one_run_without_a_gap(runs: list[tuple[int, int]], first: int, last: int | None) -> None:
    """A range that ends before it begins is a partition of today alone, which is not whole yet."""
    found = unbroken([(day(begin), day(end)) for begin, end in runs])
    assert found == (day(first), None if last is None else day(last))
