"""``mirror._resolved``: lines that are not simply as they are found, whenever and in whatever order the rows about them arrive."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.olap.client import connect
from rainbow.olap.mirror import placements
from rainbow.olap.mirror.kept import after_insert, create_all
from rainbow.olap.mirror.tables import OWN_COLUMNS
from rainbow.olap.serving import statement
from rainbow.settings import Settings
from rainbow.source.tables import BY_NAME, TABLES
from tests.integration.small_shop import BEFORE, DAY_1, DAY_2, DAY_3, at
from tests.integration.test_mirror_days import Version, arrive, line, order, version
from tests.laws import examples

pytestmark = pytest.mark.services

Sums = dict[tuple[Any, ...], Decimal]


@pytest.fixture
def mirror(stack: Settings) -> Iterator[Any]:
    """A client for a ClickHouse whose mirror has no rows, and that has no batch views."""
    with connect() as client:
        for database in ("mirror", "batch", "serving"):
            client.command(f"drop database if exists {database} sync")
        create_all(client, TABLES)
        client.command("create database serving")
        client.command(f"create view serving._placed as {placements.PLACED}")
        yield client
        for database in ("mirror", "serving"):
            client.command(f"drop database {database} sync")


def product(txid: int, updated_at: datetime = BEFORE, key: int = 1, **values: Any) -> Version:
    return version("products", key, DAY_1, txid, **{"updated_at": updated_at, **values})


def resolved(client: Any, *columns: str) -> list[tuple[Any, ...]]:
    """These columns of the lines that are there, by their ids; moments as in UTC."""
    rows = client.query(f"select {', '.join(columns)} from mirror._resolved final where is_there order by id").result_rows
    return [tuple(v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for v in row) for row in rows]


def test_lines_on_the_day_of_their_order_are_left_as_they_are(mirror: Any) -> None:
    arrive(mirror, product(700), order(DAY_1, 701), line(DAY_1, 702), product(703, at(DAY_2), category_id=2), line(DAY_1, 704, key=2))
    assert resolved(mirror, "id") == []


def test_a_line_has_the_day_and_the_customer_of_its_order_in_whatever_order_they_come(mirror: Any) -> None:
    for versions in itertools.permutations([order(DAY_1, 700, customer_id=9), line(DAY_3, 702), line(DAY_1, 701, key=2)]):
        mirror.command("truncate all tables from mirror")
        arrive(mirror, *versions)
        assert resolved(mirror, "id", "day", "ordered_at", "customer_id") == [(1, DAY_1, at(DAY_1), 9), (2, DAY_1, at(DAY_1), 9)]


def test_an_order_that_moves_or_goes_and_a_line_that_goes_take_their_rows_along(mirror: Any) -> None:
    arrive(mirror, order(DAY_1, 700), line(DAY_1, 701), line(DAY_1, 702, key=2), order(DAY_1, 703, created_at=at(DAY_3), payment_id=4))
    assert resolved(mirror, "id", "day", "payment_id") == [(1, DAY_3, 4), (2, DAY_3, 4)]
    arrive(mirror, line(DAY_1, 704, key=2, _deleted=1))
    assert resolved(mirror, "id", "day") == [(1, DAY_3)]
    arrive(mirror, order(DAY_1, 705, created_at=at(DAY_3), _deleted=1))
    assert resolved(mirror, "id", "day", "payment_id") == [(1, DAY_1, -1)]


def categories(client: Any) -> set[int]:
    """Those in which sales are shown."""
    text = statement("top_products_by_category", "mirror")
    return {found for (found,) in client.query(f"select category_id from ({text})").result_rows}


def test_on_the_day_of_a_move_the_moment_of_the_order_counts(mirror: Any) -> None:
    arrive(mirror, product(700, category_id=5), order(DAY_2, 701, created_at=at(DAY_2, 9)), line(DAY_2, 702, created_at=at(DAY_2, 11)))
    arrive(mirror, product(703, at(DAY_2, 10), category_id=6))
    assert resolved(mirror, "id", "ordered_at") == [(1, at(DAY_2, 9))]
    assert categories(mirror) == {5}
    arrive(mirror, order(DAY_2, 704, created_at=at(DAY_2, 12)))
    assert resolved(mirror, "id", "ordered_at") == [(1, at(DAY_2, 12))]
    assert categories(mirror) == {6}
    # a later version of an earlier moment
    arrive(mirror, product(705, at(DAY_2, 11), category_id=7))
    assert categories(mirror) == {7}


def test_a_line_that_comes_while_a_move_is_noted_is_found_by_one_of_the_two(mirror: Any) -> None:
    arrive(mirror, product(700, category_id=5), order(DAY_2, 701, created_at=at(DAY_2, 9)))
    # as it is between the two notes of a move
    arrive(mirror, product(702, at(DAY_2, 10), category_id=6))
    mirror.command("create or replace table mirror.before engine = Memory as select * replace (0 as is_settled) from mirror._moves")
    mirror.command("truncate table mirror._moves")
    mirror.command("insert into mirror._moves select * from mirror.before")
    arrive(mirror, line(DAY_2, 703, created_at=at(DAY_2, 11)))
    assert resolved(mirror, "id") == [(1,)]
    # the process died there: the next version of the product has it noted again
    mirror.command("truncate table mirror._resolved")
    arrive(mirror, product(704, at(DAY_2, 10), category_id=6, sold_count=3))
    assert resolved(mirror, "id") == [(1,)]
    assert {settled for (settled,) in mirror.query("select is_settled from mirror._moves final").result_rows} == {1}


def test_a_line_that_was_looked_up_once_is_looked_up_again(mirror: Any) -> None:
    arrive(mirror, product(700, category_id=5), product(701, at(DAY_2, 10), category_id=6), product(702, key=2, category_id=9))
    arrive(mirror, order(DAY_2, 703), line(DAY_2, 704), line(DAY_2, 705, product_id=2))
    assert resolved(mirror, "id", "product_id") == [(1, 2)]
    arrive(mirror, order(DAY_2, 706, key=2), line(DAY_2, 707, order_id=2, product_id=2), order(DAY_2, 708, key=2, payment_id=7))
    assert resolved(mirror, "id", "payment_id") == [(1, 7)]
    # a move that is not on the line's day, but before its order
    arrive(mirror, order(DAY_2, 709, key=2, created_at=at(DAY_3)), product(710, at(DAY_3, 1), key=2, category_id=8))
    assert resolved(mirror, "id", "day") == [(1, DAY_3)]
    assert categories(mirror) == {8}


def test_a_state_that_was_worked_out_before_does_not_come_back(mirror: Any) -> None:
    arrive(mirror, product(700, category_id=5), order(DAY_1, 701), line(DAY_2, 702))
    changes = [
        line(DAY_2, 703, quantity=7),
        order(DAY_1, 704, created_at=at(DAY_2)),
        # an order whose newest change is older than the one of the order before
        order(DAY_1, 600, key=2),
        line(DAY_2, 708, order_id=2),
    ]
    for change in changes:
        mirror.command("create or replace table mirror.before engine = Memory as select * from mirror._resolved")
        arrive(mirror, change)
        state = mirror.query("select * from mirror._resolved final order by all").result_rows
        mirror.command("insert into mirror._resolved select * from mirror.before")
        assert mirror.query("select * from mirror._resolved final order by all").result_rows == state


def test_a_table_that_is_made_late_knows_the_lines_from_before(mirror: Any) -> None:
    arrive(mirror, product(700), order(DAY_1, 701), line(DAY_2, 702), order(DAY_2, 703, key=2), line(DAY_2, 704, key=2, order_id=2))
    arrive(mirror, product(705, at(DAY_2, 8), category_id=7))
    kept = mirror.query("select * from mirror._resolved final order by all").result_rows
    assert len(kept) == 3
    for made_late in ("_resolved", "_restated"):
        mirror.command(f"drop table mirror.{made_late} sync")
        create_all(mirror, TABLES)
        assert mirror.query("select * from mirror._resolved final order by all").result_rows == kept


def test_a_large_batch_of_rows_far_apart_is_noted(mirror: Any) -> None:
    far = 10**17
    arrive(mirror, product(700, key=far), order(DAY_1, 701, key=far), line(DAY_2, 702, key=far, order_id=far, product_id=far))
    for table, column in (("products", "category_id"), ("orders", "customer_id"), ("orderdetails", "quantity")):
        names = [*BY_NAME[table].column_names, *OWN_COLUMNS]
        _, row = version(table, far, DAY_1, 710, order_id=far, product_id=far, created_at=at(DAY_3), updated_at=at(DAY_3), **{column: 7})
        mirror.insert(f"mirror.{table}", [[row[name] for name in names]], column_names=names)
        after_insert(mirror, table, [far + number * 10**13 for number in range(20_000)])
    assert moves_of(mirror, far) == {1, 7}
    assert resolved(mirror, "id", "day", "customer_id", "quantity") == [(far, DAY_3, 7, 7)]


def moves_of(client: Any, key: int) -> set[int]:
    """The categories that a product had."""
    return {found for (found,) in client.query(f"select category_id from mirror._moves where product_id = {key}").result_rows}


# ids, days, hours: few, so that much is about the same rows
few, days, hours = st.integers(1, 2), st.sampled_from((DAY_1, DAY_2, DAY_3)), st.sampled_from((1, 9, 10, 17))
moments = st.builds(at, days, hours)
gone = st.sampled_from((0, 0, 0, 0, 1))
changes = st.one_of(
    st.builds(lambda key, moment, gone: ("orders", key, {"created_at": moment, "payment_id": key, "_deleted": gone}), few, moments, gone),
    st.builds(
        lambda key, moment, of, gone: (
            "orderdetails",
            key,
            {"created_at": moment, "order_id": of[0], "product_id": of[1], "_deleted": gone},
        ),
        st.integers(1, 3),
        moments,
        st.tuples(few, few),
        gone,
    ),
    st.builds(
        lambda key, moment, of: ("products", key, {"updated_at": moment, "category_id": of[0], "seller_id": of[1]}),
        few,
        moments,
        st.tuples(few, few),
    ),
)


@st.composite
def arrivals(draw: Any) -> list[Version]:
    """Versions of few rows, each row's in their order, the rows' in any."""
    written = defaultdict(list)
    for txid, (table, key, values) in enumerate(draw(st.lists(changes, min_size=3, max_size=14)), 700):
        written[table, key].append(version(table, key, DAY_1, txid, **values))
    chance: random.Random = draw(st.randoms(use_true_random=False))
    found = []
    while written:
        place = chance.choice(sorted(written))
        found.append(written[place].pop(0))
        if not written[place]:
            del written[place]
    return found


def test_sales_are_those_of_the_newest_versions_in_whatever_order_all_arrive(mirror: Any, sized: Callable[[int, int], int]) -> None:
    @examples(sized, 12, 300, smaller=True)
    @given(arrivals())
    def law(versions: list[Version]) -> None:
        mirror.command("truncate all tables from mirror")
        arrive(mirror, *(version(table, key, DAY_1, 600 + key) for table in ("categories", "payments") for key in (1, 2)))
        arrive(mirror, *versions)
        by_product, by_payment = expected(versions)
        for view, columns, sums in (
            ("top_products_by_category", "category_id, product_id", by_product),
            ("payment_methods", "payment_id", by_payment),
        ):
            text = statement(view, "mirror")
            shown = mirror.query(f"select sales_date, {columns}, total_sales_amount from ({text})").result_rows
            assert {tuple(row[:-1]): row[-1] for row in shown} == sums

    law()


def expected(versions: list[Version]) -> tuple[Sums, Sums]:
    """What lines come to by day, category and product, and by day and payment method, from all versions."""
    newest: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    placements: dict[int, dict[datetime, tuple[int, int]]] = defaultdict(dict)
    for table, row in sorted(versions, key=lambda arrived: arrived[1]["_lsn"]):
        newest[table][row["id"]] = row
        if table == "products":
            placements[row["id"]][row["updated_at"]] = (row["category_id"], row["id"])
    by_product: Counter[tuple[date, int, int]] = Counter()
    by_payment: Counter[tuple[date, int]] = Counter()
    for sold in newest["orderdetails"].values():
        if not sold["_deleted"]:
            of = newest["orders"].get(sold["order_id"], {"_deleted": 1})
            moment, payment = (sold["created_at"], -1) if of["_deleted"] else (of["created_at"], of["payment_id"])
            known = placements[sold["product_id"]]
            before = [since for since in known if since <= moment]
            placed = known[max(before) if before else min(known)] if known else (-1, -1)
            by_product[moment.date(), *placed] += Decimal(sold["amount"])  # type: ignore[assignment]
            by_payment[moment.date(), payment] += Decimal(sold["amount"])  # type: ignore[assignment]
    return dict(by_product), dict(by_payment)  # type: ignore[arg-type]
