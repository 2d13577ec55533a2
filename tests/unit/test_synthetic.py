"""The made shop: always the same for a seed, in exactly the original's numbers, and sound in what it says."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from rainbow.datasets import open_dataset
from rainbow.datasets.shop import Rows
from rainbow.datasets.synthetic import Synthetic
from rainbow.errors import DataError

MEMBERS = {"brands": 19, "categories": 2, "sellers": 19, "customers": 101, "payments": 4, "promotions": 66}


@pytest.fixture(scope="module")
def full() -> Synthetic:
    return Synthetic(seed=1)


@pytest.fixture(scope="module")
def small() -> Synthetic:
    return Synthetic(seed=1, scale=0.001)


def digest(rows: Rows) -> str:
    total = hashlib.sha256()
    for name in sorted(rows):
        total.update(str([name, *([str(value) for value in row.values()] for row in rows[name].to_pylist())]).encode())
    return total.hexdigest()


def test_a_seed_is_one_shop_on_any_machine_and_with_any_version() -> None:
    assert digest(Synthetic(seed=7, scale=0.001).whole()) == "43a2afb631ff8d7e33eaaf51d14b42b526decbc3717e5229df01db08b7caf02e"


def test_another_seed_is_another_shop(small: Synthetic) -> None:
    other = Synthetic(seed=2, scale=0.001).whole()
    assert not other["orderdetails"]["product_id"].equals(small.whole()["orderdetails"]["product_id"])
    assert not other["customers"]["name"].equals(small.whole()["customers"]["name"])


def test_the_full_size_has_the_numbers_of_the_original(full: Synthetic) -> None:
    rows = full.whole()
    assert {name: rows[name].num_rows for name in MEMBERS} == MEMBERS
    assert (rows["orders"].num_rows, rows["orderdetails"].num_rows) == (220_343, 1_196_044)
    assert (full.days[0], full.days[-1], len(full.days)) == (date(2024, 8, 1), date(2024, 9, 6), 37)
    placed = full.sales.placed
    assert datetime(2024, 8, 1, tzinfo=UTC).timestamp() * 1e6 <= placed[0] < placed[-1] < datetime(2024, 9, 7, tzinfo=UTC).timestamp() * 1e6


def test_the_days_hold_510199_versions_of_products(full: Synthetic) -> None:
    versions = full.baseline(full.days[0])["products"].num_rows
    for day in full.days:
        happened = full.day(day, full.days[0])
        seen = pa.concat_tables(
            [happened.members["products"].select(["id"]), *(u.rows.select(["id"]) for u in happened.updates if u.table == "products")]
        )
        ids = seen["id"].to_numpy()
        assert len(np.unique(ids)) == len(ids), "one version of a product a day"
        versions += len(ids)
    assert versions == full.versions == 510_199


def test_sales_are_the_size_and_the_week_of_the_original(full: Synthetic) -> None:
    sales = full.sales
    assert sales.amount.sum() == pytest.approx(30.4e12, rel=0.03)
    assert sales.quantity.sum() == pytest.approx(4.43e6, rel=0.01)
    weekday = np.array([full.days[d].weekday() for d in range(37)])
    by_day = np.add.reduceat(sales.amount, sales.first_line[:-1])
    by_weekday = [int(by_day[weekday == d].sum()) for d in range(7)]
    assert np.argsort(by_weekday)[::-1].tolist() == [6, 3, 5, 4, 0, 1, 2], "Sunday, Thursday, Saturday, Friday, Monday, Tuesday, Wednesday"


def test_every_order_has_a_line_and_lines_follow_their_orders(small: Synthetic) -> None:
    sales = small.sales
    assert np.array_equal(np.unique(sales.order), np.arange(len(sales.placed)))
    assert (np.diff(sales.order) >= 0).all()


def test_orders_lie_within_their_day_and_in_time(small: Synthetic) -> None:
    for day in small.days:
        placed = small.day(day, small.days[0]).orders["orders"]["created_at"].to_pylist()
        assert {moment.date() for moment in placed} <= {day}
        assert placed == sorted(placed)


def test_nobody_orders_before_joining_and_nothing_is_sold_before_it_arrives(full: Synthetic) -> None:
    rows = full.whole()
    for parent, key, child in (
        ("customers", "customer_id", "orders"),
        ("products", "product_id", "orderdetails"),
        ("promotions", "promotion_id", "orderdetails"),
    ):
        made = np.full(rows[parent]["id"].to_numpy().max() + 1, np.iinfo(np.int64).max)
        made[rows[parent]["id"].to_numpy()] = rows[parent]["created_at"].cast(pa.int64()).to_numpy()
        used = rows[child].filter(rows[child][key].is_valid())
        assert (made[used[key].to_numpy()] <= used["created_at"].cast(pa.int64()).to_numpy()).all(), parent


def test_an_amount_is_price_times_pieces_and_a_discount_never_more(full: Synthetic) -> None:
    sales = full.sales
    assert (sales.amount == sales.price * sales.quantity).all()
    assert ((sales.discount >= 0) & (sales.discount <= sales.amount)).all()
    assert (sales.discount[sales.promotion == 0] == 0).all()
    assert (sales.discount[sales.promotion > 0] > 0).all()


def test_a_baseline_in_mid_history_is_the_first_one_with_the_days_before(small: Synthetic) -> None:
    """Prices, ratings and counts at the start of a day are what the day before left."""
    start = small.days[9]
    products = small.baseline(start)["products"]
    changed = next(u for u in small.day(start - timedelta(1), small.days[0]).updates if u.table == "products").rows
    there = dict(zip(products["id"].to_pylist(), products.select(["price", "rating_average", "updated_at"]).to_pylist(), strict=True))
    for row in changed.select(["id", "price", "rating_average", "updated_at"]).to_pylist():
        assert there[row.pop("id")] == row


@pytest.mark.parametrize("scale", [0, -1, 1.5])
def test_a_size_that_cannot_be_made_is_refused(scale: float) -> None:
    with pytest.raises(DataError, match="cannot be made"):
        Synthetic(scale=scale)


def test_a_data_set_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"'nothing'.*completejourney, synthetic"):
        open_dataset("nothing")
