"""How the made shop's products change from day to day, in the exact number of versions that is asked for.

A version is a row of ``products`` as a daily extract sees it: those that are there at the start, and each day those that came, were
sold, or changed price, promotion, category or seller. What is missing to the number are products that nobody bought that day and
that got a review. A product has one version a day at most.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from rainbow.datasets.draws import Draws, Ints, shares
from rainbow.datasets.shop import MICROSECONDS_A_DAY, start_of
from rainbow.datasets.synthetic.catalogue import CATEGORIES, DAYS, SELLERS, Catalogue
from rainbow.datasets.synthetic.sales import FIRST_DAY, Sales

OPENED = start_of(FIRST_DAY) - 31 * MICROSECONDS_A_DAY


@dataclass(frozen=True)
class State:
    """Products, an array a column; one that is not there has ``updated`` -1. ``stars`` are summed over the reviews."""

    price: Ints
    original: Ints
    promotion: Ints
    category: Ints
    seller: Ints
    reviews: Ints
    stars: Ints
    sold: Ints
    stock: Ints
    created: Ints
    updated: Ints
    stock_at: Ints

    def copy(self) -> State:
        """A state of its own."""
        return replace(self, **{f.name: getattr(self, f.name).copy() for f in fields(self)})

    def __getitem__(self, which: Ints) -> State:
        return replace(self, **{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True)
class Changes:
    """A day's: products that came (indexes and their rows), that changed (rows after it), pieces sold, and which were restocked."""

    came: Ints
    changed: Ints
    after: State
    sold: Ints
    restocked: np.ndarray
    left: Ints
    left_at: int


class Products:
    """The products' days; ``versions`` is how many versions there are in all."""

    def __init__(self, draws: Draws, catalogue: Catalogue, sales: Sales, versions: int) -> None:
        self._draws, self._catalogue, self._sales = draws, catalogue, sales
        must = [self._must_change(d) for d in range(DAYS)]
        came = [np.concatenate([catalogue.arriving(d), catalogue.returning(d)]) for d in range(DAYS)]
        could = [np.setdiff1d(np.flatnonzero(catalogue.arrives[: catalogue.sold] < max(d, 1)), must[d]) for d in range(DAYS)]
        needed = int((self.start().updated >= 0).sum()) + sum(map(len, must)) + sum(map(len, came))
        more = min(max(versions - needed, 0), sum(map(len, could)))
        reviewed = shares(more, [len(c) for c in could]) if more else np.zeros(DAYS, dtype=np.int64)
        self.versions = needed + more
        state = self.start()
        self.changes: list[Changes] = []
        for d in range(DAYS):
            only = could[d][np.argsort(draws.bits("reviewed only", could[d], d), kind="stable")[: int(reviewed[d])]]
            self.changes.append(self._live(state, d, must[d], only, came[d]))

    def start(self) -> State:
        """The products before the first day."""
        catalogue, draws = self._catalogue, self._draws
        ids = np.arange(catalogue.count)
        there = catalogue.arrives == 0
        opened = np.where(there, OPENED, -1)
        reviews = np.where(draws.below(10, "no reviews", ids) < 3, 0, draws.below(500, "reviews", ids))
        price = catalogue.price(ids, 0)
        return State(
            price=price,
            original=_before_reduction(catalogue.base_price, price),
            promotion=catalogue.promotion(ids, 0),
            category=catalogue.category.copy(),
            seller=catalogue.seller.copy(),
            reviews=reviews,
            stars=reviews * (30 + draws.below(20, "rating", ids)) // 10,
            sold=np.where(ids < catalogue.sold, draws.below(5_000, "sold", ids), 0) * there,
            stock=self.full_stock(ids),
            created=opened,
            updated=opened.copy(),
            stock_at=opened.copy(),
        )

    def at(self, day: int) -> State:
        """The products when the ``day``-th day begins; after the last one with ``DAYS``."""
        state = self.start()
        for changes in self.changes[:day]:
            self._apply(state, changes)
        return state

    def full_stock(self, product: Ints) -> Ints:
        """Pieces in stock after a delivery."""
        return 200 + self._draws.below(800, "full stock", product)

    def _lines(self, day: int) -> slice:
        return slice(int(self._sales.first_line[day]), int(self._sales.first_line[day + 1]))

    def _must_change(self, day: int) -> Ints:
        """Products that were there yesterday and are sold today, or have another price, promotion, category or seller."""
        catalogue = self._catalogue
        there = np.flatnonzero(catalogue.arrives[: catalogue.sold] < max(day, 1))
        today = (catalogue.price(there, day), catalogue.promotion(there, day))
        before = (catalogue.price(there, day - 1), catalogue.promotion(there, day - 1)) if day else today
        moved = there[(today[0] != before[0]) | (today[1] != before[1])]
        sold = self._sales.product[self._lines(day)]
        known = sold[catalogue.arrives[sold] < max(day, 1)]
        return np.unique(np.concatenate([moved, known, *self._movers(day)]))

    def _movers(self, day: int) -> tuple[Ints, Ints]:
        """A product that changes its category, and three that change their seller; always regular ones."""
        return (
            self._draws.below(self._catalogue.regular, "changes category", day),
            self._draws.below(self._catalogue.regular, "changes seller", day, np.arange(3)),
        )

    def _live(self, state: State, day: int, must: Ints, reviewed: Ints, came: Ints) -> Changes:
        draws, catalogue, sales = self._draws, self._catalogue, self._sales
        changed = np.union1d(must, reviewed)
        both = np.concatenate([changed, came])
        lines, midnight = self._lines(day), start_of(FIRST_DAY) + day * MICROSECONDS_A_DAY
        sold, last_sale = np.zeros(catalogue.count, dtype=np.int64), np.full(catalogue.count, -1)
        np.add.at(sold, sales.product[lines], sales.quantity[lines])
        np.maximum.at(last_sale, sales.product[lines], sales.placed[sales.order[lines]])
        by_buyers = (sold[changed] > 0) & (draws.below(8, "buyer reviews", changed, day) == 0)
        by_others = np.where(np.isin(changed, reviewed), 1 + draws.below(3, "others review", changed, day), 0)
        new_reviews = by_buyers.astype(np.int64) + by_others
        after = state.copy()
        after.reviews[changed] += new_reviews
        after.stars[changed] += new_reviews * (1 + draws.weighted((3, 4, 11, 32, 50), "stars", changed, day))
        after.price[both], after.promotion[both] = catalogue.price(both, day), catalogue.promotion(both, day)
        after.original[both] = _before_reduction(catalogue.base_price[both], after.price[both])
        category, seller = self._movers(day)
        after.category[category] = after.category[category] % CATEGORIES + 1
        after.seller[seller] = 1 + draws.below(SELLERS, "new seller", day, seller)
        after.created[came] = after.updated[came] = after.stock_at[came] = midnight
        after.reviews[came] = after.stars[came] = after.sold[came] = 0
        after.stock[came] = self.full_stock(came)
        moment = midnight + draws.below(MICROSECONDS_A_DAY, "changes at", both, day)
        after.updated[both] = np.where(sold[both] > 0, last_sale[both], np.where(np.isin(both, came), midnight, moment))
        after.sold[both] += sold[both]
        full, left = self.full_stock(both), after.stock[both] - sold[both]
        restocked = left < full // 5
        after.stock[both] = np.where(restocked, full, left)
        bought = both[sold[both] > 0]
        after.stock_at[bought] = last_sale[bought]
        gone = catalogue.leaving(day)
        changes = Changes(
            came=came,
            changed=changed,
            after=after[both],
            sold=sold[both],
            restocked=restocked & (sold[both] > 0),
            left=gone,
            left_at=midnight + int(draws.below(86_400, "leaves at", day)[0]) * 1_000_000,
        )
        self._apply(state, changes)
        return changes

    def _apply(self, state: State, changes: Changes) -> None:
        both = np.concatenate([changes.changed, changes.came])
        for field in fields(State):
            getattr(state, field.name)[both] = getattr(changes.after, field.name)
        state.updated[changes.left] = -1


def _before_reduction(base: Ints, price: Ints) -> Ints:
    """The price before a reduction; -1 where there is none."""
    return np.where(price < base, base, -1)
