"""Trace: a day's figures place by place, the first place that differs, and the page that shows both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rainbow.cli import app as command_line
from rainbow.cli import stack
from rainbow.cli import trace as command
from rainbow.lake.extract import extract
from rainbow.lake.files import Lake
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.publish import publish
from rainbow.query import query
from rainbow.reports import render_evidence
from rainbow.trace import SUMS, TRACED, Trace, trace
from rainbow.warehouse.load import load
from rainbow.warehouse.transform import transform
from tests.integration.small_shop import DAY_1, DAY_2, DAY_3, at, days, open_shop, put, sell

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services

PLACES = ["source", "lake", "raw", "fact_sales", "warehouse.{}", "batch.{}", "serving.{}"]


@pytest.fixture
def traced(small_shop: Connection, warehouse: Any, lake: Lake) -> Iterator[Any]:
    """A client for the ClickHouse of a shop with two days, one of them with a line that was changed and one that was deleted later."""
    client = connect_clickhouse()
    for database in ("batch", "serving"):
        client.command(f"drop database if exists {database} sync")
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1), lines=[1, 2, 3])
    sell(small_shop, 2, at(DAY_2), lines=[4])
    for day in (DAY_1, DAY_2):
        run(day)
    put(small_shop, "orderdetails", 2, at(DAY_3), order_id=1, amount="1.25")
    small_shop.execute("select set_config('rainbow.clock', %s, false)", [at(DAY_3).isoformat()])
    small_shop.execute("delete from orderdetails where id = 3")
    yield client
    client.close()


def run(day: Any) -> None:
    extract(days(day))
    load()
    transform()
    publish()


def one(view: str = "total_sales", day: Any = DAY_1) -> Trace:
    (found,) = trace(day, [view])
    return found


def test_every_place_says_the_same_of_a_day_that_is_published(traced: Any) -> None:
    for found in trace(DAY_2, TRACED):
        assert [place.name for place in found.places] == [name.format(found.view) for name in PLACES]
        assert all(place.figures for place in found.places)
        assert found.first_difference is None, found.view
    figures = one(day=DAY_2).places[0].figures
    assert figures
    assert (figures["orders"], figures["lines"]) == (1, 1)
    assert figures["total_sales_amount"] > 0


def test_a_change_that_has_not_been_extracted_is_named_and_gone_once_it_is(traced: Any) -> None:
    found = one().first_difference
    assert found
    assert [place.name for place in found] == ["source", "lake"]
    run(DAY_3)
    settled = one()
    source = settled.places[0].figures
    assert settled.first_difference is None
    assert source
    assert source["lines"] == 2


def test_rows_that_went_astray_in_clickhouse_are_named(traced: Any) -> None:
    traced.command("insert into batch.top_sellers select * from batch.top_sellers where sales_date = {day:Date} limit 1", {"day": DAY_2})
    found = one("top_sellers", DAY_2).first_difference
    assert found
    assert [place.name for place in found] == ["warehouse.top_sellers", "batch.top_sellers"]
    assert one("total_sales", DAY_2).first_difference is None


def test_a_place_that_cannot_be_asked_says_why_and_the_others_answer(traced: Any) -> None:
    traced.command("drop view serving.total_sales sync")
    *others, last = one("total_sales", DAY_2).places
    assert (last.figures, "serving.total_sales" in last.fault) == (None, True)
    assert all(place.figures for place in others)


def test_a_day_without_sales_is_nothing_everywhere(traced: Any) -> None:
    found = one(day=DAY_3 + timedelta(days=9))
    assert [set((place.figures or {}).values()) for place in found.places] == [{0}] * len(PLACES)


def test_each_query_that_is_shown_can_be_sent_again(traced: Any) -> None:
    for place in one(day=DAY_2).places:
        answer = query(place.store, place.sql)
        row = dict(zip(answer.columns, answer.rows[0], strict=True))
        assert place.figures
        assert {name: Decimal(str(row[name])) for name in SUMS} == {name: place.figures[name] for name in SUMS}, place.name


def test_the_command_says_it_in_a_table_and_by_its_exit(traced: Any) -> None:
    for module in (command, stack):
        module.add_to(command_line)
    same = CliRunner().invoke(command_line, ["trace", "total_sales", "--day", str(DAY_2)])
    assert (same.exit_code, "Every place says the same." in same.output) == (0, True), same.output
    assert "serving.total_sales takes the day from the batch." in same.output
    differing = CliRunner().invoke(command_line, ["trace", "total_sales", "--day", str(DAY_1), "--sql"])
    assert differing.exit_code == 1
    assert "lake is the first that differs from the place before it, source." in differing.output
    assert "select" in differing.output
    unknown = CliRunner().invoke(command_line, ["trace", "totl_sales", "--day", str(DAY_1)])
    assert "did you mean total_sales?" in str(unknown.exception)


def test_the_evidence_page_shows_the_places_and_the_days_that_add_up(traced: Any, tmp_path: Path) -> None:
    rows = [
        {"sales_date": day, "orders": 1, "sales_quantity": 2, **{name: Decimal("3.50") for name in SUMS[1:]}}
        for day in (DAY_1 + timedelta(days=n) for n in range(-40, 2))
    ]
    page = render_evidence(DAY_2, trace(DAY_2, TRACED), rows, DAY_2, "USD", tmp_path / str(DAY_2) / "evidence.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("Every place says the same") == text.count("takes the day from the batch.") == len(TRACED)
    days_shown = re.findall(r'<th scope="row" class="rw-text">(?:<a [^>]*>)?([^<]*)', text.split('id="to_date"')[1])
    assert days_shown[-1] == "All days"
    assert f"{len(rows)} batch" in text.split("<tfoot>")[1]
    assert len(days_shown) < 31 + 4
    assert f"{Decimal('3.50') * 42:,.2f}" in text
    assert "<script>" not in text.split("</main>")[0].split("<main")[1]
