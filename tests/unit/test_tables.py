"""The declaration of the source's tables is something that a schema, a lake and a mirror can be derived from."""

from __future__ import annotations

import re

import pytest

from rainbow.source.tables import BY_NAME, TABLES, Table

TYPES = re.compile(r"bigint|integer|text|timestamptz|numeric\(\d+,\d+\)")


def test_a_table_stands_after_every_table_it_references() -> None:
    for place, table in enumerate(TABLES):
        assert set(table.references) <= {earlier.name for earlier in TABLES[:place]}, table.name


def test_names_are_there_once() -> None:
    assert len(BY_NAME) == len(TABLES)
    for table in TABLES:
        assert len(set(table.column_names)) == len(table.columns), table.name


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_a_table_begins_with_its_key_and_ends_with_its_two_instants(table: Table) -> None:
    assert table.column_names[0] == table.key
    assert table.column_names[-2:] == ("created_at", "updated_at")
    assert [table.columns[0].type, *(c.type for c in table.columns[-2:])] == ["bigint", "timestamptz", "timestamptz"]


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_a_column_has_a_type_that_every_store_knows(table: Table) -> None:
    assert all(TYPES.fullmatch(column.type) for column in table.columns)


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_a_reference_is_a_bigint_like_the_key_it_names(table: Table) -> None:
    assert all(column.type == "bigint" for column in table.columns if column.references)
