"""Replaying: a day is one transaction, and the same whether it is replayed alone, among others, or after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from rainbow.datasets import open_dataset, replay, replay_day, replay_state, seed
from rainbow.datasets.replaying import ReplayedDay
from rainbow.datasets.seeding import totals_in
from rainbow.datasets.shop import Dataset
from rainbow.errors import DataError
from rainbow.settings import Settings, settings
from rainbow.source.connection import connect
from rainbow.source.tables import TABLES
from tests.integration.conftest import new_database

Connection = psycopg.Connection[Any]

SMALL = open_dataset("synthetic", 1, 0.001)
FIRST, LAST = SMALL.days[0], SMALL.days[-1]
EIGHTH = SMALL.days[7]


@pytest.fixture(scope="module")
def one_database(stack: Settings) -> Iterator[str]:
    """A database for all tests of this module, which begin by emptying it; the settings name it."""
    with new_database(stack.url_of("postgres")) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAINBOW_POSTGRES_URL", url)
        settings.cache_clear()
        yield url
        patch.undo()
        settings.cache_clear()


@pytest.fixture
def shop(one_database: str) -> Iterator[Connection]:
    with connect() as connection:
        yield connection


def begin(connection: Connection, dataset: Dataset, start: date) -> None:
    """The shop as it was when ``start`` began."""
    seed(connection, dataset, start=start, reset=True)


def contents(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the shop, its deletions and the state of the replay."""
    tables = {table.name: "id" for table in TABLES} | {"deletions": "table_name, row_id, deleted_at", "rainbow_demo.replay": "single"}
    return {name: connection.execute(f"select * from {name} order by {order}").fetchall() for name, order in tables.items()}


def at_once(connection: Connection, until: date, seed_number: int = 1) -> dict[str, list[tuple[Any, ...]]]:
    """What the shop holds after one replay from the first day to ``until``."""
    begin(connection, open_dataset("synthetic", seed_number, 0.001), FIRST)
    replay(connection, until)
    found = contents(connection)
    connection.commit()
    return found


def test_days_one_by_one_are_the_days_at_once(shop: Connection) -> None:
    together = at_once(shop, EIGHTH)
    begin(shop, SMALL, FIRST)
    for day in SMALL.days[:8]:
        replay(shop, day)
    assert contents(shop) == together


def test_a_replay_to_the_end_is_the_whole(shop: Connection) -> None:
    lived = at_once(shop, LAST)
    seed(shop, SMALL, reset=True)
    whole = contents(shop)
    for table in TABLES:
        assert lived[table.name] == whole[table.name], table.name


def test_a_replay_from_the_middle_goes_on_like_one_from_the_start(shop: Connection) -> None:
    lived = at_once(shop, EIGHTH)
    begin(shop, SMALL, EIGHTH)
    replay(shop, EIGHTH)
    late = contents(shop)
    for table in ("brands", "sellers", "customers", "promotions", "products", "inventories"):
        assert late[table] == lived[table], table
    assert set(late["orders"]) < set(lived["orders"])


def test_the_same_seed_gives_the_same_rows_and_another_one_others(shop: Connection) -> None:
    first = at_once(shop, FIRST)
    assert at_once(shop, FIRST) == first
    assert at_once(shop, FIRST, seed_number=2)["products"] != first["products"]


def test_a_daily_extract_sees_as_many_versions_of_products_as_the_data_set_says(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    seen = set(shop.execute("select id, updated_at from products"))

    def look(done: ReplayedDay) -> None:
        seen.update(
            shop.execute(
                "select id, updated_at from products where updated_at >= %s and updated_at < %s", [done.day, done.day + timedelta(1)]
            )
        )

    replay(shop, LAST, on_progress=look)
    assert len(seen) == SMALL.versions  # type: ignore[attr-defined]


def test_all_that_a_day_changes_is_dated_within_it(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    for day in SMALL.days[:8]:
        before = {name: set(rows) for name, rows in contents(shop).items()}
        replay(shop, day)
        for table in TABLES:
            changed = set(contents(shop)[table.name]) - before[table.name]
            assert {row[-1].date() for row in changed} <= {day}, table.name
        noted = set(contents(shop)["deletions"]) - before["deletions"]
        assert {row[-1].date() for row in noted} <= {day}


def test_deletes_are_noted_at_the_days_moment(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    replay(shop, FIRST)
    gone = SMALL.day(FIRST, FIRST).deletes[0]
    noted = shop.execute("select table_name, row_id, deleted_at from deletions order by 1, 2").fetchall()
    assert noted == [(table, product, gone.at) for table in ("inventories", "products") for product in gone.products]


def test_a_product_that_left_returns_as_a_new_row(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    replay(shop, FIRST)
    gone = SMALL.day(FIRST, FIRST).deletes[0].products[0]
    assert shop.execute("select count(*) from products where id = %s", [gone]).fetchone() == (0,)
    replay(shop, FIRST + timedelta(5))
    midnight = datetime(2024, 8, 6, tzinfo=UTC)
    assert shop.execute("select created_at, updated_at from products where id = %s", [gone]).fetchone() == (midnight, midnight)


def test_a_day_that_is_in_already_changes_nothing(shop: Connection) -> None:
    before = at_once(shop, SMALL.days[2])
    assert replay(shop, FIRST) == []
    assert replay_day(shop, SMALL, SMALL.days[2]) is None
    assert contents(shop) == before


def test_a_day_is_not_left_out(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    with pytest.raises(DataError, match="2024-08-03 cannot be replayed now: the next day is 2024-08-01"):
        replay_day(shop, SMALL, SMALL.days[2])


@pytest.mark.parametrize("until", [date(2024, 7, 31), date(2024, 9, 7)])
def test_a_day_outside_the_replay_is_refused(shop: Connection, until: date) -> None:
    begin(shop, SMALL, FIRST)
    with pytest.raises(DataError, match=rf"{until} is not a day of this replay: it runs from 2024-08-01 to 2024-09-06"):
        replay(shop, until)


def test_another_data_set_than_the_shops_is_refused(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    with pytest.raises(DataError, match="does not hold synthetic with the seed 2"):
        replay_day(shop, open_dataset("synthetic", 2, 0.001), FIRST)


def test_a_shop_that_holds_the_whole_has_no_day_to_come(shop: Connection) -> None:
    seed(shop, SMALL, reset=True)
    assert replay(shop, LAST) == []


REPLAY = "import sys; from datetime import date; from rainbow.source.connection import connect; from rainbow.datasets import replay; "
REPLAY += "replay(connect(), date.fromisoformat(sys.argv[1]))"


def waiting(connection: Connection) -> bool:
    found = connection.execute("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()")
    return found.fetchone() != (0,)


def test_a_replay_killed_in_mid_day_goes_on_and_loses_and_doubles_nothing(shop: Connection) -> None:
    """A lock that we hold stops it when a part of the second day is written; then it is killed."""
    undisturbed = at_once(shop, SMALL.days[2])
    begin(shop, SMALL, FIRST)
    replay(shop, FIRST)
    before = contents(shop)
    shop.commit()
    sold = SMALL.day(SMALL.days[1], FIRST).orders["orderdetails"]["product_id"][0].as_py()
    shop.execute("select 1 from products where id = %s for update", [sold])
    replaying = subprocess.Popen([sys.executable, "-c", REPLAY, str(SMALL.days[2])])
    with connect(autocommit=True) as watching:
        deadline = time.monotonic() + 60
        while not waiting(watching):
            assert replaying.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(replaying.pid, signal.SIGKILL)
        replaying.wait()
        shop.rollback()
        while watching.execute(
            "select 1 from pg_stat_activity where datname = current_database() and pid not in (%s, %s) and backend_type = 'client backend'",
            [watching.info.backend_pid, shop.info.backend_pid],
        ).fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert contents(shop) == before
    shop.commit()
    replay(shop, SMALL.days[2])
    assert contents(shop) == undisturbed


def test_two_replays_at_a_time_put_each_day_in_once(shop: Connection) -> None:
    alone = at_once(shop, SMALL.days[3])
    begin(shop, SMALL, FIRST)
    both = [subprocess.Popen([sys.executable, "-c", REPLAY, str(SMALL.days[3])]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert contents(shop) == alone


def test_a_replay_that_loses_a_deadlock_tries_again(shop: Connection) -> None:
    """We hold a row of the stock and want one of the products, the replay the other way round; it waited first, so it is the one to lose."""
    undisturbed = at_once(shop, FIRST)
    begin(shop, SMALL, FIRST)
    sold = SMALL.day(FIRST, FIRST).orders["orderdetails"]["product_id"][0].as_py()
    shop.execute("select 1 from inventories where product_id = %s for update", [sold])
    with ThreadPoolExecutor(1) as pool, connect() as other, connect(autocommit=True) as watching:
        replaying = pool.submit(replay, other, FIRST)
        while not waiting(watching):
            assert not replaying.done()
            time.sleep(0.02)
        shop.execute("update products set name = name where id = %s", [sold])
        shop.commit()
        assert len(replaying.result(timeout=60)) == 1
    assert contents(shop) == undisturbed


def test_what_the_api_did_between_two_days_stays(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    replay(shop, FIRST)
    day = SMALL.days[1]
    sold = dict.fromkeys(SMALL.day(day, FIRST).orders["orderdetails"]["product_id"].to_pylist(), 0)
    product = next(iter(sold))
    lines = SMALL.day(day, FIRST).orders["orderdetails"].to_pylist()
    pieces = sum(line["quantity"] for line in lines if line["product_id"] == product)
    (before,) = shop.execute("select sold_count from products where id = %s", [product]).fetchone() or (0,)
    shop.execute("update products set sold_count = sold_count + 1000 where id = %s", [product])
    order = shop.execute(
        "insert into orders (customer_id, payment_id, created_at, updated_at) values (1, 1, now(), now()) returning id"
    ).fetchone()
    shop.commit()
    replay(shop, day)
    assert shop.execute("select sold_count from products where id = %s", [product]).fetchone() == (before + 1000 + pieces,)
    assert shop.execute("select count(*) from orders where id = %s", order).fetchone() == (1,)


def test_stock_stops_at_nothing(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    shop.execute("update inventories set quantity = 0")
    shop.commit()
    replay(shop, FIRST)
    assert shop.execute("select min(quantity) from inventories").fetchone() == (0,)


def test_a_product_that_someone_ordered_does_not_leave(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    stays, leaves = SMALL.day(FIRST, FIRST).deletes[0].products
    (order,) = shop.execute(
        "insert into orders (customer_id, payment_id, created_at, updated_at) values (1, 1, now(), now()) returning id"
    ).fetchone() or (0,)
    shop.execute(
        "insert into orderdetails (order_id, product_id, quantity, price, amount, discount, created_at, updated_at)"
        " values (%s, %s, 1, 5, 5, 0, now(), now())",
        [order, stays],
    )
    shop.commit()
    replay(shop, FIRST)
    assert {product for (product,) in shop.execute("select id from products where id = any(%s)", [[stays, leaves]])} == {stays}
    assert shop.execute("select count(*) from inventories where product_id = %s", [stays]).fetchone() == (1,)
    replay(shop, FIRST + timedelta(5))


def test_a_row_that_others_took_away_is_named_and_the_day_stays_out(shop: Connection) -> None:
    begin(shop, SMALL, FIRST)
    sold = SMALL.day(FIRST, FIRST).orders["orderdetails"]["product_id"][0].as_py()
    shop.execute("delete from inventories where product_id = %s", [sold])
    shop.execute("delete from products where id = %s", [sold])
    shop.commit()
    with pytest.raises(DataError, match=rf"2024-08-01 cannot be replayed.*\(product_id\)=\({sold}\)") as caught:
        replay(shop, FIRST)
    assert "\n" not in str(caught.value)
    assert replay_state(shop).done < FIRST
    assert totals_in(shop).lines == 0
