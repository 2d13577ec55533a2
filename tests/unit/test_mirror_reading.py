"""Reading events and converting their values: whatever JSON brings, it is a change, nothing, or a reason; what is converted is exact."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streaming.mirror.applying import prepare
from streaming.mirror.columns import FAULTS, convert, faults, infer, widened
from streaming.mirror.envelopes import Change, Truncation, UnusableError, read, read_whole
from streaming.mirror.tables import MirrorTable

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
sources = anything | st.fixed_dictionaries(
    {},
    optional={
        "lsn": anything | st.integers(0, 2**64 - 1),
        "ts_ms": anything | st.integers(0, 2**42),
        "txId": anything,
        "snapshot": anything,
    },
)
envelopes = anything | st.fixed_dictionaries(
    {},
    optional={
        "op": anything | st.sampled_from("curdtm"),
        "source": sources,
        "before": anything,
        "after": anything,
        "payload": anything,
    },
)


class Told:
    """A message."""

    def __init__(self, value: bytes | None, key: bytes | None = b'{"id":1}') -> None:
        self._value, self._key = value, key

    def topic(self) -> str:
        return "rainbow.public.brands"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes]] | None:
        return None


@given(
    st.binary(max_size=20) | envelopes.map(lambda event: orjson.dumps(event) if event not in (None,) else b"null"), st.none() | st.binary()
)
def test_every_message_is_a_change_or_has_a_reason(value: bytes, key: bytes | None) -> None:
    try:
        change = read(Told(value, key))
    except UnusableError:
        return
    assert isinstance(change, Change | Truncation)
    assert 0 <= change.lsn < 2**64
    assert isinstance(change.snapshot, str)


written = st.fixed_dictionaries(
    {
        "op": st.sampled_from("cur"),
        "source": st.fixed_dictionaries(
            {"lsn": st.integers(-1, 2**65), "ts_ms": st.integers(-1, 2**44)},
            optional={
                "txId": st.integers(-(2**33), 2**63) | anything,
                "snapshot": st.sampled_from(("true", "false", "last", "incremental")) | anything,
            },
        ),
        "after": st.dictionaries(st.text(max_size=3), anything, max_size=3) | anything,
    },
    optional={"before": anything, "payload": anything, "ts_ms": anything},
)


@given(written | envelopes)
def test_the_short_way_of_reading_says_what_the_long_one_does(event: Any) -> None:
    message = Told(json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    found: list[Any] = []
    for way in (read, lambda told: read_whole(told, told.value())):
        try:
            found.append(way(message))
        except UnusableError as reason:
            found.append(str(reason))
    assert found[0] == found[1]


def test_a_tombstone_is_nothing() -> None:
    assert read(Told(None)) is None


@example([Decimal("9.339962524089358339436862678E-36")])
@given(st.lists(st.decimals(allow_nan=True, allow_infinity=True) | st.decimals(-9999, 9999, places=4)))
def test_decimals_are_exact_or_at_fault(values: list[Decimal]) -> None:
    texts = [str(value) for value in values]
    bad = faults(texts, "Decimal(18, 4)")
    good = [text for n, text in enumerate(texts) if n not in bad]
    assert [Decimal(value) for value in convert(good, "Decimal(18, 4)").to_pylist()] == [Decimal(text) for text in good]
    for n in bad:
        value = values[n]
        assert not value.is_finite() or abs(value) >= 10**14 or value != round(value, 4)


@given(st.lists(anything))
def test_an_inferred_type_holds_what_it_was_inferred_from(values: list[Any]) -> None:
    base = infer(values)
    if base is not None:
        assert len(convert(values, base)) == len(values)
        assert convert(values, base).null_count == values.count(None)


@given(st.lists(anything, min_size=1), st.sampled_from(("Int64", "Bool", "Float64")))
def test_a_widened_type_holds_what_the_column_did_not(values: list[Any], base: str) -> None:
    try:
        convert(values, base)
    except FAULTS:
        assert len(convert(values, widened(base, values))) == len(values)


@pytest.mark.parametrize(
    ("value", "base"), [(1.5, "Int64"), (True, "Int64"), (2**64, "Int64"), (True, "Float64"), (1, "Bool"), ("1", "Int64")]
)
def test_arrow_is_not_let_to_guess(value: Any, base: str) -> None:
    assert faults([None, value, None], base).keys() == {1}


def test_of_a_topic_whose_messages_were_given_up_nothing_is_made_ready() -> None:
    assert prepare(MirrorTable("brands", ("id",), {"id": "Int64", "name": "String"}), []) is None
