"""The made shop's orders and order lines, of all days at once, in the exact numbers that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from rainbow.datasets.draws import Draws, Ints, shares
from rainbow.datasets.shop import MICROSECONDS_A_DAY, start_of
from rainbow.datasets.synthetic.catalogue import DAYS, Catalogue

FIRST_DAY = date(2024, 8, 1)

CUSTOMERS, LATE_CUSTOMERS = 101, 4

# Monday to Sunday: what a day sold in the original, in billions of dong
_WEEKDAYS = (246, 181, 155, 1_438, 318, 1_612, 1_786)
# Hours of the day in UTC; the evening in Hanoi is 12 to 15
_HOURS = (30, 34, 36, 38, 40, 36, 30, 32, 34, 36, 40, 52, 70, 82, 84, 70, 46, 24, 12, 6, 4, 4, 8, 18)
_PAYMENTS = (44, 21, 13, 22)
_PIECES = (1, 2, 3, 4, 5, 6, 8, 10, 12)
_PIECE_WEIGHTS = (205, 230, 175, 110, 90, 60, 50, 50, 30)


@dataclass(frozen=True)
class Sales:
    """Orders and lines in the order of time; line arrays say which order (index), which product (index), and money in dong.

    ``first_order[d]`` and ``first_line[d]`` are where the ``d``-th day begins; they have one entry more than there are days.
    """

    first_order: Ints
    first_line: Ints
    placed: Ints
    customer: Ints
    payment: Ints
    order: Ints
    product: Ints
    promotion: Ints
    quantity: Ints
    price: Ints
    amount: Ints
    discount: Ints


def make(draws: Draws, catalogue: Catalogue, orders: int, lines: int) -> Sales:
    """Exactly so many orders and lines, spread over days, hours, customers and products; an order has at least one line."""
    orders_a_day = _spread(draws, orders)
    lines_a_day = orders_a_day + shares(lines - orders, orders_a_day)
    day = np.repeat(np.arange(DAYS), orders_a_day)
    number = np.arange(1, orders + 1)
    placed = _moments(draws, number, day)
    lines_of = np.concatenate([_lines_of(draws, d, int(o), int(n)) for d, (o, n) in enumerate(zip(orders_a_day, lines_a_day, strict=True))])
    order = np.repeat(np.arange(orders), lines_of)
    line, line_day = np.arange(1, lines + 1), day[order]
    product = draws.weighted(catalogue.popularity, "product", line)
    product = np.where(catalogue.arrives[product] > line_day, product * 7_919 % catalogue.regular, product)
    quantity = np.array(_PIECES)[draws.weighted(_PIECE_WEIGHTS, "pieces", line)]
    price, promotion = catalogue.price(product, line_day), catalogue.promotion(product, line_day)
    return Sales(
        first_order=np.r_[0, np.cumsum(orders_a_day)],
        first_line=np.r_[0, np.cumsum(lines_a_day)],
        placed=placed,
        customer=_customers(draws, number, day),
        payment=1 + draws.weighted(_PAYMENTS, "payment", number),
        order=order,
        product=product,
        promotion=promotion,
        quantity=quantity,
        price=price,
        amount=price * quantity,
        discount=catalogue.discount(promotion, quantity, price * quantity),
    )


def customer_joins(customer: Ints) -> Ints:
    """The day (from 0) on which a customer (from 1) joins; all but the last few were there from the start."""
    late = customer - (CUSTOMERS - LATE_CUSTOMERS)
    return np.where(late > 0, late * 7, 0)


def _spread(draws: Draws, orders: int) -> Ints:
    weekday = np.array([(FIRST_DAY + timedelta(d)).weekday() for d in range(DAYS)])
    return shares(orders, np.array(_WEEKDAYS)[weekday] * (95 + draws.below(11, "busy", np.arange(DAYS))))


def _moments(draws: Draws, number: Ints, day: Ints) -> Ints:
    """Microseconds since 1970, in the order of time within each day."""
    hour = draws.weighted(_HOURS, "hour", number)
    within = hour * 3_600_000_000 + draws.below(3_600_000_000, "moment", number)
    moments = start_of(FIRST_DAY) + day * MICROSECONDS_A_DAY + within
    return np.sort(moments, kind="stable")


def _lines_of(draws: Draws, day: int, orders: int, lines: int) -> Ints:
    """How many lines each order of a day has: one, and its part of the rest."""
    weights = np.cumsum(draws.below(9, "lines", day, np.arange(orders)))
    if orders == 0 or weights[-1] == 0:
        weights = np.arange(1, orders + 1)
    rest = weights * (lines - orders) // max(int(weights[-1]) if orders else 1, 1)
    return 1 + np.diff(rest, prepend=0)


def _customers(draws: Draws, number: Ints, day: Ints) -> Ints:
    customer = 1 + draws.weighted(100_000 // (np.arange(CUSTOMERS) + 25), "customer", number)
    return np.where(customer_joins(customer) > day, customer - LATE_CUSTOMERS, customer)
