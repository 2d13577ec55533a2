"""The laws of transform: its result depends on what was seen, not on when, in which order or how often it was run, nor on where it was cut short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.warehouse import project
from rainbow.warehouse.sql import rows
from rainbow.warehouse.transform import run_tests, transform
from tests.integration.history import History, Observation, contents, expected, forget, last_seen, observation
from tests.integration.history import warehouse as as_versions
from tests.integration.small_shop import BEFORE, DAY_1, DAY_2, DAY_3, DAY_4, at
from tests.laws import examples

pytestmark = pytest.mark.services

FIRST = DAY_1 + timedelta(days=1)


def moments(random: Random) -> datetime:
    """One of few instants of five days, so that many fall together."""
    return at(DAY_1, 8 * random.randrange(15))


def some_row(random: Random, table: str) -> dict[str, Any]:
    """Values that often repeat and sometimes refer to what is not there."""
    one_of = random.choice
    return {
        "products": lambda: {
            "name": one_of("AB"),
            "price": one_of(["1", "1.00", "2"]),
            "rating_average": one_of([None, "1.5"]),
            "review_count": one_of([None, 0, 1]),
            "category_id": one_of([1, 2, 9]),
            "brand_id": one_of([None, 1, 2]),
            "seller_id": one_of([1, 2, 9]),
        },
        "promotions": lambda: {"name": one_of("AB"), "price_treatment": one_of(["1", "2"])},
        "orders": lambda: {"customer_id": one_of([1, 2, 9]), "payment_id": one_of([1, 9]), "created_at": moments(random)},
        "orderdetails": lambda: {
            "order_id": one_of([1, 2, 3, 4, 9]),
            "product_id": one_of([1, 2, 3, 9]),
            "promotion_id": one_of([None, 1, 9]),
            "quantity": one_of([0, 1, 3]),
            "amount": one_of(["0", "0.01", "10"]),
            "discount": one_of(["0", "0.01", "0.05"]),
            "created_at": moments(random),
        },
    }.get(table, lambda: {"name": one_of("AB")})()


MEMBERS = {
    "brands": 2,
    "categories": 2,
    "sellers": 2,
    "customers": 2,
    "payments": 1,
    "promotions": 1,
    "products": 3,
    "orders": 4,
    "orderdetails": 8,
}


def random_history(random: Random, extracts: int = 5) -> list[Observation]:
    """What some extracts saw: of each row a version, sometimes two, and deletes."""
    seen = []
    for number in range(1, extracts + 1):
        for table, members in MEMBERS.items():
            for key in range(1, members + 1):
                for likely, deleted in ((0.45, False), (0.05, False), (0.15, True)):
                    if random.random() < likely:
                        values = {} if deleted else some_row(random, table)
                        seen.append(observation(table, key, moments(random), 100 * number, deleted=deleted, **values))
    return seen


def source_totals(seen: list[Observation]) -> tuple[Any, ...]:
    """Lines, pieces, amount and discount of the source after the last extract, without a word of the fact's rules but one: the last seen counts."""
    last: dict[int, Observation] = {}
    for one in sorted((o for o in seen if o.table == "orderdetails"), key=last_seen):
        last[one.key] = one
    lines = [one.values for one in last.values() if not one.deleted]
    return len(lines), *(sum(line[name] for line in lines) for name in ("quantity", "amount", "discount"))


def in_groups(random: Random, seen: list[Observation]) -> list[list[Observation]]:
    """The files of a history dealt out to some transforms, in any order."""
    files: dict[tuple[str, date, int], list[Observation]] = {}
    for one in seen:
        files.setdefault(one.file, []).append(one)
    names = sorted(files)
    random.shuffle(names)
    cuts = sorted(random.randrange(len(names) + 1) for _ in range(2))
    return [[one for name in part for one in files[name]] for part in (names[: cuts[0]], names[cuts[0] : cuts[1]], names[cuts[1] :])]


def test_any_order_and_grouping_gives_the_same_rows_and_keys_as_all_at_once(made_warehouse: Any, sized: Callable[[int, int], int]) -> None:
    @examples(sized, 3, 300)
    @given(st.integers(0, 2**32))
    def law(number: int) -> None:
        random = Random(number)
        seen = random_history(random)
        forget(made_warehouse, "raw", "staging", "warehouse")
        history = History(made_warehouse)
        for part in in_groups(random, seen):
            history.put(part, FIRST, FIRST)
            history.transform()
        in_parts = contents(made_warehouse)
        assert as_versions(made_warehouse) == expected(seen, FIRST)
        facts = in_parts["fact_sales"]
        sums = (sum(f[name] for f in facts) for name in ("sales_quantity", "extended_sales_amount", "extended_discount_amount"))
        assert (len(facts), *sums) == source_totals(seen)
        history.again()
        assert contents(made_warehouse) == in_parts

    law()


WAYS: dict[str, list[list[int]]] = {
    "in order": [[0], [1], [2], [3]],
    "shuffled": [[2], [0], [3], [1]],
    "backwards": [[3], [2], [1], [0]],
    "all at once": [[0, 1, 2, 3]],
    "in two runs": [[1, 3], [0, 2]],
}


def test_partitions_in_order_shuffled_or_in_one_run_give_the_same_rows_and_keys(made_warehouse: Any) -> None:
    partitions = _four_partitions()
    results = {}
    for way, runs in WAYS.items():
        forget(made_warehouse, "raw", "staging", "warehouse")
        history = History(made_warehouse)
        for run in runs:
            history.put([one for number in run for one in partitions[number]], DAY_1, DAY_1)
            history.transform()
        history.check()
        results[way] = contents(made_warehouse)
    assert [way for way, found in results.items() if found != results["in order"]] == []


def test_partitions_extracted_again_change_no_row_and_no_key(history: History) -> None:
    partitions = _four_partitions()
    for partition in partitions:
        history.put(partition, DAY_1, DAY_1)
    history.transform()
    before = contents(history.client)
    for number in (2, 0):
        # the last extract sees what an earlier one saw, at a later position
        again = [replace(one, lsn=900 + number) for one in partitions[number] if one.table not in ("orders", "orderdetails")]
        history.put(again, DAY_1, DAY_1)
        history.transform().check()
    assert contents(history.client) == before


def _four_partitions() -> list[list[Observation]]:
    """Four days in which members come, change, go and return, and lines are sold, moved and deleted."""

    def see(table: str, key: int, day: date, hour: float = 12, **values: Any) -> Observation:
        return observation(table, key, at(day, hour), 100 * day.day, **values)

    def sale(key: int, day: date, hour: float) -> list[Observation]:
        return [see("orders", key, day, hour), see("orderdetails", key, day, hour, order_id=key)]

    members = [see(table, 1, DAY_1, 1) for table in ("brands", "categories", "sellers", "customers", "payments", "promotions", "products")]
    return [
        [*members, *sale(1, DAY_1, 2)],
        [
            see("products", 1, DAY_2, 3, price="20"),
            see("products", 1, DAY_2, 4),
            *sale(2, DAY_2, 3),
            see("categories", 1, DAY_2, name="Coffee"),
        ],
        [see("customers", 1, DAY_3, deleted=True), *sale(3, DAY_3, 20), see("orderdetails", 1, DAY_3, deleted=True)],
        [see("customers", 1, DAY_4, 1, name="Mai"), *sale(4, DAY_4, 2), see("orders", 2, DAY_4, created_at=at(DAY_4, 5))],
    ]


@pytest.fixture
def history(warehouse: Any) -> History:
    return History(warehouse)


def test_an_empty_source_closes_nothing(history: History) -> None:
    history.members(at(DAY_1)).sale(1, at(DAY_1)).run()
    before = contents(history.client)
    history.run(DAY_2)
    assert contents(history.client) == before


def test_the_views_hold_no_day_before_the_first_partition_until_one_is_run(history: History) -> None:
    history.members(BEFORE).see("orders", 1, at(DAY_3), created_at=at(DAY_1))
    history.see("orderdetails", 1, at(DAY_3), order_id=1).sale(2, at(DAY_3)).run(DAY_3)
    assert history.view("total_sales", "sales_date") == [(DAY_3,)]
    history.check()
    history.run(DAY_1)
    assert history.view("total_sales", "sales_date") == [(DAY_1,), (DAY_3,)]
    history.check()


def test_transforming_twice_writes_nothing(history: History) -> None:
    history.members(BEFORE).sale(1, at(DAY_1)).run()
    assert transform(client=history.client).seconds == {}
    before = contents(history.client)
    history.again()
    assert contents(history.client) == before
    assert all(check.passed for check in run_tests(client=history.client))


def eventful_day(history: History, n: int) -> None:
    """A second day on which everything happens to the members and orders that are numbered from ``n``."""
    day, one, two = DAY_2 + timedelta(days=n), n + 1, n + 2
    history.see("products", one, at(day, 1), price="20", category_id=two, seller_id=one).see("categories", two, at(day), name="Coffee")
    history.see("sellers", one, at(DAY_1, 12.5) + timedelta(days=n), name="Mai").see("customers", one, at(day, 3), name="Mai")
    history.see("payments", 1, at(day), deleted=True).see("promotions", 1, at(day), name=f"{n}")
    history.see("orderdetails", one, at(day, 5), order_id=two, product_id=one).see("orderdetails", two, at(day), deleted=True)
    history.see("orders", two, at(day, 6), created_at=at(day, 6), customer_id=one)


def quiet_day(history: History, n: int) -> None:
    """The day before it."""
    day = DAY_1 + timedelta(days=n)
    for table in ("categories", "sellers", "customers"):
        history.see(table, n + 1, at(day, 1))
    history.see("products", n + 1, at(day, 1), category_id=n + 1, seller_id=n + 1)
    for key in (n + 1, n + 2, n + 3):
        history.see("orders", key, at(day), customer_id=n + 1).see("orderdetails", key, at(day), order_id=key, product_id=n + 1)


def test_a_transform_cut_short_after_any_statement_and_run_again_is_as_if_undisturbed(
    history: History, sized: Callable[[int, int], int]
) -> None:
    """Working tables are made from what lasts, so a cut counts where a statement has changed what lasts; all of these in soak."""
    models = [s for s in project.statements() or () if s.kind == "model" and not s.fixed]
    lasting = [number for number, model in enumerate(models, start=1) if model.sql.startswith("merge")]
    assert models[lasting[-1] - 1].name == "transformed_files"
    chosen = {"dim_products", "sales_lines", "fact_sales", "customer_ranking", "customer_order_total", "transformed_files"}
    lasting = [cut for cut in lasting if models[cut - 1].name in chosen or sized(0, 1)]
    assert len(lasting) >= len(chosen)
    history.members(BEFORE)
    for cut in lasting:
        quiet_day(history, 10 * cut)
    history.run()
    for cut in lasting:
        eventful_day(history, 10 * cut)
        history.load()
        for model in models[:cut]:
            rows(history.client, model.sql)
        history.transform()
    history.check()
    before = contents(history.client)
    history.again()
    assert contents(history.client) == before
