"""The shapes of requests and answers as HTTP has them, and as the OpenAPI document describes them.

Names are the source's (``payment_id``, ``created_at``) except where the API's contract names them otherwise (``customerId``,
``productId``). Money is text in JSON: a float could not hold it, and many readers would make one of a number.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict

from api.cursors import LONGEST
from api.models import LARGEST_ID, LARGEST_QUANTITY, MOST_LINES, NewOrder, Order, Wanted

Id = Annotated[int, Field(ge=1, le=LARGEST_ID, strict=True)]
# what answers have may come from elsewhere: ids of any sign, lines of quantity 0
AnyId = Annotated[int, Field(ge=-LARGEST_ID - 1, le=LARGEST_ID)]
Money = Annotated[str, Field(pattern=r"^\d{1,18}\.\d{2}$", examples=["21.00"])]
Price = Annotated[str, Field(pattern=r"^\d{1,14}\.\d{4}$", examples=["10.5000"])]
Moment = Annotated[datetime, Field(examples=["2024-09-01T12:00:00.000000Z"])]


def _written_as_day(value: object) -> object:
    """Only ``2024-09-01`` is a day: pydantic would also take a number, as seconds since 1970."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("write the day as 2024-09-01")
    return value


Day = Annotated[date, BeforeValidator(_written_as_day)]

MOST_ORDERS = 100

_NOTHING = Decimal("0.00")

EXAMPLE: JsonDict = {"customerId": 1, "payment_id": 2, "products": [{"productId": 1, "quantity": 2}]}


class NewLineBody(BaseModel):
    """Pieces of a product."""

    model_config = ConfigDict(extra="forbid", title="NewLine")

    product_id: Id = Field(alias="productId", description="A product's id.")
    quantity: Annotated[int, Field(ge=1, le=LARGEST_QUANTITY, strict=True, description="Pieces.")]


class NewOrderBody(BaseModel):
    """An order to be placed. The server sets prices and discounts; pieces of a product that is named twice are added up."""

    model_config = ConfigDict(extra="forbid", title="NewOrder", json_schema_extra={"examples": [EXAMPLE]})

    customer_id: Id = Field(alias="customerId", description="Who orders.")
    payment_id: Id = Field(description="How it is paid.")
    products: Annotated[list[NewLineBody], Field(min_length=1, max_length=MOST_LINES, description="What is ordered.")]

    def as_order(self) -> NewOrder:
        """The same as data of the rules."""
        return NewOrder(self.customer_id, self.payment_id, tuple(Wanted(line.product_id, line.quantity) for line in self.products))


class LineAnswer(BaseModel):
    """A line of an order."""

    model_config = ConfigDict(title="Line")

    id: AnyId
    productId: AnyId  # noqa: N815
    promotion_id: AnyId | None = Field(description="The promotion that gave the discount.")
    quantity: Annotated[int, Field(ge=0, le=LARGEST_QUANTITY)]
    price: Price = Field(description="Unit price at that moment.")
    amount: Money = Field(description="What the line costs before discount.")
    discount: Money = Field(description="Taken off the whole line.")


class OrderAnswer(BaseModel):
    """An order as it was placed."""

    model_config = ConfigDict(title="Order")

    id: AnyId
    customerId: AnyId  # noqa: N815
    payment_id: AnyId
    created_at: Moment
    amount: Money = Field(description="Sum of the lines' amounts.")
    discount: Money = Field(description="Sum of the lines' discounts.")
    total: Annotated[str, Field(pattern=r"^-?\d{1,20}\.\d{2}$", examples=["18.90"], description="Amount less discount.")]
    products: list[LineAnswer]


class PageAnswer(BaseModel):
    """A page of orders, the newest first; ``next`` is the next page's cursor, null on the last page."""

    model_config = ConfigDict(title="Page")

    orders: list[OrderAnswer]
    next: str | None


class ServiceAnswer(BaseModel):
    """What this service is."""

    model_config = ConfigDict(title="Service")

    name: str
    version: str
    documentation: str
    openapi: str
    orders: str


class StateAnswer(BaseModel):
    """That all is well."""

    model_config = ConfigDict(title="State")

    status: Literal["ok"]


class ErrorAnswer(BaseModel):
    """What is wrong, and where: in the body (a JSON pointer), or in a parameter."""

    model_config = ConfigDict(title="Error")

    pointer: str | None = Field(None, examples=["#/products/0/quantity"])
    parameter: str | None = None
    detail: str


class ProblemAnswer(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str = Field(examples=["urn:rainbow:problem:invalid-body"])
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    errors: list[ErrorAnswer] = Field(default=[], description="Each thing that is wrong; at most 20.")
    request_id: str


class ListQuery(BaseModel):
    """Which orders are listed. Days are UTC days."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MOST_ORDERS, description="Orders a page.")] = 20
    cursor: Annotated[str | None, Field(max_length=LONGEST, description="Where to go on: `next` of the page before.")] = None
    customer_id: Annotated[int | None, Field(ge=1, le=LARGEST_ID, description="Orders of this customer.")] = None
    start: Annotated[Day | None, Field(alias="from", description="Orders of this day and later.", examples=["2024-09-01"])] = None
    until: Annotated[Day | None, Field(alias="to", description="Orders of this day and earlier.", examples=["2024-09-06"])] = None


def order_answer(order: Order) -> dict[str, Any]:
    """An order as ``OrderAnswer`` describes it."""
    amount, discount = sum((line.amount for line in order.lines), _NOTHING), sum((line.discount for line in order.lines), _NOTHING)
    return {
        "id": order.id,
        "customerId": order.customer_id,
        "payment_id": order.payment_id,
        "created_at": moment(order.created_at),
        "amount": f"{amount:f}",
        "discount": f"{discount:f}",
        "total": f"{amount - discount:f}",
        "products": [
            {
                "id": line.id,
                "productId": line.product_id,
                "promotion_id": line.promotion_id,
                "quantity": line.quantity,
                "price": f"{line.price:f}",
                "amount": f"{line.amount:f}",
                "discount": f"{line.discount:f}",
            }
            for line in order.lines
        ],
    }


def order_bytes(order: Order) -> bytes:
    """An order as JSON."""
    return orjson.dumps(order_answer(order))


def moment(at: datetime) -> str:
    """An instant as RFC 3339 has it, in UTC and always to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
