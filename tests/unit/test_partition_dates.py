"""Partition dates: a day that exists and has begun, and ranges that run forward."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from rainbow.errors import PartitionError
from rainbow.lake.manifest import Manifest
from rainbow.partitions.dates import PartitionRange, parse_partition, today


@pytest.mark.parametrize("text", ["2024-02-30", "2023-02-29", "2024-13-01", "2024-1-", "yesterday", "", "20240901", "2024-09-01T00:00"])
def test_a_day_that_does_not_exist_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PartitionError, match=r"write it as YYYY-MM-DD, for example \d{4}-\d\d-\d\d") as error:
        parse_partition(text)
    assert repr(text) in str(error.value)


def test_a_future_day_is_refused_and_today_is_not() -> None:
    assert parse_partition(str(today())) == today()
    with pytest.raises(PartitionError, match="lies in the future"):
        parse_partition(str(today() + timedelta(days=1)))


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(PartitionError, match="ends before it starts"):
        PartitionRange.parse("2024-09-02", "2024-09-01")


def test_a_range_has_both_its_ends_and_the_instants_around_them() -> None:
    found = PartitionRange.parse("2024-02-28", "2024-03-01")
    assert list(found) == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    assert (len(found), str(found)) == (3, "2024-02-28 .. 2024-03-01")
    assert date(2024, 2, 29) in found
    assert date(2024, 3, 2) not in found
    assert (found.begin, found.end) == (datetime(2024, 2, 28, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC))


def test_an_extract_before_the_end_of_its_last_day_is_partial() -> None:
    day = date(2024, 9, 1)
    noon, midnight = datetime(2024, 9, 1, 12, tzinfo=UTC), datetime(2024, 9, 2, tzinfo=UTC)
    assert Manifest("r", day, day, noon, "1:1:", 1, 1, True).partial
    assert not Manifest("r", day, day, midnight, "1:1:", 1, 1, True).partial
