"""Random histories: whatever is written, extracted and published in whatever order, each unified view is PostgreSQL's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st

from rainbow.source.tables import TABLES
from tests.integration.mirroring import Seam
from tests.integration.small_shop import DAY_1, at, delete, put, sell
from tests.integration.test_lambda_seam import opened, seam
from tests.laws import examples

__all__ = ["seam"]

pytestmark = pytest.mark.services

RENAMED = ("customers", "sellers", "payments", "products", "categories")
# hours that pass, and by which the writer's clock is behind
HOURS, LATE = (1, 5, 13), (0, 0, 0, 0, 0, 5, 30)


@dataclass(frozen=True)
class Step:
    """Something that happens in a shop. The numbers choose among what there is then: ``row``, another row, and what the step is about."""

    what: str
    row: int = 0
    other: int = 0
    number: int = 0
    late: int = 0


class Life:
    """A shop in which steps happen; time goes on by steps of its own, and some writes come late."""

    def __init__(self, seam: Seam) -> None:
        self.seam, self.shop, self.hour, self.next, self.ran = seam, seam.shop, 49.0, 100, False
        self.open = ExitStack()
        self.waiting: psycopg.Connection[Any] | None = None

    def do(self, step: Step) -> None:
        """Let a step happen."""
        if step.what != "nothing":
            note(str(step))
            getattr(self, step.what)(step)

    def clock(self, step: Step) -> datetime:
        """The writer's clock."""
        return at(DAY_1, self.hour - step.late)

    def some(self, table: str, number: int) -> int:
        """A row of a table."""
        keys = self.shop.execute(f"select id from {table} order by id desc".encode()).fetchall()
        key: int = keys[number % len(keys)][0]
        return key

    def sale(self, step: Step) -> None:
        self.next += 1
        sell(self.shop, self.next, self.clock(step), product_id=self.some("products", step.other))

    def change_line(self, step: Step) -> None:
        put(self.shop, "orderdetails", self.some("orderdetails", step.row), self.clock(step), amount=f"{step.number}.00")

    def move_line(self, step: Step) -> None:
        put(self.shop, "orderdetails", self.some("orderdetails", step.row), self.clock(step), order_id=self.some("orders", step.other))

    def move_order(self, step: Step) -> None:
        moment = at(DAY_1, self.hour - 6 * step.number)
        put(self.shop, "orders", self.some("orders", step.row), self.clock(step), created_at=moment)

    def change_order(self, step: Step) -> None:
        customer, payment = self.some("customers", step.other), self.some("payments", step.number)
        put(self.shop, "orders", self.some("orders", step.row), self.clock(step), customer_id=customer, payment_id=payment)

    def delete_line(self, step: Step) -> None:
        if len(self.shop.execute("select from orderdetails limit 2").fetchall()) > 1:
            delete(self.shop, "orderdetails", self.some("orderdetails", step.row), self.clock(step))

    def change_product(self, step: Step) -> None:
        category, seller = self.some("categories", step.other), self.some("sellers", step.number)
        put(self.shop, "products", self.some("products", step.row), self.clock(step), category_id=category, seller_id=seller)

    def rename(self, step: Step) -> None:
        table = RENAMED[step.other % len(RENAMED)]
        put(self.shop, table, self.some(table, step.row), at(DAY_1, self.hour), name=f"name {step.number}")

    def open_transaction(self, step: Step) -> None:
        if self.waiting is None:
            info = self.shop.info
            self.waiting = self.open.enter_context(psycopg.connect(info.dsn, password=info.password))
            self.next += 1
            put(self.waiting, "orders", self.next, self.clock(step))
            put(self.waiting, "orderdetails", self.next, self.clock(step), order_id=self.next)

    def commit(self, _step: Step) -> None:
        if self.waiting:
            self.waiting.commit()
            self.waiting = None

    def time_passes(self, step: Step) -> None:
        self.hour += HOURS[step.number % len(HOURS)]

    def run(self, step: Step) -> None:
        """Yesterday's partition, or the one before; it is published whole or in part."""
        day = DAY_1 + timedelta(days=int(self.hour // 24) - 1)
        if self.ran and step.other % 5 == 4:
            day -= timedelta(days=1)
        self.seam.batch.extract(*((day,) if self.ran else (DAY_1, day)))
        if self.ran and step.number % 3 == 2:
            self.seam.batch.publish("dim_products", "dim_customers", "dim_payments", "dim_sellers", "dim_promotions")
            self.seam.batch.publish("total_sales", "top_sellers")
        else:
            self.seam.batch.publish()
        self.ran = True

    def look(self, _step: Step) -> None:
        if self.seam.mirror.done:
            self.seam.right()


# what happens more often is named more than once; the first is what a history is made smaller by
WRITES = ("nothing", "sale", "sale", "change_line", "move_line", "move_order", "change_order", "delete_line", "change_product", "rename")
OTHERS = ("look", "look", "look", "time_passes", "time_passes", "run", "run", "open_transaction", "commit")
small = st.integers(0, 9)
steps = st.builds(Step, st.sampled_from((*WRITES, *OTHERS)), small, small, small, st.sampled_from(LATE))


def test_a_random_history_is_right_whenever_it_is_looked_at(seam: Seam, sized: Callable[[int, int], int]) -> None:
    client, tables = seam.mirror.client, ", ".join(("audit", "deletions", *(table.name for table in TABLES)))

    @examples(sized, 5, 150, smaller=True)
    @given(before=st.lists(steps, max_size=6), after=st.lists(steps, min_size=8, max_size=sized(24, 60)))
    @example(before=[Step("change_product", number=1)], after=[Step("change_product")])  # twice at one moment, after its sales
    def law(before: list[Step], after: list[Step]) -> None:
        seam.shop.execute(f"truncate {tables} restart identity cascade".encode())
        # emptied and not dropped: the mirror's tables take a second to make
        client.command("create database if not exists mirror")
        client.command("truncate all tables from mirror")
        for database in ("batch", "serving"):
            client.command(f"drop database if exists {database} sync")
        life = Life(opened(seam.shop, client))
        with life.open:
            for step in before:
                life.do(step)
            note("the mirror begins")
            life.seam.mirror.begin()
            for step in after:
                life.do(step)
            life.seam.right()

    law()
