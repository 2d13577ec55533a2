"""Load: what the lake holds is in raw once, whatever was cut short, and the check notices when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import psycopg
import pytest

from rainbow.errors import DataError
from rainbow.lake.extract import extract
from rainbow.lake.files import Lake
from rainbow.lake.read import connect_with_views
from rainbow.source.connection import connect
from rainbow.source.tables import BY_NAME, TABLES, Column, Table
from rainbow.warehouse import load as loading
from rainbow.warehouse.load import check_loaded, load, prepare
from rainbow.warehouse.sql import rows
from tests.integration.small_shop import DAY_1, DAY_2, DAY_3, at, days, delete, in_lake, open_shop, put, sell

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services


def in_raw(client: Any, table: str) -> list[dict[str, Any]]:
    """Every row of a table of raw, in the order of ``in_lake``."""
    found = [dict(row.items()) for row in rows(client, f"select * from raw.{table}")]
    return sorted(found, key=lambda row: (row["_lsn"], row["id"], not row["_deleted"]))


def everything(client: Any) -> dict[str, list[dict[str, Any]]]:
    return {table.name: in_raw(client, table.name) for table in TABLES}


@pytest.fixture
def two_days(small_shop: Connection, lake: Lake) -> Lake:
    """A lake of two extracts: sales, a changed product, a delete."""
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1), lines=[1, 2])
    extract(days(DAY_1))
    put(small_shop, "products", 1, at(DAY_2, 0.000001), price="0.0001", name="Trà\n'đá'")
    sell(small_shop, 2, at(DAY_2))
    delete(small_shop, "orderdetails", 1, at(DAY_2, 13))
    extract(days(DAY_2))
    return lake


def test_raw_holds_the_lakes_rows_column_by_column(two_days: Lake, warehouse: Any) -> None:
    done = load()
    assert len(done.manifests) == 2
    for table in TABLES:
        assert in_raw(warehouse, table.name) == in_lake(two_days, table.name)
    assert done.rows == {t.name: len(in_lake(two_days, t.name)) for t in TABLES}
    assert all(check.passed for check in check_loaded(done.partitions))


def test_loading_again_adds_nothing(two_days: Lake, warehouse: Any) -> None:
    load()
    before = everything(warehouse)
    again = load()
    assert (again.manifests, again.rows) == ((), {})
    assert everything(warehouse) == before


@pytest.mark.parametrize("lost", [["lake_manifests"], ["lake_files", "lake_manifests"]], ids=" and ".join)
def test_a_load_cut_short_before_it_was_noted_puts_nothing_in_twice(two_days: Lake, warehouse: Any, lost: list[str]) -> None:
    load()
    before = everything(warehouse)
    for table in lost:
        rows(warehouse, f"truncate table raw.{table}")
    assert len(load().manifests) == 2
    assert everything(warehouse) == before
    assert [r.n for r in rows(warehouse, "select count(*) as n from raw.lake_files group by path")] == [1] * 13


def test_a_load_cut_short_between_tables_goes_on_where_it_stopped(two_days: Lake, warehouse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loading._load_table

    def fails(client: Any, lake: Lake, table: str, files: Any) -> Any:
        if table in ("orders", "products"):
            raise DataError("cut short")
        return whole(client, lake, table, files)

    with monkeypatch.context() as patch:
        patch.setattr(loading, "_load_table", fails)
        with pytest.raises(DataError, match="cut short"):
            load()
    assert rows(warehouse, "select * from raw.lake_manifests") == []
    rows(
        warehouse,
        "insert into raw.orders (partition_date, id, _deleted, _lsn) select partition_date, id, _deleted, _lsn from raw.orderdetails",
    )
    load()
    for table in TABLES:
        assert in_raw(warehouse, table.name) == in_lake(two_days, table.name)


def test_raw_dropped_is_loaded_again_from_the_lake(two_days: Lake, warehouse: Any) -> None:
    load()
    before = everything(warehouse)
    warehouse.delete_dataset("raw", delete_contents=True)
    assert len(load().manifests) == 2
    assert everything(warehouse) == before


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("update raw.orderdetails set amount = amount + cast('0.01' as numeric) where id = 1", "orderdetails"),
        ("update raw.products set price = null where true", "products"),
        ("delete from raw.orders where id = 1", "orders"),
        ("insert into raw.orders select * from raw.orders", "orders"),
        ("update raw.customers set id = 2 where true", "customers"),
    ],
)
def test_a_row_of_raw_that_was_changed_removed_or_added_fails_its_check(two_days: Lake, warehouse: Any, change: str, table: str) -> None:
    done = load()
    rows(warehouse, change)
    failed = [check for check in check_loaded(done.partitions) if not check.passed]
    assert [check.asset for check in failed] == [f"raw/{table}"]
    assert failed[0].stops
    assert "lake" in failed[0].detail


def test_rows_that_come_late_go_to_their_own_partition(small_shop: Connection, lake: Lake, warehouse: Any) -> None:
    open_shop(small_shop)
    with connect() as late:
        late.execute("select pg_current_xact_id()")
        put(late, "orders", 7, at(DAY_1, 23))
        sell(small_shop, 1, at(DAY_1))
        extract(days(DAY_1))
        load()
        late.commit()
    sell(small_shop, 2, at(DAY_2))
    extract(days(DAY_2))
    done = load()
    assert done.partitions["orders"] == {DAY_1, DAY_2}
    assert {(row["id"], row["partition_date"]) for row in in_raw(warehouse, "orders")} == {(1, DAY_1), (7, DAY_1), (2, DAY_2)}
    assert in_raw(warehouse, "orders") == in_lake(lake, "orders")


def test_nothing_is_lost_though_the_source_stands_still_with_a_transaction_open(small_shop: Connection, lake: Lake, warehouse: Any) -> None:
    open_shop(small_shop)
    for key, day in enumerate((DAY_1, DAY_2, DAY_3)):
        sell(small_shop, 10 + key, at(day))
    with connect() as open_transaction:
        open_transaction.execute("select pg_current_xact_id()")
        for key, day in enumerate((DAY_1, DAY_2, DAY_3)):
            sell(small_shop, 20 + key, at(day, 13))
        for day in (DAY_1, DAY_3, DAY_2, DAY_1):
            extract(days(day))
            load()
    assert {row["id"] for row in in_raw(warehouse, "orders")} == {10, 11, 12, 20, 21, 22}
    assert in_raw(warehouse, "orderdetails") == in_lake(lake, "orderdetails")


def test_a_damaged_file_stops_the_load_before_anything_is_in(two_days: Lake, warehouse: Any) -> None:
    path = two_days.full(two_days.partition("orderdetails", DAY_2)[0])
    content = two_days.fs.cat_file(path)
    two_days.fs.pipe_file(path, content[:-1])
    with pytest.raises(DataError, match="corrupt") as error:
        load()
    assert "\n" not in str(error.value)
    assert everything(warehouse) == {t.name: [] for t in TABLES}


@pytest.fixture
def wider(warehouse: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Table, ...]]:
    """The declaration with two columns more in customers; raw is made anew afterwards."""
    customers = BY_NAME["customers"]
    more = (Column("points", "numeric(10,2)", nullable=True), Column("email", "text", nullable=True))
    made = tuple(replace(t, columns=(*t.columns, *more)) if t is customers else t for t in TABLES)
    with monkeypatch.context() as patch:
        patch.setattr(loading, "TABLES", made)
        patch.setattr(loading, "BY_NAME", {t.name: t for t in made})
        yield made
    rows(warehouse, "drop table raw.customers")
    warehouse.update_dataset(_unlabelled(warehouse), ["labels"])
    prepare(warehouse)


def _unlabelled(client: Any) -> Any:
    dataset = client.get_dataset("raw")
    dataset.labels = {"declaration": "another"}
    return dataset


def test_a_column_that_the_declaration_gains_is_added_everywhere(
    small_shop: Connection, lake: Lake, warehouse: Any, request: pytest.FixtureRequest
) -> None:
    open_shop(small_shop, at(DAY_1))
    extract(days(DAY_1))
    load()
    tables: tuple[Table, ...] = request.getfixturevalue("wider")
    small_shop.execute("alter table customers add points numeric(10,2), add email text")
    put(small_shop, "customers", 2, at(DAY_1), points="7.50", email="h@oa.vn")
    put(small_shop, "customers", 3, at(DAY_2), points="0.25")
    extract(days(DAY_1), tables=tables)
    extract(days(DAY_2), tables=tables)
    done = load()
    assert [(r["id"], str(r["points"]), r["email"]) for r in in_raw(warehouse, "customers")] == [
        (1, "None", None),
        (2, "7.50", "h@oa.vn"),
        (3, "0.25", None),
    ]
    touched: dict[str, set[date]] = {"customers": {DAY_1, DAY_2}, "orders": done.partitions["orders"]}
    assert all(check.passed for check in check_loaded(touched))
    assert check_loaded({"customers": {DAY_1}})[0].passed
    with connect_with_views(lake, tables) as duck:
        assert duck.sql("select sum(points)::varchar, count(*) from customers").fetchall() == [("7.75", 3)]
