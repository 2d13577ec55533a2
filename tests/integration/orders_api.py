"""The orders API in this process, over a small shop: calls go through the whole application, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import psycopg

from api.app import create_app
from rainbow.settings import Settings, settings
from tests.integration.small_shop import BEFORE, open_shop, put

Connection = psycopg.Connection[Any]
T = TypeVar("T")

ORDERS = "/api/v1/orders"


@asynccontextmanager
async def client(configuration: Settings | None = None, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that is started for it."""
    app = create_app(configuration)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://shop", headers=headers) as http:
        yield http


def with_client(work: Callable[[httpx.AsyncClient], Awaitable[T]], configuration: Settings | None = None, **headers: str) -> T:
    """What ``work`` returns, given a client."""

    async def run() -> T:
        async with client(configuration, **headers) as http:
            return await work(http)

    return asyncio.run(run())


def call(method: str, path: str, configuration: Settings | None = None, **options: Any) -> httpx.Response:
    """One call."""
    return with_client(lambda http: http.request(method, path, **options), configuration)


def configured(**changes: Any) -> Settings:
    """The settings of this process, with changes."""
    return settings().model_copy(update=changes)


def fill(connection: Connection) -> None:
    """Customers 1 and 2, payments 1 and 2, and four products: 1 at 10.50 less 10 %, 2 at 2.00 less 0.25 a piece, 3 at 0.3333, 4 without a
    row of stock. Stock: 10 pieces of 1 and 3; of 2 in two rows, 3 and 4."""
    open_shop(connection)
    for table in ("customers", "payments"):
        put(connection, table, 2, BEFORE)
    put(connection, "promotions", 2, BEFORE, coupon_type="Fixed Amount", price_treatment="0.25")
    put(connection, "products", 1, BEFORE, promotion_id=1)
    put(connection, "products", 2, BEFORE, name="Cup", price="2.00", promotion_id=2)
    put(connection, "products", 3, BEFORE, name="Leaf", price="0.3333")
    put(connection, "products", 4, BEFORE, name="Bare")
    put(connection, "inventories", 1, BEFORE, product_id=1, quantity=10)
    put(connection, "inventories", 2, BEFORE, product_id=2, quantity=3)
    put(connection, "inventories", 3, BEFORE, product_id=2, quantity=4)
    put(connection, "inventories", 4, BEFORE, product_id=3, quantity=10)


def order(*lines: tuple[int, int], customer: int = 1, payment: int = 2) -> dict[str, Any]:
    """A body: products and their quantities."""
    return {"customerId": customer, "payment_id": payment, "products": [{"productId": p, "quantity": q} for p, q in lines]}
