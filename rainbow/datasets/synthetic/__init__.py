"""A made shop at the size of the original: 37 days of 2024 in Vietnam, 220,343 orders, 1,196,044 order lines, 510,199 product versions.

Everything follows from the seed, by whole numbers. All sales are made at once at first use (about two seconds); days are cut from
them, so the replay and the whole agree to the last row. docs/datasets.md says how it was made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property

import numpy as np
import pyarrow as pa

from rainbow.datasets.draws import Draws, Ints
from rainbow.datasets.shop import Day, Delete, Rejected, Rows, Totals, Update, decimals, instants, moment_of, optional, rows_of
from rainbow.datasets.synthetic import names, sales
from rainbow.datasets.synthetic.catalogue import DAYS, PROMOTIONS, Catalogue
from rainbow.datasets.synthetic.members import Member, Members
from rainbow.datasets.synthetic.products import Products, State
from rainbow.datasets.synthetic.sales import CUSTOMERS, FIRST_DAY, Sales
from rainbow.errors import DataError

ORDERS, LINES, VERSIONS = 220_343, 1_196_044, 510_199

_NAMED = ("brands", "categories", "sellers", "customers", "payments", "promotions")


class Synthetic:
    """The made shop; see ``shop.Dataset``. ``scale`` makes fewer orders, lines and products; the small tables stay as they are."""

    name = "synthetic"
    title = "A made shop"
    caveat = "This shop is made up from a seed number; nobody's data are in it."
    currency = "VND"
    days = tuple(FIRST_DAY + timedelta(n) for n in range(DAYS))
    rejected: tuple[Rejected, ...] = ()

    def __init__(self, seed: int = 1, scale: float = 1.0) -> None:
        if not 0 < scale <= 1:
            raise DataError(f"a shop of {scale} times the original's size cannot be made: choose more than 0 and at most 1")
        self.seed, self.scale = seed, scale
        self.draws = Draws(seed)
        self.catalogue = Catalogue(self.draws, scale)

    @property
    def next_ids(self) -> Mapping[str, int]:
        """By table, the largest id of all days."""
        return {
            "customers": CUSTOMERS,
            "promotions": PROMOTIONS,
            "products": self.catalogue.count,
            "inventories": self.catalogue.count,
            "orders": len(self.sales.placed),
            "orderdetails": len(self.sales.order),
        }

    @property
    def totals(self) -> Totals:
        """What the lines sum to."""
        return Totals(len(self.sales.order), Decimal(int(self.sales.amount.sum())), Decimal(int(self.sales.discount.sum())))

    @property
    def versions(self) -> int:
        """Versions of products that a daily extract of the replay sees, the rows at the start included."""
        return self.products.versions

    @cached_property
    def sales(self) -> Sales:
        """All orders and lines."""
        return sales.make(self.draws, self.catalogue, max(DAYS, round(ORDERS * self.scale)), max(2 * DAYS, round(LINES * self.scale)))

    @cached_property
    def products(self) -> Products:
        """What happens to the products."""
        return Products(self.draws, self.catalogue, self.sales, round(VERSIONS * self.scale))

    @cached_property
    def members(self) -> Members:
        """The small tables."""
        return Members(self.draws, self.catalogue)

    def whole(self) -> Rows:
        """Every row, as it is after the last day; of the products' versions the newest."""
        return {**self._members_at(DAYS), **self._orders(0, DAYS)}

    def baseline(self, start: date) -> Rows:
        """The members as they were when ``start`` began."""
        return self._members_at((start - FIRST_DAY).days)

    def day(self, day: date, start: date) -> Day:
        """What happens on ``day``."""
        n = (day - FIRST_DAY).days
        changes = self.products.changes[n]
        known = len(changes.changed)
        every = np.arange(known + len(changes.came))
        came, changed = changes.after[every[known:]], changes.after[every[:known]]
        members = {table: self._named(table, self.members.joining(table, n)) for table in _NAMED}
        members |= {"products": self._product_rows(changes.came, came), "inventories": self._stock_rows(changes.came, came)}
        sold, restocked = changes.sold[:known], changes.restocked[:known]
        updates = [
            self._renamed(table, n) for table in _NAMED
        ] + [
            Update("products", self._product_changes(changes.changed, changed, sold), add=frozenset({"sold_count"})),
            Update("inventories", self._stock_changes(changes.changed, changed, changed.stock, restocked)),
            Update("inventories", self._stock_changes(changes.changed, changed, sold, (sold > 0) & ~restocked), take=frozenset({"quantity"})),
        ]  # fmt: skip
        leaving = Delete(tuple((changes.left + 1).tolist()), moment_of(changes.left_at))
        return Day(day, members, tuple(updates), self._orders(n, n + 1), (leaving,))

    def _members_at(self, day: int) -> Rows:
        state = self.products.at(day)
        there = np.flatnonzero(state.updated >= 0)
        return {
            **{table: self._named(table, self.members.before(table, day)) for table in _NAMED},
            "products": self._product_rows(there, state[there]),
            "inventories": self._stock_rows(there, state[there]),
        }

    def _named(self, table: str, members: list[Member]) -> pa.Table:
        ids = np.array([m.id for m in members], dtype=np.int64)
        more = {}
        if table == "promotions":
            more = {
                "coupon_type": pa.array(np.where(self.catalogue.percentage, "Percentage", "Fixed Amount")[ids - 1], pa.string()),
                "price_treatment": decimals(self.catalogue.treatment[ids - 1] * 10_000, 4),
            }
        return rows_of(
            table,
            id=ids,
            name=pa.array([m.name for m in members], pa.string()),
            created_at=instants(np.array([m.created for m in members], dtype=np.int64)),
            updated_at=instants(np.array([m.updated for m in members], dtype=np.int64)),
            **more,
        )

    def _renamed(self, table: str, day: int) -> Update:
        return Update(table, self._named(table, self.members.renamed(table, day)).select(["id", "name", "updated_at"]))

    @cached_property
    def _product_names(self) -> pa.Array:
        return pa.array(names.products(self.draws, self.catalogue.category, self.catalogue.brand))

    def _product_rows(self, which: Ints, rows: State) -> pa.Table:
        brand = self.catalogue.brand[which]
        return rows_of(
            "products",
            id=which + 1,
            name=self._product_names.take(pa.array(which)),
            **self._priced(rows),
            sold_count=rows.sold,
            brand_id=optional(brand, brand == 0),
            created_at=instants(rows.created),
            updated_at=instants(rows.updated),
        )

    def _product_changes(self, which: Ints, rows: State, sold: Ints) -> pa.Table:
        return rows_of("products", id=which + 1, **self._priced(rows), sold_count=sold, updated_at=instants(rows.updated))

    def _priced(self, rows: State) -> dict[str, pa.Array]:
        count = np.maximum(rows.reviews, 1)
        return {
            "price": decimals(rows.price * 10_000, 4),
            "original_price": decimals(rows.original * 10_000, 4, rows.original < 0),
            "rating_average": decimals((rows.stars * 200 + count) // (count * 2), 2, rows.reviews == 0),
            "review_count": optional(rows.reviews, rows.reviews == 0),
            "category_id": pa.array(rows.category),
            "seller_id": pa.array(rows.seller),
            "promotion_id": optional(rows.promotion, rows.promotion == 0),
        }

    def _stock_rows(self, which: Ints, rows: State) -> pa.Table:
        ids = which + 1
        created, updated = instants(rows.created), instants(rows.stock_at)
        return rows_of("inventories", id=ids, product_id=ids, quantity=rows.stock, created_at=created, updated_at=updated)

    def _stock_changes(self, which: Ints, rows: State, quantity: Ints, where: np.ndarray) -> pa.Table:
        return rows_of("inventories", id=which[where] + 1, quantity=quantity[where], updated_at=instants(rows.stock_at[where]))

    def _orders(self, first: int, last: int) -> Rows:
        made = self.sales
        orders = slice(int(made.first_order[first]), int(made.first_order[last]))
        lines = slice(int(made.first_line[first]), int(made.first_line[last]))
        order, promotion = made.order[lines], made.promotion[lines]
        placed, at = instants(made.placed[orders]), instants(made.placed[order])
        return {
            "orders": rows_of(
                "orders",
                id=np.arange(orders.start + 1, orders.stop + 1),
                customer_id=made.customer[orders],
                payment_id=made.payment[orders],
                created_at=placed,
                updated_at=placed,
            ),
            "orderdetails": rows_of(
                "orderdetails",
                id=np.arange(lines.start + 1, lines.stop + 1),
                order_id=order + 1,
                product_id=made.product[lines] + 1,
                promotion_id=optional(promotion, promotion == 0),
                quantity=made.quantity[lines],
                price=decimals(made.price[lines] * 10_000, 4),
                amount=decimals(made.amount[lines] * 100, 2),
                discount=decimals(made.discount[lines] * 100, 2),
                created_at=at,
                updated_at=at,
            ),
        }
