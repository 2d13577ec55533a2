"""The seam between batch and speed layer: at every moment at which the mirror is caught up, each unified view is PostgreSQL's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from rainbow.olap import serving
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.serving import serve
from rainbow.olap.serving.forms import There, look
from tests.integration.mirroring import Batch, Mirrored, Seam, shown, watch
from tests.integration.small_shop import DAY_1, DAY_2, DAY_3, DAY_4, at, delete, open_shop, put, sell

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services


@pytest.fixture
def seam(small_shop: Connection) -> Iterator[Seam]:
    """A shop with two members of each dimension and two days of sales; no mirror and no batch yet."""
    client = connect_clickhouse()
    forget(client)
    watch(small_shop)
    yield opened(small_shop, client)
    forget(client)
    client.close()


def forget(client: Any) -> None:
    """Drop what a seam has in ClickHouse."""
    for database in ("batch", "mirror", "serving"):
        client.command(f"drop database if exists {database} sync")


def opened(shop: Connection, client: Any) -> Seam:
    """Fill a shop without rows."""
    with shop.transaction():
        open_shop(shop)
        for table in ("categories", "sellers", "customers", "payments"):
            put(shop, table, 2, at(DAY_1, -48), name=f"second of {table}")
        put(shop, "products", 2, at(DAY_1, -48), category_id=2, seller_id=2)
        sell(shop, 1, at(DAY_1), lines=[1, 2])
        sell(shop, 3, at(DAY_2), lines=[3], product_id=2)
    return Seam(shop, Mirrored(shop, client), Batch(shop, client))


@pytest.fixture
def running(seam: Seam) -> Seam:
    """The same with a mirror from before, and both days published."""
    seam.mirror.begin()
    seam.batch.extract(DAY_1, DAY_2).publish()
    seam.right()
    assert seam.from_batch() == {DAY_1, DAY_2}
    return seam


def test_without_a_mirror_the_views_are_the_batchs_and_without_a_batch_the_mirrors(seam: Seam) -> None:
    seam.batch.extract(DAY_1, DAY_2).publish()
    assert set(serve(seam.mirror.client).values()) == {"batch"}
    seam.mirror.client.command("drop database batch sync")
    seam.mirror.begin()
    assert set(serve(seam.mirror.client).values()) == {"mirror"}
    seam.batch.seen.clear()
    seam.right()


def test_a_mirror_that_is_not_complete_is_not_shown(seam: Seam) -> None:
    seam.batch.extract(DAY_1, DAY_2).publish()
    seam.mirror.begin(complete=False)
    assert set(serve(seam.mirror.client).values()) == {"batch"}
    assert len(shown(seam.mirror.client, "total_sales")) == 2


def test_a_view_is_replaced_only_when_its_text_differs(running: Seam) -> None:
    made = "select name, uuid from system.tables where database = 'serving'"
    before = running.mirror.client.query(made).result_rows
    serve(running.mirror.client)
    assert running.mirror.client.query(made).result_rows == before


def test_views_that_are_made_while_another_publishes_end_as_what_is_published_wants(running: Seam, monkeypatch: pytest.MonkeyPatch) -> None:
    client, view = running.mirror.client, "_touched_top_sellers"
    running.batch.extract(DAY_3)
    client.command(f"create or replace view serving.{view} as select today() as day comment 'of an earlier version'")
    published: list[bool] = []

    def look_before(clickhouse: Any) -> There:
        there = look(clickhouse)
        if not published:
            published.append(True)
            running.batch.publish()
        return there

    with monkeypatch.context() as patch:
        patch.setattr(serving, "look", look_before)
        serve(client)
    made = client.query("select name, uuid, comment from system.tables where database = 'serving'").result_rows
    serve(client)
    assert client.query("select name, uuid, comment from system.tables where database = 'serving'").result_rows == made
    sell(running.shop, 10, at(DAY_3, 23))
    running.right()


def test_a_batch_older_than_the_mirrors_snapshot_is_not_used_until_the_next(seam: Seam) -> None:
    seam.batch.extract(DAY_1, DAY_2).publish()
    delete(seam.shop, "orderdetails", 2, at(DAY_2, 13))
    seam.mirror.begin()
    seam.right()
    assert seam.from_batch() == set()
    seam.batch.extract(DAY_2).publish()
    seam.right()
    assert seam.from_batch() == {DAY_1, DAY_2}


def test_an_order_on_the_watermarks_day_comes_from_the_mirror(running: Seam) -> None:
    sell(running.shop, 10, at(DAY_2, 23))
    running.right()
    assert running.from_batch() == {DAY_1}


def test_a_new_day_comes_from_the_mirror_and_then_from_the_batch(running: Seam) -> None:
    sell(running.shop, 10, at(DAY_3))
    running.right()
    assert running.from_batch() == {DAY_1, DAY_2}
    running.batch.extract(DAY_3).publish()
    running.right()
    assert running.from_batch() == {DAY_1, DAY_2, DAY_3}


def test_an_order_changed_after_the_watermark_touches_its_day(running: Seam) -> None:
    put(running.shop, "orders", 1, at(DAY_3), customer_id=2)
    running.right()
    assert running.from_batch() == {DAY_2}


def test_a_row_changed_between_midnight_and_the_snapshot_touches_its_day(seam: Seam) -> None:
    seam.mirror.begin()
    put(seam.shop, "orderdetails", 1, at(DAY_3, 0.1), amount="5.00")
    seam.batch.extract(DAY_1, DAY_2).publish()
    seam.right()
    assert seam.from_batch() == {DAY_2}


def test_a_row_changed_between_midnight_and_the_snapshot_before_the_mirror_began_touches_its_day(seam: Seam) -> None:
    seam.batch.extract(DAY_1)
    put(seam.shop, "orders", 1, at(DAY_3, 0.1), created_at=at(DAY_2))
    delete(seam.shop, "orderdetails", 2, at(DAY_3, 0.1))
    seam.mirror.begin()
    seam.batch.extract(DAY_2).publish()
    seam.right()
    assert seam.from_batch() == set()


def test_a_row_changed_twice_once_before_the_mirror_and_once_in_the_gap(seam: Seam) -> None:
    seam.batch.extract(DAY_1)
    put(seam.shop, "orders", 1, at(DAY_2, 13), created_at=at(DAY_2))
    seam.mirror.begin()
    put(seam.shop, "orders", 1, at(DAY_3, 0.1), customer_id=2)
    seam.batch.extract(DAY_2).publish()
    seam.right()
    assert seam.from_batch() == set()


def test_a_deleted_order_leaves_its_day(running: Seam) -> None:
    for line in (1, 2):
        delete(running.shop, "orderdetails", line, at(DAY_3))
    delete(running.shop, "orders", 1, at(DAY_3))
    running.right()
    assert shown(running.mirror.client, "total_sales")[0]["sales_date"] == DAY_2


def test_a_line_that_moves_to_another_day_touches_both(running: Seam) -> None:
    put(running.shop, "orderdetails", 2, at(DAY_3), order_id=3)
    running.right()
    assert running.from_batch() == set()


def test_an_order_that_moves_takes_its_lines_along(running: Seam) -> None:
    put(running.shop, "orders", 1, at(DAY_3), created_at=at(DAY_2))
    running.right()
    put(running.shop, "orders", 1, at(DAY_3, 13), created_at=at(DAY_3))
    running.right()


def test_a_product_that_changes_category_between_two_sales(running: Seam) -> None:
    put(running.shop, "products", 1, at(DAY_3, 10), category_id=2)
    sell(running.shop, 10, at(DAY_3, 9))
    sell(running.shop, 11, at(DAY_3, 11))
    running.right()
    running.batch.extract(DAY_3).publish()
    put(running.shop, "products", 1, at(DAY_3, 34), seller_id=2)
    sell(running.shop, 12, at(DAY_3, 33))
    sell(running.shop, 13, at(DAY_3, 35))
    running.right()
    assert running.from_batch("top_sellers") == {DAY_1, DAY_2, DAY_3}


def test_a_late_product_version_touches_the_days_from_its_moment_on(running: Seam) -> None:
    put(running.shop, "products", 1, at(DAY_2, 1), category_id=2)
    sell(running.shop, 10, at(DAY_2, 2))
    running.right()
    put(running.shop, "products", 2, at(DAY_2, 0), seller_id=1)
    running.right()
    running.batch.extract(DAY_2).publish()
    running.right()


def test_a_version_overwritten_before_the_extract_is_known_to_the_mirror_alone(seam: Seam) -> None:
    seam.mirror.begin()
    put(seam.shop, "products", 1, at(DAY_1, 10), category_id=2)
    put(seam.shop, "products", 1, at(DAY_1, 13), category_id=1)
    seam.batch.extract(DAY_1, DAY_2).publish()
    seam.right()
    assert seam.from_batch("top_sellers") == {DAY_2}
    assert seam.from_batch() == {DAY_1, DAY_2}


def test_a_category_that_is_renamed_is_no_version_of_its_products(seam: Seam) -> None:
    seam.mirror.begin()
    put(seam.shop, "products", 1, at(DAY_1, 10), category_id=2)
    put(seam.shop, "categories", 1, at(DAY_1, 11), name="renamed")
    sell(seam.shop, 10, at(DAY_1, 12))
    put(seam.shop, "products", 1, at(DAY_1, 13), category_id=1)
    seam.right()
    seam.batch.extract(DAY_1, DAY_2).publish()
    seam.right()


def test_a_category_that_is_renamed_after_a_moment_that_a_product_is_said_to_have_moved_at(running: Seam) -> None:
    put(running.shop, "categories", 1, at(DAY_3, 11), name="renamed")
    running.batch.extract(DAY_3).publish()
    put(running.shop, "products", 1, at(DAY_3, 10), category_id=2)
    sell(running.shop, 10, at(DAY_3, 12))
    sell(running.shop, 11, at(DAY_4, 12))
    running.right()
    running.batch.extract(DAY_3, DAY_4).publish()
    running.right()


def test_members_first_seen_after_midnight_are_known_to_the_mirror(seam: Seam) -> None:
    seam.mirror.begin()
    put(seam.shop, "customers", 7, at(DAY_2, 1), name="Seven")
    put(seam.shop, "payments", 7, at(DAY_2, 1), name="Seventh")
    put(seam.shop, "products", 7, at(DAY_2, 1), category_id=2)
    put(seam.shop, "orders", 7, at(DAY_2, 2), customer_id=7, payment_id=7)
    put(seam.shop, "orderdetails", 7, at(DAY_2, 2), order_id=7, product_id=7)
    for table in ("customers", "payments", "products"):
        put(seam.shop, table, 7, at(DAY_3, 0.1), name="renamed")
    seam.batch.extract(DAY_1, DAY_2).publish()
    seam.right()
    seam.batch.extract(DAY_3)
    seam.batch.publish("dim_products", "dim_customers", "dim_payments")
    seam.right()
    seam.batch.publish()
    seam.right()


def test_names_are_those_of_now(running: Seam) -> None:
    for table in ("customers", "sellers", "payments", "products", "categories"):
        put(running.shop, table, 1, at(DAY_3), name=f"{table} renamed")
    running.right()


def test_a_member_that_gets_its_old_name_back_has_it_on_both_sides(running: Seam) -> None:
    for name in ("renamed", "second of sellers"):
        for table in ("sellers", "products"):
            put(running.shop, table, 2, at(DAY_3), name=name)
        running.right()
    put(running.shop, "orderdetails", 3, at(DAY_3), amount="7.00")
    running.right()


def test_members_that_the_batch_alone_knows_keep_their_names(seam: Seam) -> None:
    put(seam.shop, "products", 1, at(DAY_1, -1), category_id=2, seller_id=2)
    seam.batch.extract(DAY_1)
    for product in (1, 2):
        put(seam.shop, "products", product, at(DAY_2, 1), category_id=1, seller_id=1)
    for table in ("categories", "sellers"):
        delete(seam.shop, table, 2, at(DAY_2, 2))
    seam.mirror.begin()
    seam.batch.extract(DAY_2).publish()
    for changed in (False, True):
        if changed:
            put(seam.shop, "orderdetails", 1, at(DAY_3), amount="7.00")
        seam.mirror.catch_up()
        assert (DAY_1 in seam.from_batch()) is not changed
        sellers, products = (shown(seam.mirror.client, view) for view in ("top_sellers", "top_products_by_category"))
        assert {row["seller"] for row in sellers if row["sales_date"] == DAY_1} == {"second of sellers"}
        assert {row["category"] for row in products if row["sales_date"] == DAY_1} == {"second of categories"}


def test_a_batch_in_the_middle_of_the_stream(running: Seam) -> None:
    for number in range(10, 16):
        sell(running.shop, number, at(DAY_2, number))
        if number == 12:
            running.batch.extract(DAY_2).publish()
        running.right()


def test_a_view_is_swapped_while_the_next_is_not(running: Seam) -> None:
    sell(running.shop, 10, at(DAY_3))
    put(running.shop, "orderdetails", 1, at(DAY_3), amount="7.00")
    put(running.shop, "products", 1, at(DAY_1, 1), category_id=2)
    running.batch.extract(DAY_3)
    for name in ("dim_products", "dim_customers", "total_sales", "top_products_by_category", "customer_ranking"):
        running.batch.publish(name)
        running.right()
    running.batch.publish()
    running.right()


def test_products_are_published_before_the_view_and_the_mirror_know_that_one_moved(running: Seam) -> None:
    put(running.shop, "products", 1, at(DAY_1, 1), category_id=2)
    running.batch.extract(DAY_3)
    running.batch.publish("dim_products")
    running.right()
    running.batch.publish()
    running.right()


def test_a_product_that_moves_back_within_one_moment_or_before_what_is_known(running: Seam) -> None:
    for hour in (0, 10, 12, 14):
        sell(running.shop, 20 + hour, at(DAY_3, hour))
    for hour, category in ((11, 2), (11, 1), (13, 2), (9, 2), (11, 2), (11, 1), (13, 1)):
        put(running.shop, "products", 1, at(DAY_3, hour), category_id=category)
        running.right()
    running.batch.extract(DAY_3).publish()
    running.right()


def test_a_batch_that_failed_leaves_a_hole_that_the_mirror_fills(running: Seam) -> None:
    sell(running.shop, 10, at(DAY_3))
    sell(running.shop, 11, at(DAY_3 + timedelta(days=1)))
    running.batch.extract(DAY_3 + timedelta(days=1)).publish()
    running.right()
    assert running.from_batch() == {DAY_1, DAY_2}
    running.batch.extract(DAY_3).publish()
    running.right()
    assert len(running.from_batch()) == 4


def test_a_transaction_open_across_the_snapshot(running: Seam) -> None:
    with psycopg.connect(running.shop.info.dsn, password=running.shop.info.password) as open_one:
        put(open_one, "orders", 20, at(DAY_2, 20))
        put(open_one, "orderdetails", 20, at(DAY_2, 20), order_id=20)
        put(open_one, "orderdetails", 1, at(DAY_2, 20), amount="9.00")
        sell(running.shop, 21, at(DAY_2, 21))
        running.batch.extract(DAY_2).publish()
        running.right()
        open_one.commit()
    running.right()
    assert running.from_batch() == set()
    running.batch.extract(DAY_3).publish()
    running.right()
    assert running.from_batch() == {DAY_1, DAY_2}


def test_rows_older_than_the_first_partition_are_the_mirrors(seam: Seam) -> None:
    sell(seam.shop, 30, at(DAY_1, -5))
    put(seam.shop, "orders", 31, at(DAY_1, -5), created_at=at(DAY_1, 5))
    put(seam.shop, "orderdetails", 31, at(DAY_1, 5), order_id=31)
    put(seam.shop, "orderdetails", 32, at(DAY_1, -5), order_id=3)
    put(seam.shop, "orderdetails", 33, at(DAY_2, 5), order_id=30)
    seam.mirror.begin()
    seam.batch.extract(DAY_1, DAY_2).publish()
    seam.right()
    assert seam.from_batch() == set()


def test_the_unified_views_have_the_columns_and_types_of_the_batchs(running: Seam) -> None:
    for view in (
        "total_sales",
        "day_of_week_with_most_sales",
        "top_sellers",
        "top_products_by_category",
        "payment_methods",
        "customer_ranking",
    ):
        described = [running.mirror.client.query(f"describe {db}.{view}").result_columns[:2] for db in ("batch", "serving")]
        assert described[0] == described[1], view
