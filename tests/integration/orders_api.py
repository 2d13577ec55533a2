"""The orders API in this process, over a small shop: calls go through the whole application, without a socket."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg

from api.app import create_app
from rainbow.settings import Settings, settings
from rainbow.stack import ports
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


class Server:
    """The API as `rainbow api` serves it, a process of its own that can be killed and started again on its port."""

    def __init__(self, workers: int = 1, log: Path | None = None) -> None:
        self.port, self.workers, self.log = ports.choose("api", 0, None), workers, log
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, **environment: str) -> None:
        words = ["api", "--port", str(self.port), "--workers", str(self.workers)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from rainbow.cli import main; main()", *words],
            env={**os.environ, **environment},
            stdout=self.log.open("wb") if self.log else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )

    def wait_until_ready(self, path: str = "/ready") -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(self.url + path, timeout=5, trust_env=False).raise_for_status()
                return
            except httpx.HTTPError:
                assert time.monotonic() < deadline
                threading.Event().wait(0.1)


@contextmanager
def served(workers: int = 1, path: str = "/ready") -> Iterator[Server]:
    """A server that answers at ``path``; it is asked to stop at the end, and does."""
    server = Server(workers)
    server.start()
    try:
        server.wait_until_ready(path)
        yield server
    finally:
        server.process.terminate()
        assert server.process.wait(30) == 0


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
