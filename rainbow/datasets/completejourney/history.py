"""How a product was at any moment: what follows from its lines up to then, kept as running figures over the lines sorted by product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rainbow.datasets.completejourney.files import Flags, Lines
from rainbow.datasets.draws import Draws, Ints

# A review follows one line in this many; stars from 1 to 5 as often as these weights say.
LINES_A_REVIEW = 25
STARS = (3, 4, 11, 32, 50)


@dataclass(frozen=True)
class Figures:
    """A product each: unit price and the one before a reduction (hundredths of a cent, -1: none), reviews (stars summed), pieces sold."""

    price: Ints
    original: Ints
    reviews: Ints
    stars: Ints
    sold: Ints
    at: Ints


class History:
    """Running figures of each product, by its lines. A product is its index in ``products``, the sorted ids."""

    def __init__(self, lines: Lines, products: Ints, draws: Draws) -> None:
        index = np.searchsorted(products, lines.product)
        # 32-bit keys sort by radix, four times as quickly
        order = np.argsort(index.astype(np.uint32), kind="stable")
        self.product = index[order]
        self.at = lines.at[order]
        counts = np.bincount(self.product, minlength=len(products))
        self.first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self.count = counts
        self._start = self.first[self.product]
        self.sold = self._running(lines.quantity[order])
        self.price, self.original = self._prices(lines.price[order], (lines.quantity[order] > 0) & (lines.amount[order] > 0))
        reviewed = draws.below(LINES_A_REVIEW, "reviewed", lines.number[order]) == 0
        stars = np.where(reviewed, draws.weighted(STARS, "stars", lines.number[order]) + 1, 0)
        self.reviews, self.stars = self._running(reviewed.astype(np.int64)), self._running(stars)

    def newest(self, before: int) -> Ints:
        """For each product, the place of its last line before the instant ``before``; -1 where it has none."""
        lines = np.bincount(self.product[self.at < before], minlength=len(self.first))
        return np.where(lines > 0, self.first + lines - 1, -1)

    def figures(self, newest: Ints, default_price: Ints) -> Figures:
        """The figures after the lines at ``newest`` (-1: before any line, with the default price of the same product)."""
        none = newest < 0

        def taken(values: Ints, otherwise: int) -> Ints:
            return np.where(none, otherwise, values[newest])

        price = taken(self.price, -1)
        return Figures(
            price=np.where(price < 0, default_price, price),
            original=taken(self.original, -1),
            reviews=taken(self.reviews, 0),
            stars=taken(self.stars, 0),
            sold=taken(self.sold, 0),
            at=taken(self.at, -1),
        )

    def _running(self, values: Ints) -> Ints:
        total = np.cumsum(values)
        return total - (total - values)[self._start]

    def _prices(self, price: Ints, usable: Flags) -> tuple[Ints, Ints]:
        """After each line: the last unit price, and the one before it where the last change was a reduction; -1 where there is none.

        A line without pieces or without a price says nothing of either.
        """
        place = np.flatnonzero(usable)
        prices, start = price[place], self._start[place]
        before = np.where(np.r_[True, start[1:] != start[:-1]], -1, np.r_[-1, prices[:-1]])
        changed = (before != prices) | (before < 0)
        last_change = np.maximum.accumulate(np.where(changed, np.arange(len(place)), 0))
        original = np.where(before > prices, before, -1)[last_change]
        last_usable = np.maximum.accumulate(np.where(usable, np.cumsum(usable) - 1, -1))
        known = (last_usable >= 0) & (start[last_usable] == self._start)
        return np.where(known, prices[last_usable], -1), np.where(known, original[last_usable], -1)
