"""What the rules speak of: an order that is asked for, the products it takes, an order that is placed. Data only.

Money is ``Decimal``: ``price`` to four places, ``amount`` and ``discount`` to the cent, as the source's columns are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

# a bigint, an integer, and what numeric(18,2) holds
LARGEST_ID = 2**63 - 1
LARGEST_QUANTITY = 2**31 - 1
LARGEST_AMOUNT = Decimal("9999999999999999.99")

MOST_LINES = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """Pieces of a product that an order asks for."""

    product_id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order as it is asked for; each product stands once in ``wanted``."""

    customer_id: int
    payment_id: int
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Promotion:
    """``price_treatment`` is percent off (``Percentage``), or money off a piece (``Fixed Amount``)."""

    id: int
    coupon_type: str
    price_treatment: Decimal


@dataclass(frozen=True, slots=True)
class Stock:
    """Pieces in one row of ``inventories``."""

    id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Product:
    """A product as it is at the moment of the order, its row and its stock locked."""

    id: int
    name: str
    price: Decimal
    promotion: Promotion | None
    stock: tuple[Stock, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A placed order's line: ``amount`` is what it costs before ``discount``, which is the whole line's."""

    id: int
    product_id: int
    promotion_id: int | None
    quantity: int
    price: Decimal
    amount: Decimal
    discount: Decimal


@dataclass(frozen=True, slots=True)
class Order:
    """A placed order; its moment is ``created_at``, the database's time of its transaction."""

    id: int
    customer_id: int
    payment_id: int
    created_at: datetime
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """All that placing an order writes: the order, and the pieces that are taken from rows of ``inventories``."""

    order: Order
    taken: tuple[Stock, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key, and what tells one request's body from another's."""

    value: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer that was given to a key's first request."""

    fingerprint: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """What a transaction begins an order with: its time, fresh ids for the order and its lines, the products, a key's kept answer.

    ``has_customer`` and ``has_payment`` say whether they are there; None where no product was found, and it was not looked for.
    """

    at: datetime
    order_id: int
    line_ids: tuple[int, ...]
    products: dict[int, Product]
    has_customer: bool | None
    has_payment: bool | None
    kept: KeptAnswer | None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the listing of orders, newest first: just after the order of this moment and id."""

    created_at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which orders are listed: of a customer, placed at or after ``start``, before ``end``, after a position; at most ``limit``."""

    limit: int
    customer_id: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    after: Position | None = None
