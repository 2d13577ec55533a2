"""The rules of an order, without HTTP and without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.models import LARGEST_QUANTITY, NewOrder, Opening, Product, Promotion, Stock, Wanted
from api.services import InvalidOrderError, OutOfStockError, merged, placed, priced, taken_from

AT = datetime(2024, 9, 1, 12, tzinfo=UTC)

PRICES = st.decimals(0, 1_000_000, places=4)
TREATMENTS = st.decimals(0, 1_000, places=4)
QUANTITIES = st.integers(1, 10_000)


def product(price: str | Decimal = "10.50", promotion: Promotion | None = None, stock: int | tuple[int, ...] = 5, id_: int = 1) -> Product:
    rows = stock if isinstance(stock, tuple) else (stock,)
    return Product(id_, "Oolong", Decimal(price), promotion, tuple(Stock(100 * id_ + n, pieces) for n, pieces in enumerate(rows)))


def percent(share: str) -> Promotion:
    return Promotion(7, "Percentage", Decimal(share))


def off(money: str) -> Promotion:
    return Promotion(8, "Fixed Amount", Decimal(money))


def opening(*products: Product) -> Opening:
    return Opening(AT, 900, tuple(range(1, len(products) + 1)), {p.id: p for p in products}, True, True, None)


@pytest.mark.parametrize(
    ("price", "promotion", "quantity", "amount", "discount"),
    [
        ("10.50", None, 2, "21.00", "0.00"),
        ("10.50", percent("10"), 2, "21.00", "2.10"),
        ("10.50", off("1.25"), 2, "21.00", "2.50"),
        ("0.3333", None, 3, "1.00", "0.00"),
        ("0.0050", None, 1, "0.01", "0.00"),
        ("0.0049", None, 1, "0.00", "0.00"),
        ("0.05", percent("50"), 1, "0.05", "0.03"),
        ("3.33", percent("33.3333"), 3, "9.99", "3.33"),
        ("10.00", percent("100"), 3, "30.00", "30.00"),
        ("10.00", percent("150"), 3, "30.00", "30.00"),
        ("10.00", off("12"), 3, "30.00", "30.00"),
        ("0.00", off("5"), 3, "0.00", "0.00"),
        ("150000", percent("12.5"), 1, "150000.00", "18750.00"),
    ],
    ids=str,
)
def test_a_line_costs_price_times_pieces_less_its_promotion_to_the_cent(
    price: str, promotion: Promotion | None, quantity: int, amount: str, discount: str
) -> None:
    assert tuple(map(str, priced(product(price, promotion), quantity))) == (amount, discount)


@given(PRICES, st.sampled_from(["Percentage", "Fixed Amount"]), TREATMENTS, QUANTITIES)
def test_a_discount_is_never_below_nothing_nor_above_the_amount(price: Decimal, kind: str, treatment: Decimal, quantity: int) -> None:
    amount, discount = priced(product(price, Promotion(1, kind, treatment)), quantity)
    assert 0 <= discount <= amount
    assert amount.as_tuple().exponent == discount.as_tuple().exponent == -2
    assert abs(amount - price * quantity) <= Decimal("0.005")


def test_an_amount_that_no_line_can_hold_is_refused() -> None:
    with pytest.raises(InvalidOrderError, match="more than a line can hold") as caught:
        priced(product("99999999999999.9999"), 1000)
    assert caught.value.faults[0].product_id == 1


@given(st.lists(st.integers(0, 50), min_size=1, max_size=4), st.integers(1, 250))
def test_pieces_are_taken_from_the_first_rows_of_stock_or_not_at_all(stock: list[int], quantity: int) -> None:
    wanted = product(stock=tuple(stock))
    if sum(stock) < quantity:
        with pytest.raises(OutOfStockError) as caught:
            list(taken_from(wanted, quantity))
        assert (caught.value.wanted, caught.value.left) == (quantity, sum(stock))
    else:
        taken = {row.id: row.quantity for row in taken_from(wanted, quantity)}
        assert sum(taken.values()) == quantity
        assert all(0 < pieces <= stock[id_ - 100] for id_, pieces in taken.items())


def test_the_last_piece_can_be_taken_and_one_more_cannot() -> None:
    assert list(taken_from(product(stock=1), 1)) == [Stock(100, 1)]
    with pytest.raises(OutOfStockError, match=r"product 1 \(Oolong\): 2 asked for, 1 in stock"):
        list(taken_from(product(stock=1), 2))


def test_a_product_that_is_named_twice_is_one_line() -> None:
    assert merged([Wanted(5, 1), Wanted(3, 2), Wanted(5, 4)]) == (Wanted(5, 5), Wanted(3, 2))


def test_more_pieces_than_a_line_can_hold_are_refused() -> None:
    with pytest.raises(InvalidOrderError, match="pieces"):
        merged([Wanted(5, LARGEST_QUANTITY), Wanted(5, 1)])


def test_an_order_has_its_lines_as_asked_its_moment_and_the_prices_found() -> None:
    tea, cup = product("10.50", percent("10"), id_=4), product("2", id_=2)
    placement = placed(NewOrder(1, 2, (Wanted(4, 2), Wanted(2, 5))), opening(tea, cup))
    order = placement.order
    assert (order.id, order.customer_id, order.payment_id, order.created_at) == (900, 1, 2, AT)
    assert [(line.id, line.product_id, line.promotion_id, line.quantity, line.discount) for line in order.lines] == [
        (1, 4, 7, 2, Decimal("2.10")),
        (2, 2, None, 5, Decimal("0.00")),
    ]
    assert placement.taken == (Stock(400, 2), Stock(200, 5))


def test_an_order_with_one_product_out_of_stock_is_refused_whole() -> None:
    with pytest.raises(OutOfStockError) as caught:
        placed(NewOrder(1, 2, (Wanted(4, 2), Wanted(2, 6))), opening(product(id_=4), product(id_=2)))
    assert caught.value.product_id == 2
