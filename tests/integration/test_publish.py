"""Publish: ClickHouse gets what the warehouse holds, whole views only, each with its watermark."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from rainbow import batch
from rainbow.charts import serving as charts
from rainbow.errors import CheckError, DataError
from rainbow.lake.extract import extract
from rainbow.lake.files import Lake
from rainbow.olap import publish as publishing
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.publish import DIMENSIONS, VIEWS, publish
from rainbow.partitions.dates import PartitionRange, today
from rainbow.warehouse import rebuild
from rainbow.warehouse.load import load
from rainbow.warehouse.sql import rows
from rainbow.warehouse.transform import run_tests, transform
from tests.integration.small_shop import DAY_1, DAY_2, DAY_3, at, days, open_shop, put, sell

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services

TABLES = (*VIEWS, *DIMENSIONS)


@pytest.fixture
def clickhouse(warehouse: Any, lake: Lake) -> Iterator[Any]:
    """A client for a ClickHouse in which nothing is published."""
    client = connect_clickhouse()
    for database in ("batch", "serving"):
        client.command(f"drop database if exists {database} sync")
    yield client
    client.close()


@pytest.fixture
def published(small_shop: Connection, clickhouse: Any) -> Any:
    """A shop of one day, published."""
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1), lines=[1, 2])
    until_published(days(DAY_1))
    return clickhouse


def until_published(partitions: PartitionRange) -> publishing.Published:
    extract(partitions)
    load()
    transform()
    return publish()


def in_clickhouse(client: Any, table: str, database: str = "batch") -> list[tuple[Any, ...]]:
    found = client.query(f"select * from {database}.{table}", query_tz="UTC", tz_mode="aware").result_rows
    return sorted((tuple(row) for row in found), key=repr)


def in_bigquery(client: Any, table: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in rows(client, f"select * from warehouse.{table}")), key=repr)


def made_at(client: Any) -> dict[str, Any]:
    """Which table stands behind each name."""
    return dict(client.query("select name, uuid from system.tables where database = 'batch'").result_rows)


def test_every_published_table_is_the_warehouses_row_for_row(published: Any, warehouse: Any) -> None:
    for table in TABLES:
        found = in_clickhouse(published, table)
        assert found == in_bigquery(warehouse, table), table
        assert found
    for view in VIEWS:
        assert in_clickhouse(published, view, "serving") == in_clickhouse(published, view)
    assert not [name for name in made_at(published) if name.endswith("__incoming")]


def test_what_has_not_changed_is_not_swapped(published: Any) -> None:
    before = made_at(published)
    assert publish().rows == {}
    assert made_at(published) == before


def test_what_a_rebuild_has_put_right_is_published(published: Any, small_shop: Connection, warehouse: Any) -> None:
    rows(warehouse, "update warehouse.top_sellers set sales_quantity = 77 where true")
    sell(small_shop, 3, at(DAY_2), lines=[3])
    until_published(days(DAY_2))
    sold = "select distinct sales_quantity from batch.top_sellers where sales_date = %(day)s"
    assert published.query(sold, {"day": DAY_1}).result_rows == [(77,)]
    rebuild.request(warehouse, ["top_sellers"])
    transform()
    assert publish().rows.keys() == set(TABLES)
    assert published.query(sold, {"day": DAY_1}).result_rows == [(4,)]
    assert in_clickhouse(published, "top_sellers") == in_bigquery(warehouse, "top_sellers")
    assert publish().rows == {}


def test_days_that_changed_and_could_not_be_found_out_are_found_out_by_the_next_publish(
    published: Any, small_shop: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed_days() -> set[str]:
        return {str(mark["changed_days"]) for mark in publishing.watermarks(published).values()}

    put(small_shop, "orderdetails", 1, datetime.now(UTC), amount="5.00")
    with monkeypatch.context() as patched:
        patched.setattr(publishing, "MOST_CHANGED", 0)
        until_published(days(DAY_2))
    assert changed_days() == {"None"}
    before = made_at(published)
    assert set(publish().rows.values()) == {0}
    assert changed_days() == {f"['{DAY_1}']"}
    assert made_at(published) == before
    assert publish().rows == {}


def test_charts_have_a_day_when_todays_alone_was_run(small_shop: Connection, clickhouse: Any) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, datetime.now(UTC))
    assert until_published(days(today())).watermark.watermark_date is None
    assert charts.scope("total_sales", None).partition_date == today()


def test_a_change_reaches_every_view_that_it_is_in(published: Any, small_shop: Connection, warehouse: Any) -> None:
    put(small_shop, "customers", 1, at(DAY_2), name="Mai")
    sell(small_shop, 3, at(DAY_2) + timedelta(days=14))
    put(small_shop, "orderdetails", 2, at(DAY_2), amount="1.00")
    until_published(PartitionRange(DAY_2, DAY_2 + timedelta(days=14)))
    for table in TABLES:
        assert in_clickhouse(published, table) == in_bigquery(warehouse, table), table
    assert {row[2] for row in published.query("select sales_date, customer_id, customer from serving.customer_ranking").result_rows} == {
        "Mai"
    }


def test_each_table_carries_its_watermark(published: Any, small_shop: Connection) -> None:
    mark = publish().watermark
    assert (mark.first_partition, mark.watermark_date) == (DAY_1, DAY_1)
    carried = publishing.watermarks(published)
    assert carried.keys() == set(TABLES)
    assert {(c["snapshot"], c["lsn"], c["watermark_date"]) for c in carried.values()} == {(mark.snapshot, mark.lsn, str(DAY_1))}
    until_published(days(DAY_3))
    assert publish().watermark.watermark_date == DAY_1
    mark = until_published(days(DAY_2)).watermark
    assert (mark.first_partition, mark.watermark_date) == (DAY_1, DAY_3)
    served = published.query("select distinct first_partition, watermark_date, lsn from serving.watermark").result_rows
    assert served == [(DAY_1, DAY_3, mark.lsn)]


def test_todays_partition_is_published_and_the_watermark_does_not_hold_it(small_shop: Connection, clickhouse: Any) -> None:
    yesterday = today() - timedelta(days=1)
    open_shop(small_shop)
    sell(small_shop, 1, at(yesterday))
    sell(small_shop, 2, at(today(), 0))
    mark = until_published(PartitionRange(yesterday, today())).watermark
    assert mark.watermark_date == yesterday
    assert [row[0] for row in clickhouse.query("select sales_date from serving.total_sales order by 1").result_rows] == [yesterday, today()]


def test_a_reader_never_sees_an_empty_or_half_view_while_views_are_swapped(published: Any, small_shop: Connection) -> None:
    seen: set[tuple[Any, ...]] = set()
    faults: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        client = connect_clickhouse()
        try:
            while not stop.is_set():
                seen.add(client.query("select count(), sum(sales_quantity) from serving.total_sales").result_rows[0])
        except BaseException as fault:
            faults.append(fault)

    reader = threading.Thread(target=read)
    reader.start()
    allowed = {(1, 4)}
    try:
        for number in range(1, 6):
            for key in range(number * 10, number * 10 + 3):
                sell(small_shop, key, at(DAY_1) + timedelta(days=number))
            until_published(days(DAY_1 + timedelta(days=number)))
            allowed.add((1 + number, 4 + 6 * number))
    finally:
        stop.set()
        reader.join()
    assert faults == []
    assert seen <= allowed
    assert len(seen) > 1


def test_rows_that_do_not_arrive_leave_the_view_before(published: Any, small_shop: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    before = in_clickhouse(published, "total_sales")
    sell(small_shop, 3, at(DAY_2))
    extract(days(DAY_2))
    load()
    transform()
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_export", lambda *_: iter(()))
        with pytest.raises(DataError, match="stays"):
            publish()
    assert in_clickhouse(published, "total_sales") == before
    assert publishing.watermarks(published)["total_sales"]["watermark_date"] == str(DAY_1)
    publish()
    assert len(in_clickhouse(published, "total_sales")) == 2


def test_a_publish_cut_short_before_its_views_were_made_is_completed_by_the_next(published: Any) -> None:
    published.command("drop view serving.watermark sync")
    published.command("drop view serving.total_sales sync")
    publish()
    assert in_clickhouse(published, "total_sales", "serving") == in_clickhouse(published, "total_sales")
    assert in_clickhouse(published, "watermark", "serving")


def test_what_is_loaded_and_not_transformed_is_not_published_as_if_it_were(published: Any, small_shop: Connection) -> None:
    sell(small_shop, 3, at(DAY_2))
    extract(days(DAY_2))
    load()
    with pytest.raises(DataError, match="transform"):
        publish()
    transform()
    publish()
    assert len(in_clickhouse(published, "total_sales")) == 2


def test_a_failed_check_stops_the_publish_and_the_last_good_views_stay(published: Any, small_shop: Connection, warehouse: Any) -> None:
    before = {table: in_clickhouse(published, table) for table in TABLES}
    sell(small_shop, 3, at(DAY_2))
    batch.extract(DAY_2)
    batch.load(DAY_2)
    batch.transform(DAY_2)
    rows(warehouse, "update warehouse.fact_sales set extended_sales_amount = 0 where order_detail_id = 1")
    with pytest.raises(CheckError, match=r"equal_sums.* failed: .*nothing downstream was changed") as error:
        batch.validate(DAY_2)
    assert "\n" not in str(error.value)
    assert {table: in_clickhouse(published, table) for table in TABLES} == before


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (
            "update warehouse.dim_customers set is_current = true, valid_to_at = timestamp '2100-01-01' where customer_id = 1",
            "one_current_row",
        ),
        ("update warehouse.dim_customers set valid_to_at = timestamp_add(valid_to_at, interval 1 hour) where not is_current", "no_gaps"),
        ("insert into warehouse.fact_sales select * from warehouse.fact_sales", "unique"),
        ("update warehouse.fact_sales set product_key = 5 where true", "relationships"),
        ("update warehouse.total_sales set sales_quantity = 0 where true", "equal_sums"),
        ("update warehouse.fact_sales set customer_key = null where true", "not_null"),
    ],
)
def test_each_kind_of_fault_in_the_warehouse_fails_its_check(
    small_shop: Connection, lake: Lake, warehouse: Any, damage: str, check: str
) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    extract(days(DAY_1))
    put(small_shop, "customers", 1, at(DAY_2), name="Mai")
    extract(days(DAY_2))
    load()
    transform()
    assert all(c.passed for c in batch.validate(DAY_2).checks)
    rows(warehouse, damage)
    with pytest.raises(CheckError):
        batch.validate(DAY_2)
    assert [c for c in run_tests() if not c.passed and c.stops and c.failing and c.sample and c.name.startswith(check)]
