"""pgoutput's messages, made by hand from the protocol's page, as values; and the quick way says what the long way says."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.errors import DataError
from streaming.capture import patterns, pgoutput
from streaming.capture.changes import Table, Transaction
from streaming.capture.pgoutput import UNCHANGED, Value
from streaming.events import Field, Shape, Source, template

BIGINT, TEXT, NUMERIC, MOMENT, DATE, BOOLEAN, DOUBLE, UUID = 20, 25, 1700, 1184, 1082, 16, 701, 2950


def string(text: str) -> bytes:
    return text.encode() + b"\0"


def row(values: Sequence[Value]) -> bytes:
    def value(text: Value) -> bytes:
        if text is None:
            return b"n"
        return b"u" if text is UNCHANGED else b"t" + struct.pack(">I", len(text)) + text

    return struct.pack(">H", len(values)) + b"".join(map(value, values))


def test_begin_tells_when_it_was_committed_and_its_transaction() -> None:
    message = b"B" + struct.pack(">QqI", 0x1C56A08, 778_507_828_820_099, 4_294_967_290)
    assert pgoutput.begin(message) == pgoutput.Begin(1_725_192_628_820, 4_294_967_290)


def test_commit_tells_the_position_behind_the_transaction() -> None:
    assert pgoutput.commit(b"C" + struct.pack(">BQQq", 0, 100, 148, 0)) == 148


def test_a_relation_has_columns_and_an_identity() -> None:
    message = b"R" + struct.pack(">I", 16_400) + string("public") + string("brands") + b"d" + struct.pack(">H", 2)
    message += b"\x01" + string("id") + struct.pack(">Ii", BIGINT, -1) + b"\x00" + string("tên") + struct.pack(">Ii", TEXT, -1)
    columns = (pgoutput.Column("id", BIGINT, True), pgoutput.Column("tên", TEXT, False))
    assert pgoutput.relation(message) == pgoutput.Relation(16_400, "public", "brands", "d", columns)


def test_a_truncate_names_each_relation() -> None:
    assert pgoutput.truncated(b"T" + struct.pack(">IBII", 2, 1, 7, 9)) == (7, 9)


def test_an_insert_has_a_new_row() -> None:
    message = b"I" + struct.pack(">I", 7) + b"N" + row([b"1", None, b"", UNCHANGED])
    assert pgoutput.change(message) == pgoutput.Change("I", 7, "", (), (b"1", None, b"", UNCHANGED))


@pytest.mark.parametrize("kind", ["K", "O"])
def test_an_update_has_the_old_row_or_key_where_there_is_one(kind: str) -> None:
    message = b"U" + struct.pack(">I", 7) + kind.encode() + row([b"1", None]) + b"N" + row([b"2", b"x"])
    assert pgoutput.change(message) == pgoutput.Change("U", 7, kind, (b"1", None), (b"2", b"x"))


def test_an_update_may_have_no_old_row() -> None:
    assert pgoutput.change(b"U" + struct.pack(">I", 7) + b"N" + row([b"2"])) == pgoutput.Change("U", 7, "", (), (b"2",))


def test_a_delete_has_no_new_row() -> None:
    assert pgoutput.change(b"D" + struct.pack(">I", 7) + b"O" + row([b"2"])) == pgoutput.Change("D", 7, "O", (b"2",), ())


def test_a_value_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(DataError, match="kind that is not known"):
        pgoutput.change(b"I" + struct.pack(">I", 7) + b"N" + struct.pack(">H", 1) + b"b" + struct.pack(">I", 1) + b"x")


FIELDS = tuple(
    Field(name, type_)
    for name, type_ in {
        "id": BIGINT,
        'a "name" of 100%': TEXT,
        "price": NUMERIC,
        "at": MOMENT,
        "day": DATE,
        "live": BOOLEAN,
        "rate": DOUBLE,
        "note": TEXT,
        "token": UUID,
    }.items()
)
SHAPE = Shape("public", "things", FIELDS, (0,))

# what PostgreSQL prints, with the signs that could mislead a pattern: the letters of the protocol, quotes, lengths over one byte
TEXTS = st.text(
    st.one_of(st.sampled_from('tnuNOK"\\\t\n%é'), st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=300
)
VALUES = {
    BIGINT: st.integers(-(2**63), 2**63 - 1).map(str),
    TEXT: TEXTS,
    NUMERIC: st.one_of(st.decimals(allow_nan=False, allow_infinity=False).map(lambda d: f"{d:f}"), st.sampled_from(["NaN", "Infinity"])),
    MOMENT: st.sampled_from(
        [
            "2024-09-01 00:00:00+00",
            "2024-09-01 00:00:00.1234+00",
            "infinity",
            "-infinity",
            "0044-03-15 12:00:00+00 BC",
            "12024-01-01 00:00:00+00",
        ]
    ),
    DATE: st.sampled_from(["1970-01-01", "2024-02-29", "infinity", "-infinity", "0001-12-31 BC", "12024-01-01"]),
    BOOLEAN: st.sampled_from("tf"),
    DOUBLE: st.sampled_from(["1", "-0", "0.1", "1e+20", "1.5e-07", "NaN", "-Infinity"]),
    UUID: st.uuids().map(str),
}
ROWS = st.tuples(*(st.one_of(st.none(), VALUES[field.type].map(str.encode)) for field in FIELDS))


def quick(pattern: patterns.Pattern, message: bytes, parts: int) -> bytes | None:
    groups = pattern.groups(message, 0)
    return None if groups is None else patterns.with_nulls(b"|".join([template(FIELDS)] * parts) % groups)


def long(texts: Sequence[bytes | None]) -> bytes:
    return SHAPE.row(SHAPE.write(texts))


@given(ROWS)
def test_what_the_quick_way_takes_it_writes_as_the_long_way_does(texts: tuple[bytes | None, ...]) -> None:
    taken = quick(patterns.of_message((b"N", FIELDS)), b"N" + row(texts), 1)
    assert taken in (None, long(texts))
    assert len(orjson.loads(long(texts))) == len(FIELDS)


@given(ROWS, ROWS)
def test_so_it_does_with_an_old_row_before_the_new_one(old: tuple[bytes | None, ...], new: tuple[bytes | None, ...]) -> None:
    taken = quick(patterns.of_message((b"O", FIELDS), (b"N", FIELDS)), b"O" + row(old) + b"N" + row(new), 2)
    assert taken in (None, long(old) + b"|" + long(new))


def copied(text: bytes | None) -> bytes:
    """As COPY writes it."""
    if text is None:
        return rb"\N"
    for sign, escape in (
        (b"\\", rb"\\"),
        (b"\t", rb"\t"),
        (b"\n", rb"\n"),
        (b"\r", rb"\r"),
        (b"\b", rb"\b"),
        (b"\f", rb"\f"),
        (b"\v", rb"\v"),
    ):
        text = text.replace(sign, escape)
    return text


@given(ROWS)
def test_so_it_does_with_a_line_of_copy(texts: tuple[bytes | None, ...]) -> None:
    line = b"\t".join(map(copied, texts)) + b"\n"
    assert tuple(patterns.split_line(line)) == texts
    assert quick(patterns.of_line(FIELDS), line, 1) in (None, long(texts))


PLAIN = (b"1", b"tntn nt", b"12.3400", b"2024-09-01 00:00:00.5+00", b"2024-09-01", b"t", b"0.5", None, b"")


def test_plain_values_go_the_quick_way() -> None:
    assert quick(patterns.of_message((b"N", FIELDS)), b"N" + row(PLAIN), 1) == long(PLAIN)
    assert quick(patterns.of_line(FIELDS), b"\t".join(map(copied, PLAIN)) + b"\n", 1) == long(PLAIN)


@pytest.mark.parametrize(
    ("column", "value"), [(1, b'"'), (1, b"\\"), (1, b"\n"), (1, b"x" * 256), (2, b"NaN"), (3, b"infinity"), (7, UNCHANGED)]
)
def test_others_go_the_long_way(column: int, value: Value) -> None:
    values = (*PLAIN[:column], value, *PLAIN[column + 1 :])
    assert patterns.of_message((b"N", FIELDS)).groups(b"N" + row(values), 0) is None


def test_a_row_of_many_texts_that_is_not_plain_is_not_tried_in_all_ways() -> None:
    fields = (Field("id", BIGINT), *(Field(f"text_{n}", TEXT) for n in range(60)))
    sent: list[bytes] = []
    outbox: Any = SimpleNamespace(produce=lambda _topic, value, _key: sent.append(value))
    table = Table(Shape("public", "people", fields, (0,)), "d", Source("shop", "public", "people"), Transaction(), outbox, 1, lambda: None)
    texts: list[Value] = [b"1", *[b"Ann", None] * 29, b"Ann", b'"An"']
    table.insert(b"w" + bytes(24) + b"I" + struct.pack(">I", 7) + b"N" + row(texts), 100)
    (value,) = sent
    assert list(orjson.loads(value)["after"].values()) == [1, *["Ann", None] * 29, "Ann", '"An"']
