"""A batch notes the offsets that were passed over, and the position of the change behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streaming.mirror.batch import Batch
from tests.integration.change_events import event, row, tombstone

TOPIC = "rainbow.public.brands"
HERE = (TOPIC, 0)


@dataclass(frozen=True)
class Told:
    """A message of an event written by hand."""

    at: int
    of: tuple[Any, ...]

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.of[1]

    def value(self) -> bytes | None:
        return self.of[2]

    def headers(self) -> list[tuple[str, bytes]] | None:
        return None


def change(offset: int, lsn: int = 100) -> Told:
    return Told(offset, event("brands", "c", lsn, after=row("brands", 1)))


def gaps(batch: Batch, *told: Told) -> list[tuple[int | None, int, int | None]]:
    batch.add(told)
    return [(gap.first, gap.end, gap.lsn) for gap in batch.gaps]


def test_offsets_that_follow_one_another_are_no_gap_nor_is_what_is_read_again() -> None:
    assert gaps(Batch({HERE: 7}), change(7), change(8), change(9)) == []
    assert gaps(Batch({HERE: 7}), change(5), change(6)) == []


def test_what_is_missing_before_the_first_message_and_between_two_is_a_gap() -> None:
    assert gaps(Batch({HERE: 7}), change(9, 100), change(10, 101), change(15, 102)) == [(7, 9, 100), (11, 15, 102)]


def test_of_a_partition_that_was_just_assigned_the_groups_own_offset_has_to_tell() -> None:
    assert gaps(Batch(), change(1000), change(1001)) == [(None, 1000, 100)]


def test_the_change_behind_a_gap_may_come_after_a_tombstone() -> None:
    batch = Batch({HERE: 0})
    assert gaps(batch, Told(3, tombstone("brands", {"id": 1}))) == [(0, 3, None)]
    assert gaps(batch, change(4, 200)) == [(0, 3, 200)]


def test_a_snapshot_that_begins_behind_a_gap_makes_up_for_it() -> None:
    begins = Told(4, event("brands", "t", 300, snapshot="first"))
    assert gaps(Batch({HERE: 0}), begins, change(5, 300)) == []


def test_of_a_partition_that_is_given_up_nothing_stays_beside_what_is_read_again() -> None:
    batch = Batch({HERE: 7})
    batch.add([change(7, 100), change(9, 101), Told(10, (TOPIC, b"{}", b"no JSON", None))])
    batch.give_up({HERE})
    assert (batch.changes[TOPIC], batch.rejected, batch.ends, batch.gaps) == ([], [], {}, [])
    batch.add([change(7, 100), change(8, 101)])
    assert [one.lsn for one in batch.changes[TOPIC]] == [100, 101]
    assert batch.ends == {HERE: 9}
    batch.give_up({("rainbow.public.brands", 1)})
    assert len(batch.changes[TOPIC]) == 2


def test_where_a_partition_steps_back_what_comes_again_takes_the_place_of_what_was_read() -> None:
    batch = Batch({HERE: 7})
    batch.add([change(7, 100), change(8, 101), change(9, 102), change(8, 101), change(9, 102), change(10, 103)])
    assert [one.message.offset() for one in batch.changes[TOPIC]] == [7, 8, 9, 10]
    assert (batch.ends, batch.gaps) == ({HERE: 11}, [])
