"""The rules of an order, and placing one in a unit of work.

The rules (``merged``, ``priced``, ``taken_from``, ``placed``) are functions of data: a price and a promotion's discount as they are at
that moment, to the cent, half a cent up; stock that suffices; pieces counted as sold. ``OrderService`` reads, applies them and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

import psycopg
from psycopg import errors

from api.database import Database
from api.models import (
    LARGEST_AMOUNT,
    LARGEST_QUANTITY,
    Key,
    Line,
    NewOrder,
    Opening,
    Order,
    Placement,
    Product,
    Promotion,
    Selection,
    Stock,
    Wanted,
)
from api.repositories import OrderRepository
from api.unit_of_work import UnitOfWork

CENT = Decimal("0.01")

# what a deadlock, a lost connection before the commit, or a key that another request has just used are given
ATTEMPTS = 4

# how a lost connection shows itself: without a word, or with the server's farewell
LOST = (None, errors.AdminShutdown.sqlstate, errors.CrashShutdown.sqlstate, errors.CannotConnectNow.sqlstate)


class OrderRefusedError(Exception):
    """An order that is not placed; nothing has changed."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a part of an order: ``customer``, ``payment``, or the line of a product."""

    part: str
    text: str
    product_id: int | None = None


class InvalidOrderError(OrderRefusedError):
    """The order names customers, payment methods or products that are not there, or asks for what no row can hold."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.text for fault in faults))


class OutOfStockError(OrderRefusedError):
    """Fewer pieces are in stock than the order asks for."""

    def __init__(self, product_id: int, name: str, wanted: int, left: int) -> None:
        self.product_id, self.wanted, self.left = product_id, wanted, left
        super().__init__(
            f"product {product_id} ({name}): {wanted} asked for, {left} in stock" if name else f"product {product_id} has no stock"
        )


class KeyReusedError(OrderRefusedError):
    """The idempotency key came with another body before."""


class OrderNotFoundError(Exception):
    """There is no order of this id."""


def merged(wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
    """One line a product, in the order of their first mention: pieces of a product that is named twice are added up.

    Raises InvalidOrderError when a sum is more than a line can hold.
    """
    pieces: dict[int, int] = {}
    for line in wanted:
        pieces[line.product_id] = pieces.get(line.product_id, 0) + line.quantity
    if faults := [
        Fault("product", f"{n} pieces are more than {LARGEST_QUANTITY}", id_) for id_, n in pieces.items() if n > LARGEST_QUANTITY
    ]:
        raise InvalidOrderError(faults)
    return tuple(Wanted(*line) for line in pieces.items())


def priced(product: Product, quantity: int) -> tuple[Decimal, Decimal]:
    """What pieces of a product cost and what its promotion takes off them, both for the whole line, to the cent.

    A discount is never more than the amount. Raises InvalidOrderError for an amount that ``numeric(18,2)`` cannot hold.
    """
    amount = (product.price * quantity).quantize(CENT, ROUND_HALF_UP)
    if amount > LARGEST_AMOUNT:
        raise InvalidOrderError([Fault("product", f"product {product.id}: {amount} is more than a line can hold", product.id)])
    return amount, min(_discount(product.promotion, amount, quantity), amount)


def _discount(promotion: Promotion | None, amount: Decimal, quantity: int) -> Decimal:
    if promotion is None:
        return Decimal("0.00")
    off = amount * promotion.price_treatment / 100 if promotion.coupon_type == "Percentage" else promotion.price_treatment * quantity
    return min(off, amount).quantize(CENT, ROUND_HALF_UP)


def taken_from(product: Product, quantity: int) -> Iterable[Stock]:
    """How many pieces are taken from which row of stock, the first rows first.

    Raises OutOfStockError when all rows together have fewer.
    """
    left = quantity
    for stock in product.stock:
        if pieces := min(stock.quantity, left):
            yield Stock(stock.id, pieces)
            left -= pieces
    if left:
        raise OutOfStockError(product.id, product.name, quantity, quantity - left)


def placed(wanted: NewOrder, opening: Opening) -> Placement:
    """The order that is written, from what was asked for and what the transaction found; every product is among the opening's.

    Raises OutOfStockError for the first product whose stock does not suffice, InvalidOrderError for an amount out of range.
    """
    lines: list[Line] = []
    taken: list[Stock] = []
    for id_, line in zip(opening.line_ids, wanted.wanted, strict=True):
        product = opening.products[line.product_id]
        amount, discount = priced(product, line.quantity)
        taken += taken_from(product, line.quantity)
        promotion = product.promotion.id if product.promotion else None
        lines.append(Line(id_, product.id, promotion, line.quantity, product.price, amount, discount))
    order = Order(opening.order_id, wanted.customer_id, wanted.payment_id, opening.at, tuple(lines))
    return Placement(order, tuple(taken))


class OrderService:
    """Placing and finding orders."""

    def __init__(self, database: Database, represent: Callable[[Order], bytes]) -> None:
        """``represent`` makes the answer that is given to an order, and kept for its key."""
        self._database = database
        self._represent = represent

    async def place(self, asked: NewOrder, key: Key | None) -> tuple[bytes, bool]:
        """Place an order in one transaction; its answer, and whether it was placed now or is the kept one of an earlier request.

        Raises OrderRefusedError when it is not placed, psycopg.Error when the database does not answer. What failed before its commit was
        sent is tried again; after that only the caller can, with the same key.
        """
        wanted = replace(asked, wanted=merged(asked.wanted))
        for attempt in range(1, ATTEMPTS + 1):
            work = UnitOfWork(self._database)
            try:
                return await self._placed(work, wanted, key)
            except (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
                if attempt == ATTEMPTS:
                    raise
            except errors.ForeignKeyViolation:
                # deleted since it was looked for: the next attempt says what is missing
                if attempt == ATTEMPTS:
                    raise
            except psycopg.OperationalError as error:
                if attempt == ATTEMPTS or work.committing or not work.connected or error.sqlstate not in LOST:
                    raise
        raise AssertionError("unreachable")

    async def _placed(self, work: UnitOfWork, wanted: NewOrder, key: Key | None) -> tuple[bytes, bool]:
        async with work:
            opening = await work.orders.open(wanted, key)
            if key and opening.kept:
                if opening.kept.fingerprint != key.fingerprint:
                    raise KeyReusedError
                return opening.kept.body, False
            if not (opening.has_customer and opening.has_payment and len(opening.products) == len(wanted.wanted)):
                raise await _refusal(work.orders, wanted, opening)
            placement = placed(wanted, opening)
            answer = self._represent(placement.order)
            work.orders.add(placement, key, answer)
            await work.commit()
            return answer, True

    async def get(self, order_id: int) -> Order:
        """An order. Raises OrderNotFoundError."""
        async with self._database.session() as session:
            order = await OrderRepository(session).get(order_id)
        if order is None:
            raise OrderNotFoundError
        return order

    async def select(self, selection: Selection) -> tuple[list[Order], bool]:
        """Orders, the newest first, and whether there are more after them: one more than asked for is looked for."""
        async with self._database.session() as session:
            found = await OrderRepository(session).select(replace(selection, limit=selection.limit + 1))
        return found[: selection.limit], len(found) > selection.limit


async def _refusal(orders: OrderRepository, wanted: NewOrder, opening: Opening) -> OrderRefusedError:
    """Why an order whose members were not all found cannot be placed: who is not there, or which product has no row of stock."""
    has_customer, has_payment, products = await orders.members(wanted)
    faults = []
    if not has_customer:
        faults.append(Fault("customer", f"there is no customer {wanted.customer_id}"))
    if not has_payment:
        faults.append(Fault("payment", f"there is no payment method {wanted.payment_id}"))
    faults += [
        Fault("product", f"there is no product {line.product_id}", line.product_id)
        for line in wanted.wanted
        if line.product_id not in products
    ]
    if faults:
        return InvalidOrderError(faults)
    bare = next((line for line in wanted.wanted if line.product_id not in opening.products), None)
    if bare:
        return OutOfStockError(bare.product_id, "", bare.quantity, 0)
    # someone came back between the two looks
    return InvalidOrderError([Fault("order", "the shop changed while the order was placed; send it again")])
