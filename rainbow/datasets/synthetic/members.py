"""The made shop's members that have little more than a name: who they are, when they join, and which names change on which day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from rainbow.datasets.draws import Draws
from rainbow.datasets.shop import MICROSECONDS_A_DAY, start_of
from rainbow.datasets.synthetic import names
from rainbow.datasets.synthetic.catalogue import DAYS, SELLERS, Catalogue
from rainbow.datasets.synthetic.products import OPENED
from rainbow.datasets.synthetic.sales import CUSTOMERS, FIRST_DAY, customer_joins


@dataclass(frozen=True)
class Member:
    """A row: its id, its name, the instants at which it was made and last changed, and the day (from 0) of that change, -1: before."""

    id: int
    name: str
    created: int
    updated: int
    day: int


class Members:
    """Brands, categories, sellers, customers, payment methods and promotions, by table."""

    def __init__(self, draws: Draws, catalogue: Catalogue) -> None:
        self._draws = draws
        first = {
            "brands": list(names.BRANDS),
            "categories": list(names.CATEGORIES),
            "sellers": names.sellers(draws, SELLERS),
            "customers": names.people(draws, CUSTOMERS),
            "payments": list(names.PAYMENTS),
            "promotions": [_promotion_name(p, int(t)) for p, t in zip(catalogue.percentage, catalogue.treatment, strict=True)],
        }
        joins = {"customers": customer_joins(np.arange(1, CUSTOMERS + 1)), "promotions": catalogue.promotion_begins}
        self._versions: dict[str, list[Member]] = {}
        for table, of_table in first.items():
            days = joins[table].tolist() if table in joins else [0] * len(of_table)
            self._versions[table] = [_joining(n, name, day) for n, (name, day) in enumerate(zip(of_table, days, strict=True), start=1)]
        for day in range(DAYS):
            self._rename(day)

    def before(self, table: str, day: int) -> list[Member]:
        """The rows as they are when the ``day``-th day begins."""
        return sorted({m.id: m for m in self._versions[table] if m.day < day}.values(), key=lambda m: m.id)

    def joining(self, table: str, day: int) -> list[Member]:
        """The rows that are made on a day."""
        return [m for m in self._versions[table] if m.day == day and m.created == m.updated]

    def renamed(self, table: str, day: int) -> list[Member]:
        """The rows that change on a day."""
        return [m for m in self._versions[table] if m.day == day and m.created < m.updated]

    def _rename(self, day: int) -> None:
        date = FIRST_DAY + timedelta(day)
        customer = self._one_of("customers", day)
        self._change(customer, "customers", f"{customer.name.split(',')[0]}, chuyển nhà {date}", day)
        if day % 3 == 0:
            promotion = self._one_of("promotions", day)
            self._change(promotion, "promotions", f"{promotion.name.split(' (')[0]} (gia hạn {date})", day)
        if day % 4 == 0:
            seller = self._one_of("sellers", day)
            self._change(seller, "sellers", names.new_street(self._draws, seller.name, day), day)
        if day == 10:
            method = self.before("payments", day)[-1]
            self._change(method, "payments", f"{method.name} và QR", day)
        if day == 20:
            brand = self._one_of("brands", day)
            self._change(brand, "brands", f"{brand.name} Việt Nam", day)

    def _one_of(self, table: str, day: int) -> Member:
        there = self.before(table, day)
        return there[int(self._draws.below(len(there), f"renames {table}", day)[0])]

    def _change(self, member: Member, table: str, name: str, day: int) -> None:
        moment = start_of(FIRST_DAY + timedelta(day)) + (1 + int(self._draws.below(86_399, f"renamed {table}", day)[0])) * 1_000_000
        self._versions[table].append(Member(member.id, name, member.created, moment, day))


def _joining(id_: int, name: str, day: int) -> Member:
    made = start_of(FIRST_DAY) + day * MICROSECONDS_A_DAY if day else OPENED
    return Member(id_, name, made, made, day if day else -1)


def _promotion_name(percentage: bool, treatment: int) -> str:
    return f"Giảm {treatment}%" if percentage else f"Giảm {treatment // 1000}.000 đ mỗi sản phẩm"
