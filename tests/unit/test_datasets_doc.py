"""docs/datasets.md says of every column of both data sets where it comes from, and its numbers are those of the code."""

from __future__ import annotations

import re

import pytest

from rainbow.datasets import NAMES
from rainbow.datasets.completejourney import CompleteJourney
from rainbow.datasets.synthetic import LINES, ORDERS, VERSIONS, Synthetic
from rainbow.settings import PROJECT_ROOT
from rainbow.source.tables import TABLES, Table

TEXT = (PROJECT_ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    return re.split(r"^## ", TEXT.split(f"\n## {name}\n")[1], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_every_column_is_described(name: str, table: Table) -> None:
    _, _, rest = section(name).partition(f"\n#### {table.name}\n")
    rows = re.split(r"^###", rest, flags=re.MULTILINE)[0].splitlines()
    described = [column.strip() for row in rows if row.startswith("| ") for column in row.split("|")[1].split(",")]
    assert sorted(set(described) - {"column", "---"}) == sorted(table.column_names)


def test_the_numbers_are_those_of_the_code() -> None:
    totals = CompleteJourney().totals
    for number in (totals.lines, totals.gross, totals.discount, totals.net):
        assert f"{number:,}" in section("completejourney")
    for number in (ORDERS, LINES, VERSIONS, Synthetic().catalogue.count):
        assert f"{number:,}" in section("synthetic")


def test_each_data_sets_caveat_is_given() -> None:
    assert "simulated and meant for research and education" in section("completejourney")
    assert "nobody's data are in it" in section("synthetic")
