"""Random histories: whatever is written, extracted and published in whatever order, each unified view is PostgreSQL's."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.mirroring import Seam
from tests.integration.small_shop import DAY_1, at, delete, put, sell
from tests.integration.test_lambda_seam import seam

__all__ = ["seam"]

pytestmark = pytest.mark.services


class Life:
    """A shop in which something happens, drawn from a number; time goes on, and some writes are early or late."""

    def __init__(self, seam: Seam, number: int) -> None:
        self.seam, self.draw, self.hour, self.next, self.ran = seam, random.Random(number), 49.0, 100, False
        self.open = ExitStack()
        self.waiting: psycopg.Connection[Any] | None = None

    def now(self) -> Any:
        """The writer's clock: mostly now, sometimes hours back."""
        return at(DAY_1, self.hour - (self.draw.choice((5, 30)) if self.draw.random() < 0.15 else 0))

    def some(self, table: str) -> int:
        """A row of a table."""
        return self.draw.choice([key for (key,) in self.seam.shop.execute(f"select id from {table} order by id").fetchall()])  # type: ignore[arg-type]

    def sale(self) -> None:
        self.next += 1
        sell(self.seam.shop, self.next, self.now(), product_id=self.some("products"))

    def change_line(self) -> None:
        put(self.seam.shop, "orderdetails", self.some("orderdetails"), self.now(), amount=f"{self.draw.randint(1, 99)}.00")

    def move_line(self) -> None:
        put(self.seam.shop, "orderdetails", self.some("orderdetails"), self.now(), order_id=self.some("orders"))

    def move_order(self) -> None:
        put(self.seam.shop, "orders", self.some("orders"), self.now(), created_at=at(DAY_1, self.draw.uniform(-10, self.hour)))

    def change_order(self) -> None:
        put(self.seam.shop, "orders", self.some("orders"), self.now(), customer_id=self.some("customers"), payment_id=self.some("payments"))

    def delete_line(self) -> None:
        delete(self.seam.shop, "orderdetails", self.some("orderdetails"), self.now())

    def change_product(self) -> None:
        put(
            self.seam.shop,
            "products",
            self.some("products"),
            self.now(),
            category_id=self.some("categories"),
            seller_id=self.some("sellers"),
        )

    def rename(self) -> None:
        table = self.draw.choice(("customers", "sellers", "payments", "products", "categories"))
        put(self.seam.shop, table, self.some(table), at(DAY_1, self.hour), name=f"name {self.draw.randint(0, 99)}")

    def open_transaction(self) -> None:
        if self.waiting is None:
            info = self.seam.shop.info
            self.waiting = self.open.enter_context(psycopg.connect(info.dsn, password=info.password))
            self.next += 1
            put(self.waiting, "orders", self.next, self.now())
            put(self.waiting, "orderdetails", self.next, self.now(), order_id=self.next)

    def commit(self) -> None:
        if self.waiting:
            self.waiting.commit()
            self.waiting = None

    def time_passes(self) -> None:
        self.hour += self.draw.choice((1, 5, 13))

    def run(self) -> None:
        """Yesterday's partition, or the one before; half of the time it is published, whole or in part."""
        yesterday = DAY_1 + timedelta(days=int(self.hour // 24) - 1)
        if self.draw.random() < 0.2 and self.ran:
            yesterday -= timedelta(days=1)
        self.seam.batch.extract(*((DAY_1, yesterday) if not self.ran else (yesterday,)))
        if self.draw.random() < 0.3 and self.ran:
            self.seam.batch.publish("dim_products", "dim_customers", "dim_payments", "dim_sellers", "dim_promotions")
            self.seam.batch.publish("total_sales", "top_sellers")
        else:
            self.seam.batch.publish()
        self.ran = True

    def something(self) -> None:
        writes: tuple[Callable[[], None], ...] = (self.sale, self.change_line, self.move_line, self.move_order, self.change_order)
        others = (self.delete_line, self.change_product, self.rename, self.open_transaction, self.commit, self.time_passes, self.run)
        self.draw.choice((*writes, *others, self.time_passes, self.run, self.sale))()


@pytest.mark.parametrize("number", range(2))
def test_a_random_history_is_right_at_every_step(seam: Seam, number: int, sized: Callable[[int, int], int]) -> None:
    life = Life(seam, number)
    with life.open:
        for _ in range(life.draw.randint(0, 6)):
            life.something()
        seam.mirror.begin()
        for step in range(sized(24, 600)):
            life.something()
            if step % 4 == 3:
                seam.right()
