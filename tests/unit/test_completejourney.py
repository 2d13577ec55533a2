"""The Complete Journey as a shop: every line arrives, to the cent; a day is the same however it is reached."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rainbow.datasets.completejourney import FIRST_DAY, LAST_DAY, CompleteJourney
from rainbow.datasets.completejourney.campaigns import COUPON, LOYALTY
from rainbow.datasets.completejourney.files import read, read_lines, unit_price
from rainbow.datasets.shop import Rows, start_of

START = date(2017, 11, 23)
CHRISTMAS = date(2017, 12, 25)


@pytest.fixture(scope="module")
def shop() -> CompleteJourney:
    return CompleteJourney(seed=1)


@pytest.fixture(scope="module")
def whole(shop: CompleteJourney) -> Rows:
    return shop.whole()


def cents(values: pa.ChunkedArray) -> int:
    return int(pc.sum(values).as_py() * 100)


def test_every_line_arrives_and_the_year_is_right_to_the_cent(shop: CompleteJourney, whole: Rows) -> None:
    lines = whole["orderdetails"]
    assert (lines.num_rows, whole["orders"].num_rows, whole["customers"].num_rows) == (1_469_307, 155_848, 2_469)
    assert (cents(lines["amount"]), cents(lines["discount"])) == (539_223_287, 82_255_319)
    assert cents(lines["amount"]) - cents(lines["discount"]) == 456_967_968
    assert (str(shop.totals.gross), str(shop.totals.discount), str(shop.totals.net)) == ("5392232.87", "822553.19", "4569679.68")
    assert shop.rejected == ()


def test_a_line_says_what_the_file_says(whole: Rows) -> None:
    """Amounts by decimal arithmetic on the file's own numbers, for a line in every two thousand."""
    file = read("transactions")
    for n in range(0, file.num_rows, 2_000):
        row, line = file.slice(n, 1).to_pylist()[0], whole["orderdetails"].slice(n, 1).to_pylist()[0]
        sales, retail, coupon, match = (
            Decimal(str(row[c])).quantize(Decimal("0.01")) for c in ("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc")
        )
        amount, pieces = sales + retail + match, max(row["quantity"], 1)
        assert line["amount"] == amount
        assert line["discount"] == retail + coupon + match
        assert line["price"] == (amount / pieces).quantize(Decimal("0.0001"), ROUND_HALF_UP)
        assert (line["id"], line["order_id"], line["product_id"], line["quantity"]) == (
            n + 1,
            row["basket_id"],
            row["product_id"],
            row["quantity"],
        )
        assert line["created_at"] == line["updated_at"] == row["transaction_timestamp"].replace(tzinfo=UTC)


def test_products_missing_from_the_product_table_are_there_as_placeholders(shop: CompleteJourney, whole: Rows) -> None:
    products = whole["products"]
    placeholders = products.filter(pc.starts_with(products["name"], "Not in the product table"))
    assert placeholders.num_rows == shop.products.placeholders == 17
    assert set(placeholders["brand_id"].to_pylist()) == {None}
    assert pc.sum(pc.is_in(whole["orderdetails"]["product_id"], placeholders["id"].combine_chunks())).as_py() == 4_836


def test_every_reference_is_there(whole: Rows) -> None:
    for child, column, parent in (
        ("orderdetails", "order_id", "orders"),
        ("orderdetails", "product_id", "products"),
        ("orderdetails", "promotion_id", "promotions"),
        ("orders", "customer_id", "customers"),
        ("orders", "payment_id", "payments"),
        ("products", "seller_id", "sellers"),
        ("products", "category_id", "categories"),
        ("products", "brand_id", "brands"),
        ("inventories", "product_id", "products"),
    ):
        used = pc.unique(whole[child][column].drop_null())
        assert pc.all(pc.is_in(used, whole[parent]["id"].combine_chunks())).as_py(), (child, column)


def test_the_days_together_are_the_year(shop: CompleteJourney) -> None:
    lines = [shop._lines_of(day) for day in shop.days]
    assert lines[0].start == 0
    assert lines[-1].stop == len(shop.lines)
    assert all(before.stop == after.start for before, after in pairwise(lines))
    assert [day for day, of_day in zip(shop.days, lines, strict=True) if of_day.start == of_day.stop] == [CHRISTMAS]


def test_a_day_has_the_orders_and_lines_that_the_whole_has(shop: CompleteJourney, whole: Rows) -> None:
    for day in (START, date(2017, 12, 3)):
        happened = shop.day(day, START)
        since, until = (
            pa.scalar(datetime.combine(d, datetime.min.time(), UTC), pa.timestamp("us", "UTC")) for d in (day, day + timedelta(1))
        )
        for table in ("orders", "orderdetails"):
            at = whole[table]["created_at"]
            of_day = whole[table].filter(pc.and_(pc.greater_equal(at, since), pc.less(at, until)))
            assert happened.orders[table].sort_by("id").equals(of_day.sort_by("id")), (table, day)


def test_christmas_is_a_day_on_which_nothing_happens(shop: CompleteJourney) -> None:
    happened = shop.day(CHRISTMAS, START)
    assert (happened.members, happened.updates, happened.orders, happened.deletes) == ({}, (), {}, ())


def test_all_that_happens_on_a_day_is_dated_within_it(shop: CompleteJourney) -> None:
    for day in (START, date(2017, 12, 10), date(2017, 12, 26)):
        happened = shop.day(day, START)
        tables = [*happened.members.values(), *happened.orders.values(), *(update.rows for update in happened.updates)]
        moments = {moment.date() for rows in tables for moment in rows["updated_at"].to_pylist()} | {d.at.date() for d in happened.deletes}
        assert moments == {day}


def test_nothing_in_a_baseline_is_younger_than_its_start(shop: CompleteJourney) -> None:
    for name, rows in shop.baseline(START).items():
        for column in ("created_at", "updated_at"):
            assert pc.max(rows[column]).as_py() < datetime.combine(START, datetime.min.time(), UTC), (name, column)


def test_a_day_does_not_depend_on_the_days_made_before_it(shop: CompleteJourney) -> None:
    day = date(2017, 12, 12)
    first = shop.day(day, START)
    shop.day(START, START)
    other = CompleteJourney(seed=1)
    other.__dict__.update(_read=shop._read, products=shop.products, history=shop.history, campaigns=shop.campaigns)
    assert other.day(day, START) == first


def test_another_seed_changes_what_is_made_up_and_nothing_else(shop: CompleteJourney, whole: Rows) -> None:
    other = CompleteJourney(seed=2)
    other.__dict__.update(_read=shop._read, products=shop.products, campaigns=shop.campaigns)
    rows = other.whole()
    assert rows["orderdetails"].equals(whole["orderdetails"])
    assert rows["orders"].drop_columns("payment_id").equals(whole["orders"].drop_columns("payment_id"))
    assert not rows["orders"]["payment_id"].equals(whole["orders"]["payment_id"])
    assert rows["products"]["price"].equals(whole["products"]["price"])
    assert not rows["products"]["rating_average"].equals(whole["products"]["rating_average"])


def test_a_product_is_what_its_lines_until_then_make_it(shop: CompleteJourney) -> None:
    """Price, price before a reduction and pieces sold, counted line by line for some products, against the baseline."""
    products = shop.baseline(START)["products"]
    picked = {
        row["id"]: row for row in products.filter(pc.greater(products["sold_count"], 5)).take(list(range(0, 25_000, 500))).to_pylist()
    }
    sold: dict[int, int] = defaultdict(int)
    price: dict[int, int] = {}
    original: dict[int, int | None] = defaultdict(lambda: None)
    lines = shop.lines[np.isin(shop.lines.product, list(picked)) & (shop.lines.at < start_of(START))]
    for product, quantity, unit, amount in zip(
        *(v.tolist() for v in (lines.product, lines.quantity, lines.price, lines.amount)), strict=True
    ):
        sold[product] += quantity
        if quantity and amount:
            if unit != price.get(product, unit):
                original[product] = price[product] if unit < price[product] else None
            price[product] = unit
    for product, row in picked.items():
        assert row["sold_count"] == sold[product]
        assert row["price"] == Decimal(price[product]) / 10_000
        before = original[product]
        assert row["original_price"] == (None if before is None else Decimal(before) / 10_000)


def test_a_line_is_a_promotions_only_if_something_was_taken_off(shop: CompleteJourney) -> None:
    lines, promotion = shop.lines, shop.campaigns.of_lines
    assert ((promotion > 0) == (lines.discount > 0)).all()
    assert (lines.coupon[(promotion > 0) & (promotion != LOYALTY)] > 0).all()
    assert (lines.coupon[promotion == LOYALTY] == 0).all()
    by_campaign = (promotion > 0) & (promotion < LOYALTY)
    assert 1_000 < by_campaign.sum() < (promotion == COUPON).sum()


def test_a_campaign_lowers_lines_only_while_it_is_there(shop: CompleteJourney) -> None:
    began = {c.id: start_of(c.start) for c in shop.campaigns.campaigns}
    for campaign, begin in began.items():
        assert (shop.lines.at[shop.campaigns.of_lines == campaign] >= begin).all()


@pytest.mark.parametrize(
    ("cents_", "quantity", "price"), [(100, 3, 3_333), (200, 3, 6_667), (100, 0, 10_000), (84_000, 89_638, 94), (1, 200, 1), (0, 5, 0)]
)
def test_a_unit_price_is_rounded_half_up_to_the_hundredth_of_a_cent(cents_: int, quantity: int, price: int) -> None:
    assert unit_price(np.array([cents_]), np.array([quantity])).tolist() == [price]


def test_a_line_that_cannot_be_taken_is_listed_with_its_number_and_reason() -> None:
    table = read("transactions").slice(0, 6)

    def with_value(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value
        return table.set_column(table.schema.get_field_index(column), column, pa.array(values, table[column].type))

    table = with_value(table, "quantity", 1, -1)
    table = with_value(table, "product_id", 2, None)
    table = with_value(table, "sales_value", 4, 1.005)
    lines, rejected = read_lines(table)
    assert [(r.line, r.reason) for r in rejected] == [
        (2, "quantity is below 0"),
        (3, "product_id is missing"),
        (5, "sales_value is not in whole cents"),
    ]
    assert lines.number.tolist() == [1, 4, 6]


def test_the_first_and_last_days_are_those_of_the_file(shop: CompleteJourney) -> None:
    days = shop.lines.at[[0, -1]].astype("datetime64[us]").astype("datetime64[D]").tolist()
    assert days == [FIRST_DAY, LAST_DAY]
