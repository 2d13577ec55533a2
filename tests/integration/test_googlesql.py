"""GoogleSQL for real: Google's own analyzer takes every statement that is sent to BigQuery, against the schemas declared here.

What it cannot see is what BigQuery decides when it plans or runs a query: limits and quotas, and what a value cannot be cast to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

import orjson
import psycopg
import pytest
from google.cloud import bigquery

from rainbow import trace
from rainbow.demo import DAYS, totals_published
from rainbow.lake.extract import extract
from rainbow.lake.files import Lake
from rainbow.olap.publish import publish
from rainbow.partitions.dates import PartitionRange
from rainbow.reconcile import comparing
from rainbow.source.tables import TABLES
from rainbow.warehouse import dbt, project
from rainbow.warehouse import load as loading
from rainbow.warehouse.sql import rows
from rainbow.warehouse.transform import CONTROL, run_tests, transform
from tests.googlesql import Analyzer, Columns, lopsided_joins, output_columns
from tests.integration.small_shop import DAY_1, DAY_2, at, days, open_shop, sell
from tests.stand_in import gaps

pytestmark = pytest.mark.services

RAW: dict[str, Columns] = {
    **{f"raw.{table.name}": loading.raw_columns(table) for table in TABLES},
    **{f"raw.{name}": dict(column.split()[:2] for column in listed.split(", ")) for name, listed in loading.LEDGER.items()},
}

BOOKKEEPING: dict[str, Columns] = {
    f"staging.{name}": dict(column.split()[:2] for column in listed.split(", ")) for name, listed in CONTROL.items()
}

# what BigQuery can cut a table by: a date, or a date or a timestamp truncated to a unit
CUT = r"\w+|date_trunc\(\w+, (?:month|year)\)|timestamp_trunc\(\w+, (?:hour|day|month|year)\)"


@pytest.fixture(scope="module")
def raw() -> Analyzer:
    return Analyzer(RAW)


@pytest.fixture(scope="module")
def models(made_warehouse: Any) -> dict[str, Columns]:
    """The columns that dbt's YAML gives each model, by dataset and name."""
    nodes = orjson.loads((dbt.target_folder() / "manifest.json").read_bytes())["nodes"].values()
    return {
        f"{node['schema']}.{node['name']}": {c["name"]: c["data_type"] for c in node["columns"].values()}
        for node in nodes
        if node["resource_type"] == "model"
    }


@pytest.fixture(scope="module")
def statements(made_warehouse: Any) -> tuple[project.Statement, ...]:
    found = project.statements()
    assert found
    return found


@pytest.fixture(scope="module")
def analyzer(models: dict[str, Columns]) -> Analyzer:
    return Analyzer({**RAW, **BOOKKEEPING, **models})


def refusals(analyzer: Analyzer, listed: dict[str, str]) -> dict[str, str]:
    """What is refused of statements, by name: by Google's analyzer, by BigQuery's planner, or wrong at the stand-in."""
    found = {}
    for name, sql in listed.items():
        reasons = gaps(sql)
        if "join" not in sql.lower():
            reasons += filter(None, [analyzer.refusal(sql)])
        else:
            try:
                if lopsided_joins(analyzer.resolve(sql)):
                    reasons.append("an outer join without an equality of both sides")
            except ValueError as error:
                reasons.append(str(error))
        if reasons:
            found[name] = "; ".join(reasons)
    return found


def test_bigquery_takes_every_model_and_every_test(analyzer: Analyzer, statements: tuple[project.Statement, ...]) -> None:
    assert {s.kind for s in statements} == {"model", "test"}
    assert refusals(analyzer, {s.name: s.sql for s in statements}) == {}


def test_bigquery_takes_what_trace_and_reconcile_ask(analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statements themselves, at the moment of sending, whatever they would have been answered."""
    sent: list[str] = []
    monkeypatch.setattr("rainbow.warehouse.sql.rows", lambda client, sql, parameters=(): sent.append(sql) or [])
    day = date(2024, 9, 1)
    for ask in (
        trace._in_raw(day),
        trace._FACT.format(day=f"date '{day}'"),
        *(trace._of_view(v, "warehouse", day)[2] for v in trace.TRACED),
    ):
        sent.append(ask)
    for partitions in (None, PartitionRange(day, day)):
        comparing._of_raw(partitions)
        comparing._of_fact(partitions)
    assert len(sent) == 2 + len(trace.TRACED) + 2 * (len(TABLES) + 1)
    assert refusals(analyzer, {sql: sql for sql in sent}) == {}


def test_each_model_gives_the_columns_that_are_declared(analyzer: Analyzer, statements: tuple[project.Statement, ...]) -> None:
    made = {s.name: s for s in statements if s.sql.startswith("create")}
    assert len(made) > 10
    found = {name: output_columns(analyzer.resolve(s.sql)) for name, s in made.items()}
    assert found == {name: {c: t.partition("(")[0] for c, t in s.columns.items()} for name, s in made.items()}


def test_bigquery_takes_the_tables_of_restated_models(analyzer: Analyzer, statements: tuple[project.Statement, ...]) -> None:
    log = (dbt.target_folder() / "dbt.log").read_text(encoding="utf-8")
    sent = dict(re.findall(r"(?s)On model\.rainbow\.(\w+): /\*[^*]*\*/\s+(create table if not exists .*?)\n\d\d:", log))
    # transform makes the table of transformed_files itself, before dbt
    assert sent.keys() == {s.name for s in statements if s.sql.startswith("merge")} - {"transformed_files"}
    assert refusals(analyzer, sent) == {}
    for sql in sent.values():
        for expression in re.findall(r"partition by (.+?)(?: cluster by|$)", sql.strip()):
            assert re.fullmatch(CUT, expression)


@pytest.mark.parametrize("lacking", [set(), {"name", "quantity"}], ids=["new tables", "tables that lack a column"])
def test_bigquery_takes_the_tables_of_raw(raw: Analyzer, monkeypatch: pytest.MonkeyPatch, lacking: set[str]) -> None:
    # what raw has is told here, since no table of the shared warehouse may lose a column
    there = [Column(t.name, name) for t in TABLES for name in loading.raw_columns(t) if lacking and name not in lacking]
    asked: list[str] = []

    def rows(client: None, sql: str) -> list[Column]:
        asked.append(sql)
        return there

    monkeypatch.setattr(loading, "rows", rows)
    sent = list(loading._statements(None))
    assert sum(sql.startswith("alter table" if lacking else "create table if not exists raw.orders ") for sql in sent) > 0
    assert refusals(raw, {sql: sql for sql in asked + sent}) == {}


class Column(NamedTuple):
    """A row of INFORMATION_SCHEMA.COLUMNS."""

    table_name: str
    column_name: str


def test_bigquery_takes_all_that_a_partition_s_run_sends(
    warehouse: bigquery.Client,
    analyzer: Analyzer,
    statements: tuple[project.Statement, ...],
    small_shop: psycopg.Connection[Any],
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1), lines=(1, 2))
    sell(small_shop, 3, at(DAY_2))
    sent = _recorded(monkeypatch)
    for day in (DAY_1, DAY_2):
        extract(days(day))
        loading.check_loaded(loading.load().partitions)
        transform()
        publish()
    assert all(check.passed for check in run_tests())
    # a load that was cut short leaves a part of a file
    rows(warehouse, "delete from raw.orderdetails where id = 1")
    rows(warehouse, "delete from raw.lake_manifests where manifest is not null")
    loading.load()
    totals_published(DAYS)
    rows(warehouse, "drop table staging.rebuilds")
    rows(warehouse, "delete from staging.model_versions where model = 'dim_products'")
    transform()
    for start in (
        "select manifest from raw.lake_manifests",
        "delete from raw.orderdetails where partition_date",
        "delete from raw.lake_files",
        "insert into raw.lake_files",
        "insert into raw.lake_manifests",
        "create table if not exists staging.rebuilds",
        "insert into staging.rebuilds",
        "select model, version from staging.model_versions",
        "delete from staging.model_versions",
        "insert into staging.model_versions",
        "merge into",
        "select 0 as test",
        "select 'dim_products' as table_name, day",
        "export data options",
        "select count(*) as n from warehouse.fact_sales",
    ):
        assert any(sql.startswith(start) for sql in sent), start
    seen = {s.sql for s in statements}
    assert refusals(analyzer, {sql: sql for sql in sent if sql not in seen}) == {}


def _recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The text of each query that is sent from now on."""
    sent: list[str] = []
    send: Callable[..., Any] = bigquery.Client.query_and_wait

    def query_and_wait(self: bigquery.Client, query: str, **options: Any) -> Any:
        sent.append(query)
        return send(self, query, **options)

    monkeypatch.setattr(bigquery.Client, "query_and_wait", query_and_wait)
    return sent


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ("select list_value(id) from raw.orders", "Function not found: list_value"),
        ("select strftime(created_at, '%Y') from raw.orders", "Function not found: strftime"),
        ("select epoch_us(created_at) from raw.orders", "Function not found: epoch_us"),
        ("select id::string from raw.orders", "Syntax error"),
        ("select count(*) filter (where _deleted) from raw.orders", "Syntax error"),
        ("select cast(id as varchar) from raw.orders", "Type not found: varchar"),
        ("select nosuch from raw.orders", "Unrecognized name: nosuch"),
        ("select o.name from raw.orders as o", "Name name not found inside o"),
        ("select id from raw.nosuch", "Table not found: raw.nosuch"),
        ("select id from raw.sellers where name = 1", "No matching signature for operator ="),
        ("select sum(name) from raw.sellers", "No matching signature for aggregate function SUM"),
        ("insert into raw.sellers (id) values ('a')", "cannot be inserted into column id, which has type INT64"),
        ("merge into raw.sellers as t using raw.orders as s on t.id = s.id when matched then update set name = s.id", "type INT64"),
        ("select id, count(*) from raw.orders", "neither grouped nor aggregated"),
        ("select id from raw.orders union select id from raw.sellers", "Expected keyword ALL or keyword DISTINCT"),
        ("select cast(price as numeric(38, 2)) from raw.products", "P must be between 2 and 31"),
        ("with following as (select 1 as a) select a from following", "Unexpected keyword FOLLOWING"),
        ("create table raw.t (a int64) partition by nosuch", "Unrecognized name: nosuch"),
        ("select array_sum([1, 2])", "Function not found: array_sum"),
        ("from raw.orders |> select id", "Syntax error"),
        ("pragma database_list", "Syntax error"),
    ],
)
def test_what_bigquery_would_refuse_is_refused(raw: Analyzer, refused: str, reason: str) -> None:
    assert reason in raw.refusal(refused)


def test_an_outer_join_without_an_equality_is_found(raw: Analyzer) -> None:
    def lopsided(condition: str) -> int:
        return lopsided_joins(raw.resolve(f"select o.id from raw.orders as o left join raw.products as p on {condition}"))

    assert lopsided("o.id > p.id") == lopsided("o.id = 1 and o.id > p.id") == lopsided("o.id = p.id or o.id = 1") == 1
    assert lopsided("o.id = p.id") == lopsided("o.created_at > p.created_at and o.id = p.id and p.id > 1") == 0
