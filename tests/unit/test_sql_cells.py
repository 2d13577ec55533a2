"""rainbow/sql_cells.py without a service: a variable's value in a query is always a literal of that store."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.errors import DataError
from rainbow.sql_cells import CELLS, ask, literal, with_values

DAY = date(2024, 9, 6)


@pytest.mark.parametrize(
    ("store", "value", "written"),
    [
        ("source", "it's", "'it''s'"),
        ("warehouse", "it's \\ back", "'it\\'s \\\\ back'"),
        ("olap", "it's", "'it\\'s'"),
        ("lake", DAY, "date '2024-09-06'"),
        ("olap", DAY, "toDate32('2024-09-06')"),
        ("warehouse", datetime(2024, 9, 6, 12, tzinfo=UTC), "timestamp '2024-09-06 12:00:00+00:00'"),
        ("source", Decimal("12.50"), "12.50"),
        ("source", None, "null"),
        ("source", [1, "a"], "(1, 'a')"),
        ("source", True, "true"),
    ],
)
def test_a_value_is_written_as_the_store_reads_it(store: Any, value: Any, written: str) -> None:
    assert literal(store, value) == written


@given(st.text().filter(lambda text: "\x00" not in text))
def test_no_text_becomes_sql(text: str) -> None:
    assert duckdb.sql(f"select {literal('lake', text)} as told, 1 as one").fetchall() == [(text, 1)]


def test_every_store_has_its_cell() -> None:
    assert set(CELLS) == {"pg", "bq", "ch", "duck"}
    assert set(CELLS.values()) == {"source", "warehouse", "olap", "lake"}


def test_a_variable_that_is_not_there_is_named() -> None:
    assert with_values("source", "select {{ day }}", {"day": DAY}) == "select date '2024-09-06'"
    with pytest.raises(DataError, match="no variable dy"):
        with_values("source", "select {{dy}}", {"day": DAY})


def test_duckdb_sees_the_notebook_s_own_tables(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rainbow.settings import settings

    monkeypatch.setenv("RAINBOW_HOME", str(tmp_path))
    settings.cache_clear()
    sales = pd.DataFrame({"day": [DAY], "net": [Decimal("1.10")]})
    found = ask("lake", "select net, (select count(*) from orders) as orders from sales where day = {{DAY}}", {"sales": sales, "DAY": DAY})
    assert found.to_dict("records") == [{"net": Decimal("1.10"), "orders": 0}]
    settings.cache_clear()
