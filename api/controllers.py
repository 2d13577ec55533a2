"""Between HTTP and the services: reads and bounds a request, calls a service, says its answer or its refusal in HTTP's words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

import orjson
import psycopg
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api import cursors
from api.models import Key, NewOrder, Position, Selection
from api.problems import ProblemError, invalid_body, pointer, unavailable
from api.schemas import ListQuery, NewOrderBody, order_answer, order_bytes
from api.services import InvalidOrderError, KeyReusedError, OrderNotFoundError, OrderService, OutOfStockError

JSON = "application/json"
ORDERS = "/api/v1/orders"

LARGEST_BODY = 64 * 1024

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class OrderController:
    """The three calls of orders."""

    def __init__(self, service: OrderService) -> None:
        self._service = service

    async def create(self, request: Request) -> Response:
        """Place the order of a request's body: 201 and where it is."""
        key_value = _key_of(request.headers)
        asked = _parsed(await _body_of(request))
        order = asked.as_order()
        key = Key(key_value, _fingerprint(order)) if key_value else None
        try:
            answer, is_new = await self._service.place(order, key)
        except InvalidOrderError as refused:
            raise _invalid_order(refused, asked) from refused
        except OutOfStockError as refused:
            place = _place_of(refused.product_id, asked)
            raise ProblemError(
                409,
                "out-of-stock",
                str(refused),
                errors=[{"pointer": place, "detail": f"{refused.left} in stock"}],
                productId=refused.product_id,
                in_stock=refused.left,
            ) from refused
        except KeyReusedError as refused:
            raise ProblemError(
                409,
                "key-reused",
                "this Idempotency-Key came with another body before: send that body again, or take a new key",
                errors=[{"parameter": "Idempotency-Key", "detail": "used with another body"}],
            ) from refused
        headers = {"Location": f"{request.scope.get('root_path', '')}{ORDERS}/{orjson.loads(answer)['id']}"}
        if not is_new:
            headers["Idempotent-Replayed"] = "true"
        return Response(answer, 201, headers, JSON)

    async def get(self, order_id: int) -> Response:
        """An order by its id."""
        try:
            return Response(order_bytes(await self._service.get(order_id)), media_type=JSON)
        except OrderNotFoundError:
            raise ProblemError(404, "order-not-found", f"there is no order {order_id}") from None

    async def select(self, request: Request, query: ListQuery) -> Response:
        """A page of orders, and where the next one is (RFC 8288)."""
        orders, is_more = await self._service.select(_selection(query))
        following = cursors.encoded(Position(orders[-1].created_at, orders[-1].id)) if is_more else None
        headers = {}
        if following:
            asked = query.model_dump(by_alias=True, exclude_unset=True, exclude={"cursor"}, exclude_none=True, mode="json")
            address = f"{request.scope.get('root_path', '')}{ORDERS}?{urlencode({**asked, 'cursor': following})}"
            headers["Link"] = f'<{address}>; rel="next"'
        return Response(orjson.dumps({"orders": [*map(order_answer, orders)], "next": following}), 200, headers, JSON)


def of_database(error: psycopg.Error) -> ProblemError:
    """What a caller is told of an error of the database: no word of its own."""
    if isinstance(error, psycopg.errors.UndefinedTable):
        return unavailable("the shop's tables are not there: `rainbow seed` makes them", 30)
    if isinstance(error, psycopg.OperationalError | psycopg.errors.UniqueViolation | psycopg.errors.ForeignKeyViolation):
        return unavailable("the database did not answer in time: send the same request again, an order with the same Idempotency-Key")
    if isinstance(error, psycopg.errors.NumericValueOutOfRange):
        return ProblemError(400, "out-of-range", "a count or a sum of this order is more than the shop can hold")
    return ProblemError(500, "internal", "something went wrong here; the request id finds it in the service's log")


async def _body_of(request: Request) -> bytes:
    """The body, read only as far as it may be long."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise ProblemError(415, "not-json", f"send the order as {JSON}", headers={"Accept": JSON})
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > LARGEST_BODY:
        raise _too_large()
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise _too_large()
    return body


def _too_large() -> ProblemError:
    return ProblemError(413, "too-large", f"an order has at most {LARGEST_BODY} bytes", headers={"Connection": "close"})


def _parsed(body: bytes) -> NewOrderBody:
    try:
        return NewOrderBody.model_validate_json(body)
    except ValidationError as error:
        raise invalid_body(error.errors(include_url=False, include_context=False, include_input=False)) from None


def _key_of(headers: Mapping[str, str]) -> str | None:
    value = headers.get("idempotency-key")
    if value is not None and not _KEY.fullmatch(value):
        raise ProblemError(
            400,
            "invalid-parameter",
            "Idempotency-Key: 1 to 255 visible ASCII characters",
            errors=[{"parameter": "Idempotency-Key", "detail": "1 to 255 visible ASCII characters"}],
        )
    return value


def _fingerprint(order: NewOrder) -> str:
    """The same for bodies that ask for the same, however they are spaced or ordered within an object."""
    parts = [order.customer_id, order.payment_id, *((line.product_id, line.quantity) for line in order.wanted)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _invalid_order(refused: InvalidOrderError, asked: NewOrderBody) -> ProblemError:
    places = {"customer": "#/customerId", "payment": "#/payment_id", "order": "#"}
    faults = [{"pointer": places.get(f.part) or _place_of(f.product_id or 0, asked), "detail": f.text} for f in refused.faults]
    return ProblemError(400, "invalid-order", str(refused), errors=faults)


def _place_of(product_id: int, asked: NewOrderBody) -> str:
    """Where a product is named first."""
    index = next(n for n, line in enumerate(asked.products) if line.product_id == product_id)
    return pointer(["products", index, "productId"])


def _selection(query: ListQuery) -> Selection:
    try:
        after = cursors.decoded(query.cursor) if query.cursor is not None else None
    except ValueError as error:
        raise ProblemError(400, "invalid-parameter", f"cursor: {error}", errors=[{"parameter": "cursor", "detail": str(error)}]) from None
    last = query.until + timedelta(1) if query.until and query.until < date.max else None
    return Selection(query.limit, query.customer_id, _start_of(query.start), _start_of(last), after)


def _start_of(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None
