"""What a snapshot does not see, as the views' SQL tells it by 32 bits of a transaction id, is what `Mark.sees` says, wherever the ring wraps."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
from hypothesis import example, given
from hypothesis import settings as laws
from hypothesis import strategies as st

from rainbow.olap.client import connect
from rainbow.olap.serving import FOLDER
from rainbow.olap.serving.mark import Mark
from rainbow.settings import Settings
from tests.unit.test_serving_mark import FIRST, LAST, PUBLISHED, snapshots

pytestmark = pytest.mark.services

RING, HALF, QUARTER = 2**32, 2**31, 2**30
# how far past its xmin: near it, where its running transactions end, and near the far side of the ring
distances = st.one_of(st.integers(-1500, 1500), st.integers(-HALF + 2000, HALF - 2000))


@pytest.fixture(scope="module")
def clickhouse(stack: Settings) -> Any:
    client = connect()
    yield client
    client.close()


def rendered(template: str, mark: Mark) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), undefined=jinja2.StrictUndefined, autoescape=False)
    return environment.from_string("{% import 'pieces.sql.jinja' as p with context %}" + template).render(mark=mark)


def mark_at(xmin: int, *running: int) -> Mark:
    return Mark(FIRST, LAST, xmin, max([xmin, *(one + 1 for one in running)]), PUBLISHED, running)


@laws(max_examples=30)
@given(snapshots, st.lists(distances, min_size=1, max_size=40))
@example(mark_at(RING - 3, RING - 3, RING + 4), [-2, 0, 1, 2, 3, 4, 7, 8])
@example(mark_at(RING + 2), [-6, -3, -2, -1, 0, 1])
@example(mark_at(HALF, HALF), [-1, 0, 1, HALF - 2000, -HALF + 2000])
def test_a_view_does_not_see_what_the_snapshot_does_not(clickhouse: Any, mark: Mark, past: list[int]) -> None:
    xids = [(mark.xmin + one) % RING for one in past]
    condition = rendered("{{ p.is_unseen('xid', '0') }}", mark)
    asked = f"select xid, {condition} from (select arrayJoin({xids})::UInt32 as xid)"
    told = dict(clickhouse.query(asked).result_rows)
    assert told == {xid: not mark.sees(xid) for xid in xids}


@laws(max_examples=30)
@given(snapshots, st.lists(st.one_of(st.integers(-1500, 1500), st.integers(-HALF + 2000, QUARTER)), min_size=1, max_size=40))
@example(mark_at(RING - 3), [-2, -1, 5])
@example(mark_at(QUARTER - 3), [-QUARTER, 0, 2, 3])
@example(mark_at(5), [-10, -1])
def test_a_quarter_in_which_it_does_not_see_one_is_told_by_its_newest(clickhouse: Any, mark: Mark, past: list[int]) -> None:
    xids = [(mark.xmin + one) % RING for one in past]
    condition = rendered("{{ p.has_unseen('max(xid)') }}", mark)
    asked = f"select bitShiftRight(xid, 30) as quarter, {condition} from (select arrayJoin({xids})::UInt32 as xid) group by quarter"
    told = {quarter for quarter, has in clickhouse.query(asked).result_rows if has}
    assert told >= {xid // QUARTER for xid in xids if not mark.sees(xid)}
    if min(past) > -QUARTER and max(past) < 0:
        assert not told
