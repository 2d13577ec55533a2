"""One way to ask each store: every store answers in every format, and none can be written to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rainbow.errors import DataError, RainbowError
from rainbow.lake.extract import extract
from rainbow.lake.files import Lake
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.query import STORES, Store, query
from rainbow.warehouse.load import load
from rainbow.warehouse.sql import rows
from tests.integration.small_shop import DAY_1, at, days, open_shop, parquet_files, put, sell

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services

MARKUP = "[red]a[/red] <b>&, \"b\"\n'c'"
TABLE = {"source": "customers", "lake": "customers", "warehouse": "raw.customers", "olap": "asked.customers"}


@pytest.fixture
def stores(small_shop: Connection, lake: Lake, warehouse: Any) -> Iterator[Any]:
    """The same customers in each store; what holds them is returned, to look at past the queries."""
    open_shop(small_shop)
    put(small_shop, "customers", 1, at(DAY_1), name=MARKUP)
    put(small_shop, "customers", 2, at(DAY_1), name="Hoa")
    sell(small_shop, 1, at(DAY_1))
    extract(days(DAY_1))
    load()
    olap = connect_clickhouse()
    olap.command("create database if not exists asked")
    olap.command("create or replace table asked.customers (id Int64, name String, price Decimal(18, 4)) engine = MergeTree order by id")
    olap.insert("asked.customers", [[1, MARKUP, 0], [2, "Hoa", 0]], ["id", "name", "price"])

    def everything() -> Any:
        return (
            [small_shop.execute(f"select * from {t} order by id").fetchall() for t in ("customers", "orders", "orderdetails")],
            parquet_files(lake),
            sorted(str(tuple(r.values())) for r in rows(warehouse, "select * from raw.customers")),
            [r.table_name for r in rows(warehouse, "select table_name from raw.INFORMATION_SCHEMA.TABLES order by 1")],
            olap.query("select * from asked.customers order by id").result_rows,
            olap.query("select database, name from system.tables where database not in ('system', 'default') order by 1, 2").result_rows,
        )

    yield everything
    olap.command("drop database asked sync")
    olap.close()


@pytest.mark.parametrize("store", STORES)
def test_a_store_answers_with_its_rows(stores: Any, store: Store) -> None:
    answer = query(store, f"select id, name from {TABLE[store]} order by id;")
    assert answer.columns == ["id", "name"]
    assert answer.rows == [(1, MARKUP), (2, "Hoa")]
    assert json.loads(answer.as_json()) == [{"id": 1, "name": MARKUP}, {"id": 2, "name": "Hoa"}]
    assert list(csv.reader(io.StringIO(answer.as_csv()))) == [["id", "name"], ["1", MARKUP], ["2", "Hoa"]]
    assert query(store, f"-- names\nwith c as (select name from {TABLE[store]}) select count(*) as n from c").rows == [(2,)]
    assert query(store, f"select id from {TABLE[store]} where id > 5").rows == []


WRITES: dict[Store, tuple[str, ...]] = {
    "source": (
        "insert into customers select 9, 'x', now(), now()",
        "update customers set name = 'x'",
        "delete from orderdetails",
        "drop table inventories",
        "truncate orderdetails",
        "create table t (a int)",
        "with gone as (delete from orderdetails returning id) select * from gone",
        "select 1; delete from orderdetails",
        "commit; delete from orderdetails; commit",
        "rollback; begin; delete from orderdetails; commit; select 1",
        "copy customers to '{folder}/out.csv'",
        "copy customers to program 'touch {folder}/out'",
        "select * into t from customers",
        "do $$ begin delete from orderdetails; end $$",
        "select set_config('transaction_read_only', 'off', false), nextval('customers_id_seq')",
        "set session characteristics as transaction read write",
        "explain analyze delete from orderdetails",
        "vacuum",
    ),
    "lake": (
        "insert into customers values (1)",
        "copy (select 1) to '{folder}/out.csv'",
        "copy customers to '{folder}/out.parquet'",
        "export database '{folder}/out'",
        "attach '{folder}/out.db'",
        "create table t as select 1",
        "drop view customers",
        "select 1; copy (select 1) to '{folder}/out.csv'",
        "install httpfs",
        "set memory_limit = '1GB'",
        "pragma version",
    ),
    "warehouse": (
        "insert into raw.customers (id) values (9)",
        "update raw.customers set name = 'x' where true",
        "delete from raw.customers where true",
        "drop table raw.brands",
        "truncate table raw.customers",
        "create table raw.t as select 1 as a",
        "merge raw.customers t using raw.customers s on false when not matched then insert (id) values (9)",
        "select 1; delete from raw.customers where true",
        "begin delete from raw.customers where true; end",
        "declare a int64 default 1; delete from raw.customers where true",
        "execute immediate 'delete from raw.customers where true'",
        "export data options (uri = 'file://{folder}/out-*.csv', format = 'CSV') as select 1 as a",
        "create temp table t as select 1 as a; select * from t",
    ),
    "olap": (
        "insert into asked.customers values (9, 'x', 0)",
        "insert into function file('{folder}/out.csv', 'CSV', 'a Int64') select 1",
        "alter table asked.customers delete where true",
        "delete from asked.customers where true",
        "drop table asked.customers",
        "truncate table asked.customers",
        "create table asked.t (a Int64) engine = Memory",
        "rename table asked.customers to asked.t",
        "exchange tables asked.customers and asked.customers",
        "select 1; drop table asked.customers",
        "select 1 settings readonly = 0",
        "select 1 into outfile '{folder}/out.csv'",
        "set readonly = 0",
        "optimize table asked.customers final",
        "system stop merges",
        "kill query where true",
    ),
}


def _answer_of(store: Store, text: str) -> Any:
    try:
        return query(store, text)
    except DataError as error:
        return error


@pytest.mark.parametrize("store", STORES)
def test_a_write_is_refused_in_one_line_and_changes_nothing(stores: Any, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "outside"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    before = stores()
    answered = {text: _answer_of(store, text.replace("{folder}", str(folder))) for text in WRITES[store]}
    assert {text: answer for text, answer in answered.items() if not isinstance(answer, DataError) or "\n" in str(answer)} == {}
    assert stores() == before
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("store", STORES)
def test_what_a_store_cannot_answer_is_one_line(stores: Any, store: Store) -> None:
    for text in ("select nothing from nowhere", "selec 1", "", "'", "select 1 +"):
        with pytest.raises(DataError) as error:
            query(store, text)
        assert not any(part in str(error.value) for part in ("\n", "http://", "(version", "Exception"))


def test_a_store_that_there_is_not_is_one_line() -> None:
    with pytest.raises(RainbowError, match="there is no store"):
        query("attic", "select 1")  # type: ignore[arg-type]


def test_a_table_on_the_screen_shows_markup_as_text(
    stores: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rainbow.cli.runs import query as command

    monkeypatch.setenv("COLUMNS", "120")
    command(f'select name as "[b]n[/b]" from {TABLE["source"]} order by id', on="source", shape="table")
    shown = capsys.readouterr().out
    assert "[b]n[/b]" in shown
    assert '[red]a[/red] <b>&, "b"' in shown
    for shape in ("csv", "json"):
        command("select name from customers order by id", on="lake", shape=shape)
        assert "[red]a[/red] <b>&," in capsys.readouterr().out
    with pytest.raises(RainbowError, match="there is no format"):
        command("select 1", on="lake", shape="xml")
