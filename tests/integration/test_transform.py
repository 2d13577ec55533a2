"""History that can be trusted: the star schema and the batch views of small histories, each by one rule of DESIGN.

Each test is a story: it says what extracts see, and each ``yield`` is an extract, its load and a transform. All stories are told
in step, each with ids and days of its own, so a transform costs once for all of them, and each is held apart from the others' changes.
After each step the whole warehouse is compared with what plain Python makes of the same observations.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from rainbow.warehouse.sql import rows
from tests.integration.history import END, History, Steps, Story, Told, contents, tell
from tests.integration.small_shop import BEFORE, DAY_1, DAY_2, DAY_3, DAY_4, at

pytestmark = pytest.mark.services

SPAN = ("valid_from_at", "valid_to_at", "is_current")

STORIES: list[Any] = []


def story(steps: Any) -> Any:
    """Make a test of a story: it fails where the story failed, or where its rows differed from what the rules make of them."""
    STORIES.append(steps)

    def test(told: Told) -> None:
        told.of(steps)

    test.__name__ = steps.__name__
    return test


@pytest.fixture
def history(warehouse: Any) -> History:
    """One history alone, for what needs days or ids of its own."""
    return History(warehouse)


@pytest.fixture(scope="module")
def told(made_warehouse: Any, request: pytest.FixtureRequest) -> Told:
    """All stories of this module that are asked for, told in step."""
    asked = {item.name for item in request.session.items}
    return tell(made_warehouse, [steps for steps in STORIES if steps.__name__ in asked])


def test_rows_that_belong_to_no_story_are_right_too(told: Told) -> None:
    assert told.unclaimed == []


@story
def test_a_member_seen_first_is_valid_from_its_updated_at_and_current(story: Story) -> Steps:
    story.see("customers", 1, at(DAY_1), name="Hoa", created_at=BEFORE)
    yield
    found = story.versions("customers", 1, "name", "valid_from", "valid_to", *SPAN)
    assert found == [("Hoa", DAY_1, date(2100, 1, 1), at(DAY_1), END, True)]


@story
def test_no_change_writes_no_row(story: Story) -> Steps:
    story.members(at(DAY_1))
    yield
    before = story.contents()
    story.members(at(DAY_2)).see("products", 1, at(DAY_3), price="10.5000")
    yield
    assert story.contents() == before


@story
def test_a_b_a_is_three_versions(story: Story) -> Steps:
    for day, name in ((DAY_1, "A"), (DAY_2, "B"), (DAY_3, "A")):
        story.see("customers", 1, at(day), name=name)
        yield
    assert story.versions("customers", 1, "name", *SPAN) == [
        ("A", at(DAY_1), at(DAY_2), False),
        ("B", at(DAY_2), at(DAY_3), False),
        ("A", at(DAY_3), END, True),
    ]


@story
def test_two_changes_in_a_day_are_two_versions_the_first_zero_days_long(story: Story) -> Steps:
    story.see("customers", 1, at(DAY_1, 9), name="A")
    yield
    story.see("customers", 1, at(DAY_1, 10), name="B")
    yield
    assert story.versions("customers", 1, "name", "valid_from", "valid_to") == [
        ("A", DAY_1, DAY_1),
        ("B", DAY_1, date(2100, 1, 1)),
    ]


@story
def test_two_contents_in_one_instant_are_two_versions_and_two_keys(story: Story) -> Steps:
    story.see("customers", 1, at(DAY_1), name="A")
    yield
    story.see("customers", 1, at(DAY_1), name="B")
    yield
    found = story.versions("customers", 1, "name", *SPAN, "customer_key")
    assert [row[:-1] for row in found] == [("A", at(DAY_1), at(DAY_1), False), ("B", at(DAY_1), END, True)]
    assert len({row[-1] for row in found}) == 2


@story
def test_one_change_closes_the_old_version_and_keeps_its_key(story: Story) -> Steps:
    story.see("customers", 1, at(DAY_1), name="A")
    yield
    ((key,),) = story.versions("customers", 1, "customer_key")
    story.see("customers", 1, at(DAY_2), name="B")
    yield
    assert story.versions("customers", 1, "name", "valid_from", "valid_to", *SPAN) == [
        ("A", DAY_1, DAY_2, at(DAY_1), at(DAY_2), False),
        ("B", DAY_2, date(2100, 1, 1), at(DAY_2), END, True),
    ]
    assert [found == key for (found,) in story.versions("customers", 1, "customer_key")] == [True, False]


def pairs(story: Story, *cases: tuple[str, Any, Any, int]) -> Steps:
    """A product a case, whose column has one value and then the other: as many versions as the case says."""
    for step in (0, 1):
        for key, (column, *values, _) in enumerate(cases, start=1):
            story.see("products", key, at((DAY_1, DAY_2)[step]), **{column: values[step]})
        yield
    found = {case: len(story.versions("products", key, "product_key")) for key, case in enumerate(cases, start=1)}
    assert found == {case: case[-1] for case in cases}


@story
def test_null_to_a_value_is_a_change_and_null_to_null_is_none(story: Story) -> Steps:
    yield from pairs(
        story,
        ("rating_average", None, "4.50", 2),
        ("review_count", None, 0, 2),
        ("brand_id", None, 1, 2),
        ("name", None, "~", 2),
        ("rating_average", None, None, 1),
        ("brand_id", None, None, 1),
    )


@story
def test_a_value_to_null_is_a_change(story: Story) -> Steps:
    yield from pairs(
        story, ("rating_average", "4.50", None, 2), ("review_count", 0, None, 2), ("brand_id", 1, None, 2), ("name", "~", None, 2)
    )


@story
def test_empty_text_is_not_null(story: Story) -> Steps:
    yield from pairs(story, ("name", "", None, 2), ("name", None, "", 2), ("name", "", "", 1))


@story
def test_text_is_equal_by_code_point(story: Story) -> Steps:
    yield from pairs(
        story,
        ("name", "Tea", "tea", 2),
        ("name", "TEA", "TEA", 1),
        ("name", "Tea", "Tea ", 2),
        ("name", "Tea", " Tea", 2),
        ("name", "", " ", 2),
        ("name", "Cà phê", "Ca\u0300 phe\u0302", 2),
        ("name", "Ca\u0300 phe\u0302", "Ca\u0300 phe\u0302", 1),
        ("name", "Đ", "D", 2),
        ("name", "Trà\n'đá' \\ \"x\"", "Trà\n'đá' \\ \"x\"", 1),
        # what a hash of texts that are put side by side could confuse
        ("name", "1:a", "a", 2),
        ("name", "4:NULL", "~", 2),
    )


@story
def test_numbers_are_equal_by_value(story: Story) -> Steps:
    yield from pairs(
        story,
        ("price", "10.5", "10.5000", 1),
        ("price", "10.5", "10.5001", 2),
        ("price", "0", "0.0000", 1),
        ("price", "0.3", "0.2999", 2),
        ("price", "12345678901234.5678", "12345678901234.5679", 2),
        ("rating_average", "4.5", "4.50", 1),
        ("rating_average", "4.99", "5", 2),
        ("review_count", 9007199254740992, 9007199254740993, 2),
    )


@story
def test_a_column_that_is_not_tracked_makes_no_version(story: Story) -> Steps:
    yield from pairs(story, ("original_price", "1.00", "2.00", 1), ("promotion_id", None, 1, 1))


@story
def test_a_row_that_an_extract_has_twice_is_one_version_and_a_line_counts_once(story: Story) -> Steps:
    for _ in range(2):
        story.members(at(DAY_1)).sale(1, at(DAY_1))
    yield
    for table in ("customers", "sellers", "payments", "promotions", "products"):
        assert story.versions(table, 1, *SPAN) == [(at(DAY_1), END, True)]
    assert story.view("total_sales", "orders", "sales_quantity") == [(1, 2)]


@story
def test_versions_of_one_row_in_one_extract_are_all_versions(story: Story) -> Steps:
    for day, name in ((DAY_3, "A"), (DAY_1, "A"), (DAY_2, "B"), (DAY_2, "B")):
        story.see("customers", 1, at(day), name=name)
        story.see("orderdetails", 1, at(day), created_at=at(DAY_1), amount=f"{day.day}")
    yield
    assert story.versions("customers", 1, "name", "valid_from_at") == [("A", at(DAY_1)), ("B", at(DAY_2)), ("A", at(DAY_3))]
    assert story.view("total_sales", "total_sales_amount") == [(Decimal(3),)]


@story
def test_a_row_that_a_source_without_keys_has_in_two_states_is_the_same_in_whichever_order_they_come(story: Story) -> Steps:
    states = [("A", None, "1"), ("B", "4.5", "2"), ("B", None, "3")]
    for step in (1, -1):
        for name, rating, amount in states[::step]:
            ids = 10 + step
            story.see("customers", ids, at(DAY_1), name=name).see("products", ids, at(DAY_1), name=name, rating_average=rating)
            story.see("categories", ids, at(DAY_1), name=name).see("products", ids + 1, at(DAY_1), category_id=ids)
            story.see("orders", ids, at(DAY_1), customer_id=len(amount) + int(amount))
            story.see("orderdetails", ids, at(DAY_1), order_id=ids, amount=amount)
    yield
    for table, columns in (("customers", ("name",)), ("products", ("name", "rating_average"))):
        assert set(story.versions(table, 11, *columns, *SPAN)) == set(story.versions(table, 9, *columns, *SPAN))
    assert story.versions("products", 12, "category") == story.versions("products", 10, "category") == [("B",)]
    assert len(set(story.lines("extended_sales_amount"))) == 1


@story
def test_a_deleted_member_has_no_current_version_and_a_new_one_when_it_returns(story: Story) -> Steps:
    story.see("customers", 1, at(DAY_1), name="A").see("customers", 2, at(DAY_1))
    yield
    story.see("customers", 1, at(DAY_2), deleted=True)
    yield
    assert story.versions("customers", 1, *SPAN) == [(at(DAY_1), at(DAY_2), False)]
    assert story.versions("customers", 2, "is_current") == [(True,)]
    story.see("customers", 1, at(DAY_3), name="A")
    yield
    assert story.versions("customers", 1, *SPAN) == [(at(DAY_1), at(DAY_2), False), (at(DAY_3), END, True)]


@story
def test_a_late_change_lands_between_its_neighbours(story: Story) -> Steps:
    places = [at(DAY_1, 6), at(DAY_1, 18), at(DAY_2, 18)]
    story.members(BEFORE)
    for key in range(3):
        story.see("customers", 10 + key, at(DAY_1), name="A")
        story.see("orders", key, at(DAY_2, 20), customer_id=10 + key).see("orderdetails", key, at(DAY_2, 20), order_id=key)
    yield
    for key in range(3):
        story.see("customers", 10 + key, at(DAY_2), name="B")
    yield
    for key, moment in enumerate(places):
        story.see("customers", 10 + key, moment, name="late")
    yield
    for place in range(3):
        found = story.versions("customers", 10 + place, "name", *SPAN)
        assert [row[0] for row in found] == [*["A", "B"][:place], "late", *["A", "B"][place:]]
        assert all(one[2] == following[1] for one, following in pairwise(found))
        assert [row[3] for row in found] == [False, False, True]
    assert [story.at_sale("customers", key, "name") for key in range(3)] == [("B",), ("B",), ("late",)]


@story
def test_a_late_version_equal_to_the_one_after_it_moves_its_start_back(story: Story) -> Steps:
    story.see("customers", 1, at(DAY_1), name="A").see("customers", 2, at(DAY_3), name="A")
    yield
    story.see("customers", 1, at(DAY_3), name="B")
    yield
    story.see("customers", 1, at(DAY_2), name="B").see("customers", 2, at(DAY_1), name="A")
    yield
    assert story.versions("customers", 1, "name", *SPAN) == [("A", at(DAY_1), at(DAY_2), False), ("B", at(DAY_2), END, True)]
    assert story.versions("customers", 2, "name", *SPAN) == [("A", at(DAY_1), END, True)]


def renamed(story: Story, label: str, column: str) -> Steps:
    story.see("categories", 1, at(DAY_1), name="old").see("brands", 1, at(DAY_1), name="old")
    story.see("categories", 2, at(DAY_1)).see("brands", 2, at(DAY_1))
    story.see("products", 1, at(DAY_1)).see("products", 2, at(DAY_1), category_id=2, brand_id=2)
    yield
    story.see(label, 1, at(DAY_2), name="new")
    yield
    assert story.versions("products", 1, column, *SPAN) == [("old", at(DAY_1), at(DAY_2), False), ("new", at(DAY_2), END, True)]
    assert len(story.versions("products", 2, "product_id")) == 1
    story.see("products", 1, at(DAY_3), price="99").see(label, 1, at(DAY_4), name="old")
    yield
    assert [row[0] for row in story.versions("products", 1, column)] == ["old", "new", "new", "old"]


@story
def test_a_renamed_category_makes_a_version_of_each_of_its_products(story: Story) -> Steps:
    yield from renamed(story, "categories", "category")


@story
def test_a_renamed_brand_makes_a_version_of_each_of_its_products(story: Story) -> Steps:
    yield from renamed(story, "brands", "brand")


@story
def test_the_first_name_known_of_a_category_counts_for_the_time_before_it(story: Story) -> Steps:
    story.see("products", 1, at(DAY_1))
    yield
    assert story.versions("products", 1, "category", "brand") == [(None, None)]
    story.see("categories", 1, at(DAY_3), deleted=True)
    yield
    story.see("categories", 1, at(DAY_3, 13), name="late").see("brands", 1, at(DAY_2), name="late")
    yield
    assert story.versions("products", 1, "category", "brand", "valid_from_at") == [("late", "late", at(DAY_1))]


@story
def test_a_sale_takes_the_version_that_was_valid_when_the_order_was_placed(story: Story) -> Steps:
    story.members(at(DAY_1))
    yield
    story.see("products", 1, at(DAY_2), price="20").see("customers", 1, at(DAY_2), name="Mai")
    yield
    for key, hour in ((1, 0), (2, 23.9), (3, 24), (4, 25)):
        story.sale(key, at(DAY_1) + timedelta(hours=hour))
    yield
    assert [story.at_sale("products", n, "price")[0] for n in (1, 2, 3, 4)] == [Decimal(p) for p in ("10.5", "10.5", "20", "20")]
    assert [story.at_sale("customers", n, "name")[0] for n in (1, 2, 3, 4)] == ["Hoa", "Hoa", "Mai", "Mai"]


@story
def test_a_sale_at_the_very_instant_of_a_change_has_the_new_version_and_one_a_microsecond_before_the_old(story: Story) -> Steps:
    tick = timedelta(microseconds=1)
    story.members(at(DAY_1))
    yield
    for table in ("products", "customers", "sellers", "payments", "promotions"):
        story.see(table, 1, at(DAY_2), name="new").see(table, 1, at(DAY_3), deleted=True)
    # two versions in one instant: the first is never seen by a sale
    story.see("customers", 1, at(DAY_1, 18), name="never")
    yield
    story.see("customers", 1, at(DAY_1, 18), name="old")
    for key, moment in enumerate((at(DAY_2) - tick, at(DAY_2), at(DAY_3) - tick, at(DAY_3), at(DAY_1, 18))):
        story.sale(key, moment, promotion_id=1)
    yield
    assert [story.at_sale("customers", key, "name")[0] for key in range(5)] == ["old", "new", "new", "new", "old"]
    for table in ("products", "sellers", "payments", "promotions"):
        assert [story.at_sale(table, key, "name")[0] == "new" for key in range(5)] == [False, True, True, True, False]


@story
def test_a_late_change_moves_the_sales_after_it_and_no_others(story: Story) -> Steps:
    story.members(at(DAY_1)).sale(1, at(DAY_2, 1)).sale(2, at(DAY_2, 20))
    yield
    story.see("products", 1, at(DAY_2), price="20", category_id=2).see("categories", 2, at(DAY_1), name="Coffee")
    yield
    assert [story.at_sale("products", n, "price")[0] for n in (1, 2)] == [Decimal("10.5"), Decimal("20")]
    assert story.view("top_products_by_category", "category", "sales_quantity") == [("Tea", 2), ("Coffee", 2)]


@story
def test_a_sale_before_the_first_version_takes_the_first(story: Story) -> Steps:
    story.members(at(DAY_3))
    yield
    story.see("products", 1, at(DAY_4), price="20").sale(1, at(DAY_1))
    yield
    assert story.at_sale("products", 1, "price", "valid_from_at") == (Decimal("10.5"), at(DAY_3))


@story
def test_a_sale_after_a_delete_takes_the_last_version_before_it(story: Story) -> Steps:
    story.members(at(DAY_1))
    yield
    story.see("products", 1, at(DAY_2), deleted=True).see("customers", 1, at(DAY_2), deleted=True)
    yield
    story.sale(1, at(DAY_3))
    yield
    story.see("products", 1, at(DAY_4), price="20").sale(2, at(DAY_4, 13))
    yield
    assert [story.at_sale("products", n, "price")[0] for n in (1, 2)] == [Decimal("10.5"), Decimal("20")]
    assert story.at_sale("customers", 2, "name") == ("Hoa",)


@story
def test_a_sale_of_a_deleted_product_still_follows_its_sellers_late_change(story: Story) -> Steps:
    story.members(at(DAY_1))
    yield
    story.see("products", 1, at(DAY_2), deleted=True).sale(1, at(DAY_4))
    yield
    story.see("sellers", 1, at(DAY_3), name="Mai")
    yield
    assert story.at_sale("sellers", 1, "name") == ("Mai",)


@story
def test_members_never_seen_are_unknown_and_no_promotion_is_none(story: Story) -> Steps:
    story.see("orders", 1, at(DAY_1), customer_id=7, payment_id=7)
    story.see("orderdetails", 1, at(DAY_1), product_id=7).see("orderdetails", 2, at(DAY_1), product_id=7, promotion_id=7)
    yield
    keys = ("product_key", "customer_key", "seller_key", "payment_key", "promotion_key")
    assert story.lines(*keys) == [(-1, -1, -1, -1, -2), (-1, -1, -1, -1, -1)]
    assert story.view("top_sellers", "seller_id", "seller") == [(-1, "Unknown")]


@story
def test_a_member_that_arrives_late_fills_in_its_sales(story: Story) -> Steps:
    story.sale(1, at(DAY_1), promotion_id=1)
    yield
    story.members(at(DAY_3))
    yield
    for table in ("products", "customers", "sellers", "payments", "promotions"):
        assert story.at_sale(table, 1, "valid_from_at") == (at(DAY_3),)


@story
def test_a_line_counts_before_its_order_is_there_and_moves_to_the_orders_day_when_it_comes(story: Story) -> Steps:
    story.members(BEFORE).see("orderdetails", 1, at(DAY_2), order_id=1)
    yield
    assert story.view("customer_ranking", "sales_date", "customer_id", "customer") == [(DAY_2, -1, "Unknown")]
    story.see("orders", 1, at(DAY_1))
    yield
    assert story.view("customer_ranking", "sales_date", "customer_id", "customer") == [(DAY_1, 1, "Hoa")]


@story
def test_a_line_that_moves_to_another_order_leaves_its_day(story: Story) -> Steps:
    story.members(BEFORE).sale(1, at(DAY_1)).sale(2, at(DAY_2)).sale(3, at(DAY_2))
    yield
    story.see("orderdetails", 1, at(DAY_3), order_id=2)
    yield
    assert story.view("total_sales", "sales_date", "orders", "sales_quantity") == [(DAY_2, 2, 6)]


@story
def test_an_order_that_moves_takes_its_lines_along(story: Story) -> Steps:
    story.members(BEFORE).sale(1, at(DAY_1))
    yield
    story.see("orders", 1, at(DAY_3), created_at=at(DAY_2), customer_id=7)
    yield
    assert story.view("customer_ranking", "sales_date", "customer_id") == [(DAY_2, -1)]


@story
def test_a_day_emptied_of_its_sales_has_no_row(story: Story) -> Steps:
    story.members(BEFORE).sale(1, at(DAY_1)).sale(2, at(DAY_2))
    yield
    story.see("orderdetails", 1, at(DAY_3), deleted=True)
    yield
    for name in (
        "total_sales",
        "day_of_week_with_most_sales",
        "top_sellers",
        "top_products_by_category",
        "payment_methods",
        "customer_ranking",
    ):
        assert story.view(name, "sales_date") == [(DAY_2,)], name
    story.see("orders", 2, at(DAY_3), deleted=True).see("orderdetails", 2, at(DAY_3), deleted=True)
    yield
    assert story.view("customer_order_total", "customer_id") == []


@story
def test_the_line_is_the_version_seen_last_though_its_clock_went_back(story: Story) -> Steps:
    story.members(BEFORE).sale(1, at(DAY_2), amount="10")
    yield
    story.see("orderdetails", 1, at(DAY_1), amount="20", created_at=at(DAY_2))
    yield
    assert story.view("total_sales", "total_sales_amount") == [(Decimal("20"),)]
    story.see("orderdetails", 1, at(DAY_3), deleted=True)
    yield
    story.see("orderdetails", 1, at(DAY_1, 1), amount="30", created_at=at(DAY_2))
    yield
    assert story.view("total_sales", "total_sales_amount") == [(Decimal("30"),)]


@story
def test_a_renamed_member_shows_the_name_of_now_on_every_day(story: Story) -> Steps:
    story.members(BEFORE).sale(1, at(DAY_1)).sale(2, at(DAY_2))
    yield
    for table in ("customers", "sellers", "payments", "products", "categories"):
        story.see(table, 1, at(DAY_3), name=f"new {table}")
    story.sale(3, at(DAY_3, 13))
    yield
    for view, column, table in (
        ("customer_ranking", "customer", "customers"),
        ("top_sellers", "seller", "sellers"),
        ("payment_methods", "payment_method", "payments"),
        ("top_products_by_category", "product", "products"),
        ("top_products_by_category", "category", "categories"),
    ):
        assert story.view(view, column) == [(f"new {table}",)] * 3
    assert [story.at_sale("customers", n, "name")[0] for n in (1, 3)] == ["Hoa", "new customers"]


@story
def test_totals_are_the_sources_to_the_last_digit(story: Story) -> Steps:
    story.members(BEFORE)
    for key, (quantity, price, amount, discount) in enumerate(
        [
            (3, "0.3333", "1.00", "0.10"),
            (0, "1.99", "0.00", "0.00"),
            (89_638, "0.0001", "9999999999999999.99", "0.01"),
            (7, "1", "7.00", "9.99"),
        ]
    ):
        story.sale(key, at(DAY_1), quantity=quantity, price=price, amount=amount, discount=discount)
    yield
    assert story.view("total_sales", "sales_quantity", "total_sales_amount", "total_discount_amount", "net_sales_amount") == [
        (89_648, Decimal("10000000000000007.99"), Decimal("10.10"), Decimal("9999999999999997.89"))
    ]


def test_the_original_s_example_gives_its_two_rows(history: History) -> None:
    product, day = 193366048, date(2024, 9, 8)
    history.members(BEFORE).see("products", product, at(day, 8), review_count=0)
    history.see("products", product, at(day, 9), review_count=10).run(day).check()
    assert history.versions("products", product, "review_count", "valid_from", "valid_to", "is_current") == [
        (0, day, day, False),
        (10, day, date(2100, 1, 1), True),
    ]


def test_a_year_ends_between_two_microseconds(history: History) -> None:
    last, first = datetime(2024, 12, 31, 23, 59, 59, 999999, UTC), datetime(2025, 1, 1, tzinfo=UTC)
    history.members(BEFORE).see("products", 1, last, price="1").see("products", 1, first, price="2")
    history.sale(1, last).sale(2, first).run().check()
    assert history.versions("products", 1, "price", "valid_from", "valid_to")[1:] == [
        (Decimal(1), last.date(), first.date()),
        (Decimal(2), first.date(), date(2100, 1, 1)),
    ]
    assert [history.at_sale("products", line, "price") for line in (1, 2)] == [(Decimal(1),), (Decimal(2),)]
    assert history.view("day_of_week_with_most_sales", "sales_date", "day_of_week") == [
        (last.date(), "Tuesday"),
        (first.date(), "Wednesday"),
    ]
    (dates,) = zip(
        *(row.values() for row in rows(history.client, "select date_key from warehouse.fact_sales order by date_key")), strict=True
    )
    assert dates == (20241231, 20250101)


def test_an_empty_source_from_the_beginning_has_only_the_rows_that_stand_for_none(history: History) -> None:
    history.run(DAY_1).check()
    assert [row.n for row in rows(history.client, "select count(*) as n from warehouse.dim_products")] == [1]
    assert rows(history.client, "select order_detail_id from warehouse.fact_sales") == []


def test_a_column_that_a_source_table_gains_makes_no_version_while_no_dimension_has_it(history: History) -> None:
    history.members(at(DAY_1)).sale(1, at(DAY_1)).run()
    before = contents(history.client)
    rows(history.client, "alter table raw.customers add column points int64")
    try:
        history.see("customers", 1, at(DAY_2)).load()
        rows(history.client, "update raw.customers set points = 7 where partition_date = date '2024-09-02'")
        history.transform()
        assert contents(history.client) == before
        history.see("customers", 1, at(DAY_3), name="Mai").run().check()
    finally:
        rows(history.client, "alter table raw.customers drop column points")
