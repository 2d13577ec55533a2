"""The seam through the real chain: a shop is captured and mirrored while its days are extracted, loaded, transformed and published.

An audit trigger keeps every version of every row. Whenever the mirror is caught up, each unified view must be what follows from that
log and PostgreSQL's rows (``mirroring.truth``). The tests share one shop; each lives through days of its own, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import psycopg
import pytest

from rainbow.errors import DataError
from rainbow.lake.extract import extract
from rainbow.olap import publish as publishing
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.published import DIMENSIONS, VIEWS
from rainbow.olap.serving import serve
from rainbow.settings import Settings, settings
from rainbow.source.connection import connect
from rainbow.source.schema import create_schema, set_clock
from rainbow.warehouse.load import load
from rainbow.warehouse.transform import transform
from streaming.progress import wait_until_caught_up, written
from tests.conftest import _settings_of as settings_of
from tests.integration.change_events import forget_topics
from tests.integration.following import drop_slot, wait_until_mirrored
from tests.integration.history import forget
from tests.integration.mirror_story import Process, letters, processes
from tests.integration.mirroring import days_from_batch, in_order, next_day, shown, truth, watch
from tests.integration.small_shop import DAY_1, at, days, delete, open_shop, put, sell
from tests.integration.test_capture import database

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services

# a view that is not swapped, as the publish fails
FAILS = "top_products_by_category"

DATABASES = ("batch", "mirror", "serving")


@dataclass
class Chain:
    """A shop and what follows it. ``today``: the last day that a test has lived through; ``waiting``: days that are not in the batch yet;
    ``base``: a published day, of which the tests change the first line of the order ``first``."""

    shop: Connection
    clickhouse: Any
    capture: Process
    today: date = DAY_1
    orders: int = 100
    base: date = DAY_1
    first: int = 101
    waiting: set[date] = field(default_factory=set)

    def day(self) -> date:
        """A new day."""
        self.today = next_day(self.today)
        self.waiting.add(self.today)
        return self.today

    def sell(self, day: date, hour: float = 12, **line: Any) -> int:
        """An order of two lines; its id, which the first line has too, and the second 1000 more."""
        self.orders += 1
        sell(self.shop, self.orders, at(day, hour), lines=[self.orders, self.orders + 1000], **line)
        return self.orders

    def run(self, *partitions: date) -> None:
        """The batch of these days, all of its steps."""
        extract(days(min(partitions), max(partitions)))
        self.finish()

    def finish(self) -> None:
        """What follows the extract of all days that wait."""
        load()
        transform()
        publishing.publish()
        self.waiting.clear()

    def right(self) -> None:
        """Catch up, then hold each unified view against the log."""
        wait_until_caught_up(60)
        self.holds()

    def holds(self) -> None:
        versions = self.shop.execute(
            """select (after ->> 'id')::bigint, (after ->> 'updated_at')::timestamptz, seq,
                      (after ->> 'category_id')::bigint, (after ->> 'seller_id')::bigint
               from audit where name = 'products' and after is not null"""
        ).fetchall()
        for view, wanted in truth(self.shop, versions, DAY_1).items():
            assert in_order(shown(self.clickhouse, view)) == in_order(wanted), view

    def from_batch(self, view: str = "total_sales") -> set[date]:
        """Days that a unified view takes from the batch."""
        return days_from_batch(self.clickhouse, view)


@pytest.fixture(scope="module")
def made(stack: Settings, made_warehouse: Any, stream_home: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A shop with two members of each dimension and a first day that is published, followed by capture and mirror."""
    with settings_of(**stream_home):
        kafka = settings().url_of("kafka")
    lake = f"file://{tmp_path_factory.mktemp('seam')}/lake"
    with (
        database(stack.url_of("postgres")) as url,
        settings_of(stack.home, postgres_url=url, kafka_servers=kafka, lake_url=lake),
        connect(autocommit=True) as shop,
        closing(connect_clickhouse()) as clickhouse,
    ):
        forget_topics()
        forget(made_warehouse, "raw", "staging", "warehouse")
        for name in DATABASES:
            clickhouse.command(f"drop database if exists {name} sync")
        with shop.transaction():
            create_schema(shop)
        watch(shop)
        open_shop(shop)
        for table in ("categories", "sellers", "customers", "payments"):
            put(shop, table, 2, at(DAY_1, -48), name=f"second of {table}")
        for product in (2, 3):
            put(shop, "products", product, at(DAY_1, -48), category_id=2, seller_id=2)
        with processes(1, "capture") as (_, capture):
            chain = Chain(shop, clickhouse, capture)
            chain.sell(DAY_1)
            wait_until_mirrored()
            chain.run(DAY_1)
            yield chain
            assert letters() == []
        for name in DATABASES:
            clickhouse.command(f"drop database if exists {name} sync")


@pytest.fixture
def chain(made: Chain) -> Chain:
    """The same, with every day so far in the batch."""
    if made.waiting:
        made.run(*made.waiting)
    return made


def test_orders_that_come_change_move_and_go_before_and_after_their_day_is_published(chain: Chain) -> None:
    day, tomorrow = chain.day(), next_day(chain.today)
    came, changed, gone, moved, left = (chain.sell(day, 9 + n) for n in range(5))
    # between midnight and the extract's snapshot
    put(chain.shop, "orders", changed, at(tomorrow, 0.1), customer_id=2, payment_id=2)
    put(chain.shop, "orderdetails", came, at(tomorrow, 0.1), amount="3.00")
    chain.right()
    chain.run(day)
    chain.right()
    assert day not in chain.from_batch()
    assert chain.day() == tomorrow
    chain.sell(tomorrow)
    chain.run(tomorrow)
    assert {day, tomorrow} <= chain.from_batch()
    # on the watermark's day, after it was published
    chain.sell(tomorrow, 23)
    chain.right()
    assert {day, tomorrow} & chain.from_batch() == {day}
    # after the watermark
    put(chain.shop, "orderdetails", came, at(tomorrow, 34), amount="7.00")
    put(chain.shop, "orderdetails", moved, at(tomorrow, 35), order_id=chain.first)
    chain.right()
    assert not {chain.base, day, tomorrow} & chain.from_batch()
    put(chain.shop, "orders", left, at(tomorrow, 36), created_at=at(tomorrow, 1))
    for line in (gone, gone + 1000):
        delete(chain.shop, "orderdetails", line, at(tomorrow, 36))
    chain.right()
    delete(chain.shop, "orders", gone, at(tomorrow, 36))
    chain.run(chain.day())
    chain.right()
    assert {chain.base, tomorrow} <= chain.from_batch()


def test_a_line_that_gets_another_id_is_there_once_before_and_after_its_day_is_published(chain: Chain) -> None:
    day = chain.day()
    line = chain.sell(day)
    chain.run(day)
    moment = at(chain.day(), 9)
    with chain.shop.transaction():
        set_clock(chain.shop, moment)
        chain.shop.execute("update orderdetails set id = id + 500000, updated_at = %s where id = %s", [moment, line])
    chain.right()
    assert day not in chain.from_batch()
    chain.run(chain.today)
    chain.right()
    # the mirror may still have the day, since deletes that are replayed are younger than their day
    batch = chain.clickhouse.query("select sales_quantity from batch.total_sales where sales_date = %(day)s", {"day": day})
    (sold,) = chain.shop.execute("select sum(quantity) from orderdetails where order_id = %s", [line]).fetchone() or (None,)
    assert batch.result_rows == [(sold,)]


def test_products_that_change_category_or_seller_between_two_sales(chain: Chain) -> None:
    day, tomorrow = chain.day(), next_day(chain.today)
    put(chain.shop, "products", 2, at(day, 1), category_id=2, seller_id=2)
    chain.sell(day, 9, product_id=2)
    put(chain.shop, "products", 2, at(day, 10), category_id=1)
    chain.sell(day, 11, product_id=2)
    # overwritten before any extract: only what follows the stream knows it
    put(chain.shop, "products", 2, at(day, 12), seller_id=1)
    chain.sell(day, 13, product_id=2)
    put(chain.shop, "products", 2, at(tomorrow, 0.1), category_id=2, seller_id=2, name="renamed")
    chain.right()
    chain.run(day)
    chain.right()
    assert day in chain.from_batch()
    assert day not in chain.from_batch("top_sellers")
    assert chain.day() == tomorrow
    chain.sell(tomorrow, product_id=2)
    chain.run(tomorrow)
    chain.right()
    # a version that comes late, of a moment between two sales of a day that is published
    put(chain.shop, "products", 3, at(tomorrow, 13), category_id=1)
    chain.sell(tomorrow, 14, product_id=3)
    put(chain.shop, "products", 2, at(tomorrow, 11), seller_id=1)
    put(chain.shop, "categories", 2, at(tomorrow, 30), name="renamed too")
    chain.right()
    chain.run(chain.day())
    chain.right()


def test_a_transaction_that_is_open_across_the_extracts_snapshot_and_a_batch_in_the_middle_of_the_stream(chain: Chain) -> None:
    day = chain.day()
    first = chain.sell(day, 9)
    with connect() as open_one:
        put(open_one, "orders", first + 5000, at(day, 20))
        put(open_one, "orderdetails", first + 5000, at(day, 20), order_id=first + 5000)
        put(open_one, "orderdetails", first, at(day, 20), amount="9.00")
        put(open_one, "orderdetails", chain.first, at(day, 20), amount="8.00")
        for hour in (10, 11):
            chain.sell(day, hour)
            extract(days(day))
        chain.sell(day, 21)
        chain.finish()
        chain.right()
        assert chain.base in chain.from_batch()
        open_one.commit()
    chain.right()
    assert not {chain.base, day} & chain.from_batch()
    chain.run(chain.day())
    chain.right()
    assert {chain.base, day} <= chain.from_batch()


def test_a_view_is_swapped_while_the_next_is_not_and_a_batch_that_failed_at_any_step_changes_nothing(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = chain.day()
    put(chain.shop, "products", 1, at(day, 10), category_id=2)
    chain.sell(day, 9)
    chain.sell(day, 11)
    put(chain.shop, "orderdetails", chain.first, at(day, 12), amount=f"{day.day}.00")
    # a run that failed after its extract, and one that failed after its load
    extract(days(day))
    chain.right()
    load()
    with pytest.raises(DataError, match="not been transformed"):
        publishing.publish()
    chain.right()
    transform()
    wait_until_caught_up(60)
    swapped = []

    class OneByOne:
        """In place of the pool: after a swap the views are looked at, as they stand and as a mirror makes them anew; the last one fails."""

        def __init__(self, _workers: int) -> None: ...

        def __enter__(self) -> OneByOne:
            return self

        def __exit__(self, *_: object) -> None: ...

        def map(self, bring: Callable[[Any], int], tables: list[Any]) -> Iterator[int]:
            for table in tables:
                if table.model.name == FAILS:
                    serve(chain.clickhouse)
                    chain.holds()
                    raise ConnectionError("the end of this publish")
                yield bring(table)
                swapped.append(table.model.name)
                if table.model.name in ("dim_products", "total_sales", "top_sellers"):
                    chain.holds()

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "ThreadPoolExecutor", OneByOne)
        with pytest.raises(ConnectionError):
            publishing.publish()
    assert swapped == [*DIMENSIONS, *VIEWS][: len(swapped)]
    assert ("total_sales" in swapped, FAILS in swapped) == (True, False)
    publishing.publish()
    chain.right()
    assert {chain.base, day} <= chain.from_batch()
    chain.waiting.clear()


def test_a_day_that_was_left_out_is_the_mirrors_until_it_is_run(chain: Chain) -> None:
    day, tomorrow = chain.day(), chain.day()
    chain.sell(day)
    chain.sell(tomorrow)
    chain.run(tomorrow)
    chain.right()
    assert not {day, tomorrow} & chain.from_batch()
    chain.run(day)
    chain.right()
    assert {day, tomorrow} <= chain.from_batch()


def test_a_batch_older_than_a_new_initial_snapshot_is_not_used_until_the_next(chain: Chain) -> None:
    day = chain.day()
    order = chain.sell(day)
    chain.run(day)
    chain.capture.kill()
    drop_slot(chain.shop)
    # nobody follows this delete
    delete(chain.shop, "orderdetails", order, at(day, 30))
    chain.sell(day, 31)
    before = written(chain.shop)
    chain.capture.start()
    wait_until_mirrored(after=before)
    chain.holds()
    assert chain.from_batch() == set()
    # the snapshot's truncation, which is of today, has touched each day so far
    chain.base = chain.day()
    chain.first = chain.sell(chain.base)
    chain.run(chain.base)
    chain.right()
    assert chain.from_batch() == {chain.base}
