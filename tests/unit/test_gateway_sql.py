"""How a statement is cut: `rainbow.stack.gateway.sql`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.stack.gateway.sql import Insert, format_in, insert_in, writes_outfile


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"INSERT INTO t VALUES (1)", ("INSERT INTO t ", "Values", b" (1)")),
        (b"insert into t (a, `format`) format CSV\n1,2\n", ("insert into t (a, `format`) ", "CSV", b"1,2\n")),
        (b"insert into t format Native \r\n\x00\xff", ("insert into t ", "Native", b"\x00\xff")),
        (b"insert into t format CSV \t1", ("insert into t ", "CSV", b"1")),
        (b"insert into t settings x = 'values' format TSV\n", ("insert into t settings x = 'values' ", "TSV", b"")),
        (
            b"-- insert\n/* format CSV */ insert into `values` values(1)",
            ("-- insert\n/* format CSV */ insert into `values` ", "Values", b"(1)"),
        ),
        (b"insert into function null('a Int64') format RowBinary\n\n", ("insert into function null('a Int64') ", "RowBinary", b"\n")),
        (b"insert into t (a)", ("insert into t (a)", "Values", b"")),
    ],
)
def test_an_insert_is_cut_where_its_data_begin(text: bytes, expected: tuple[str, str, bytes]) -> None:
    insert = insert_in(text)
    assert insert is not None
    assert (insert.statement, insert.format, text[insert.data_from :]) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"select 'insert into t values'",
        b"insert into t select * from u format CSV",
        b"insert into t with x as (select 1) select * from x",
        b"insert into t from infile 'x' format CSV",
        b"explain insert into t values (1)",
        b"/* insert into t values */ select 1",
    ],
)
def test_what_is_not_an_insert_with_data_is_left_alone(text: bytes) -> None:
    assert insert_in(text) is None


@given(st.binary(max_size=200))
def test_data_pass_uncut_whatever_they_are(data: bytes) -> None:
    head = b"insert into t format Native\n"
    assert insert_in(head + data) == Insert("insert into t ", "Native", len(head))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"select 1", None),
        (b"select 1 format JSON", "JSON"),
        (b"select 'format CSV' as format from (select 1 format TSV) Format Native settings max_threads = 1", "Native"),
        (b"select format('{}', 1)", None),
        (b"select 1 -- format CSV", None),
    ],
)
def test_the_format_is_the_clause_and_no_other_word(text: bytes, name: str | None) -> None:
    assert format_in(text) == name


def test_into_outfile_is_seen_only_where_it_is_a_clause() -> None:
    assert writes_outfile(b"select 1 into /* here */ OUTFILE 'x'")
    assert not writes_outfile(b"select 'into outfile'")
    assert not writes_outfile(b"select 1 as outfile")
