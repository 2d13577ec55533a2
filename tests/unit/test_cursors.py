"""The listing's cursor: there and back, and nothing else taken for one."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import LONGEST, decoded, encoded
from api.models import Position

MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(MOMENTS, st.integers(0, 2**63 - 1))
def test_a_position_comes_back(at: datetime, id_: int) -> None:
    cursor = encoded(Position(at, id_))
    assert decoded(cursor) == Position(at, id_)
    assert len(cursor) <= LONGEST


@given(st.text(max_size=30))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert encoded(decoded(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AQ",
        "=" * 23,
        "AgAAAAAAAAAAAAAAAAAAAAE",
        "AX__________AAAAAAAAAAE",
        encoded(Position(datetime(2024, 9, 1, tzinfo=UTC), 1)) + "A",
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decoded(text)
