"""The envelope: PostgreSQL's texts in Debezium's form, to the byte."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming import events
from streaming.events import BOOLEAN, DATE, FLOAT, INTEGER, MOMENT, NUMERIC, TEXT, Field, Kind, Shape, Source, envelope, envelope_template

SHAPE = Shape("public", "brands", (Field("id", 20), Field("name", 25)), (0,))


@pytest.mark.parametrize(
    ("kind", "text", "written"),
    [
        (INTEGER, "9223372036854775807", "9223372036854775807"),
        (NUMERIC, "12.3400", '"12.3400"'),
        (NUMERIC, "123456789012345678901234567890123456789012.5", '"123456789012345678901234567890123456789012.5"'),
        (NUMERIC, "NaN", '"NaN"'),
        (NUMERIC, "-Infinity", '"-Infinity"'),
        (FLOAT, "1e+20", "1e+20"),
        (FLOAT, "NaN", '"NaN"'),
        (BOOLEAN, "t", "true"),
        (BOOLEAN, "f", "false"),
        (TEXT, 'Tủ "gỗ"\\\n\x01', '"Tủ \\"gỗ\\"\\\\\\n\\u0001"'),
        (TEXT, "", '""'),
        (MOMENT, "2024-09-01 00:00:00+00", '"2024-09-01T00:00:00Z"'),
        (MOMENT, "2024-09-01 00:00:00.12345+00", '"2024-09-01T00:00:00.12345Z"'),
        (MOMENT, "infinity", '"infinity"'),
        (MOMENT, "-infinity", '"-infinity"'),
        (MOMENT, "12024-09-01 00:00:00+00", '"+12024-09-01T00:00:00Z"'),
        (MOMENT, "0001-09-01 00:00:00+00 BC", '"0000-09-01T00:00:00Z"'),
        (MOMENT, "0044-03-15 00:00:00+00 BC", '"-0043-03-15T00:00:00Z"'),
        (DATE, "1970-01-01", "0"),
        (DATE, "1969-12-31", "-1"),
        (DATE, "infinity", "2147483647"),
        (DATE, "-infinity", "-2147483648"),
        (DATE, "0001-12-31 BC", "-719163"),
        (DATE, "10000-01-01", "2932897"),
    ],
)
def test_a_value_keeps_all_of_its_digits(kind: Kind, text: str, written: str) -> None:
    assert kind.write(text.encode()).decode() == written


@given(st.dates())
def test_a_date_is_its_days_since_1970(day: date) -> None:
    assert int(DATE.write(day.isoformat().encode())) == (day - date(1970, 1, 1)).days


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_is_read_back_as_it_was(moment: datetime) -> None:
    text = f"{moment.replace(tzinfo=None).isoformat(sep=' ')}+00"
    assert datetime.fromisoformat(orjson.loads(MOMENT.write(text.encode()))) - moment == timedelta(0)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_text_is_read_back_as_it_was(text: str) -> None:
    assert orjson.loads(TEXT.write(text.encode())) == text


def test_the_envelope_is_debezium_s() -> None:
    source = Source("shop", "public", "brands").opened(1_725_148_800_123, 777)
    written = SHAPE.write([b"1", b"Oak"])
    value = envelope(b"null", SHAPE.row(written), source, 29_859_520, b"c", 1_725_148_800_456)
    assert orjson.loads(value) == {
        "before": None,
        "after": {"id": 1, "name": "Oak"},
        "source": {
            "version": orjson.loads(value)["source"]["version"],
            "connector": "postgresql",
            "name": "rainbow",
            "ts_ms": 1_725_148_800_123,
            "snapshot": "false",
            "db": "shop",
            "schema": "public",
            "table": "brands",
            "txId": 777,
            "lsn": 29_859_520,
            "xmin": None,
        },
        "op": "c",
        "ts_ms": 1_725_148_800_456,
    }


def test_the_key_is_what_java_s_converter_writes() -> None:
    assert SHAPE.key_of(SHAPE.write([b"1", b"Oak"])) == b'{"id":1}'
    assert SHAPE.key_template % b"1" == b'{"id":1}'


def test_a_name_with_a_percent_sign_is_no_place() -> None:
    fields = (Field("100%", 20), Field("%b", 25))
    source = Source("50%d", "public", "%s").opened(1, 2)
    value = envelope_template(b"null", events.template(fields), source, b"r") % (b"1", b"x", 3, 4)
    assert orjson.loads(value)["after"] == {"100%": 1, "%b": "x"}
    assert orjson.loads(value)["source"]["table"] == "%s"


def test_what_kafka_does_not_allow_in_a_topic_s_name_becomes_an_underscore() -> None:
    assert events.topic_of("public", "orderdetails") == "rainbow.public.orderdetails"
    assert events.topic_of("public", "đơn hàng") == "rainbow.public.__n_h_ng"
