"""Posting a day of the data set as orders through the API, at a chosen pace: a load that looks like the shop's.

The API decides price, discount and stock, and an order's moment is now, so what arrives is not the data set's day but its baskets. Each
order's idempotency key follows from the data set and the order's id: posted again, within the time that the API keeps keys, nothing is
doubled. Lines of quantity 0 cannot be ordered and are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from time import perf_counter
from typing import Any

import httpx

from rainbow.datasets.shop import Dataset
from rainbow.errors import ServiceError

ORDERS = "/api/v1/orders"

# how often an order is sent that gets no answer, or is told to come again
ATTEMPTS = 8
LONGEST_WAIT = 10.0


@dataclass(frozen=True)
class Basket:
    """An order of the data set as the API takes it, the moment it was placed at, and its idempotency key."""

    key: str
    at: datetime
    body: dict[str, Any]


@dataclass
class Posted:
    """What became of the orders: placed now, placed by an earlier posting, refused (by the problem's kind), given up."""

    orders: int = 0
    placed: int = 0
    known: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    seconds: float = 0.0
    took: list[float] = field(default_factory=list)

    def milliseconds(self, share: float) -> float:
        """The time that this share of the answers took at most."""
        return sorted(self.took)[min(int(len(self.took) * share), len(self.took) - 1)] * 1000 if self.took else 0.0


def baskets(dataset: Dataset, day: date, start: date) -> list[Basket]:
    """The day's orders in the order of their moments, without lines of quantity 0; an order of nothing else is left out."""
    happened = dataset.day(day, start).orders
    if "orders" not in happened:
        return []
    lines: dict[int, dict[int, int]] = {}
    for order, product, quantity in _columns(happened["orderdetails"], "order_id", "product_id", "quantity"):
        if quantity:
            pieces = lines.setdefault(order, {})
            pieces[product] = pieces.get(product, 0) + quantity
    found = [
        Basket(
            f"{dataset.name}-{dataset.seed}-{order}",
            at,
            {
                "customerId": customer,
                "payment_id": payment,
                "products": [{"productId": product, "quantity": quantity} for product, quantity in lines[order].items()],
            },
        )
        for order, customer, payment, at in _columns(happened["orders"], "id", "customer_id", "payment_id", "created_at")
        if order in lines
    ]
    return sorted(found, key=lambda basket: basket.at)


def due(orders: Sequence[Basket], *, rate: float | None, speed: float | None) -> Iterator[float]:
    """When each order is sent, in seconds from the first: ``rate`` a second, or ``speed`` times as fast as they were placed; else at once."""
    for place, basket in enumerate(orders):
        if rate:
            yield place / rate
        elif speed:
            yield (basket.at - orders[0].at).total_seconds() / speed
        else:
            yield 0.0


async def post(
    orders: Sequence[Basket],
    url: str,
    *,
    token: str | None = None,
    rate: float | None = None,
    speed: float | None = None,
    at_a_time: int = 16,
    on_progress: Callable[[Posted], None] = lambda posted: None,
) -> Posted:
    """Post orders to the API at ``url``, ``at_a_time`` under way at most; one that gets no answer is sent again with its key.

    Raises ServiceError when nothing answers there at the beginning.
    """
    posted = Posted()
    began = perf_counter()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limits = httpx.Limits(max_connections=at_a_time, max_keepalive_connections=at_a_time)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, limits=limits, trust_env=False) as http:
        try:
            (await http.get("/ping")).raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceError(f"no orders API answers at {url} ({type(error).__name__}): start it with `rainbow api`") from None
        waiting = zip(orders, due(orders, rate=rate, speed=speed), strict=True)

        async def worker() -> None:
            for basket, when in waiting:
                await asyncio.sleep(max(0.0, began + when - perf_counter()))
                await _post_one(http, basket, posted)
                posted.seconds = perf_counter() - began
                on_progress(posted)

        await asyncio.gather(*(worker() for _ in range(at_a_time)))
    posted.seconds = perf_counter() - began
    return posted


async def _post_one(http: httpx.AsyncClient, basket: Basket, posted: Posted) -> None:
    posted.orders += 1
    for attempt in itertools.count(1):
        began = perf_counter()
        with contextlib.suppress(httpx.TransportError):
            answer = await http.post(ORDERS, json=basket.body, headers={"Idempotency-Key": basket.key})
            if answer.status_code < 500:
                posted.took.append(perf_counter() - began)
                _count(answer, posted)
                return
        if attempt == ATTEMPTS:
            posted.failed += 1
            return
        await asyncio.sleep(min(0.1 * 2**attempt, LONGEST_WAIT))


def _count(answer: httpx.Response, posted: Posted) -> None:
    if answer.status_code == 201:
        known = answer.headers.get("idempotent-replayed") == "true"
        posted.known += known
        posted.placed += not known
    else:
        posted.refused[_kind(answer)] += 1


def _kind(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["type"]).rpartition(":")[2]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


def _columns(table: Any, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)
