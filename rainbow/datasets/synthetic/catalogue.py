"""The made shop's products: what each costs and which promotion it carries on each day, as formulas of product and day.

Products are indexes from 0. First come the regular ones, then those that arrive during the days, then those that nobody buys, which
are the ones that leave. Money is whole dong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rainbow.datasets.draws import Draws, Ints

DAYS = 37
BRANDS, CATEGORIES, SELLERS, PROMOTIONS = 19, 2, 19, 66
LATE_PROMOTIONS = 6

_PRICE_DAYS, _PROMOTION_DAYS = 14, 7


class Catalogue:
    """Products and promotions that follow from the seed; ``scale`` 1 has 20,000 products."""

    def __init__(self, draws: Draws, scale: float) -> None:
        self._draws = draws
        self.regular = max(40, round(19_800 * scale))
        self.late = max(3, round(108 * scale))
        self.unsold = max(6, round(92 * scale))
        self.count = self.regular + self.late + self.unsold
        self.sold = self.regular + self.late
        ids = np.arange(self.count)
        # 0-based day on which a product arrives; the regular ones were always there
        self.arrives = np.zeros(self.count, dtype=np.int64)
        self.arrives[self.regular : self.sold] = 1 + np.arange(self.late) * (DAYS - 1) // self.late
        self.category = 1 + draws.weighted((65, 35), "category", ids)
        self.seller = 1 + draws.weighted(1_000 // (np.arange(SELLERS) + 4), "seller", ids)
        self.brand = np.where(draws.below(12, "no brand", ids) == 0, 0, 1 + draws.below(BRANDS, "brand", ids))
        self.base_price = (390_000 + draws.below(5_088, "price", ids) * draws.below(5_088, "price too", ids)) // 10_000 * 10_000
        self.popularity = 1_000_000_000 // (np.argsort(draws.order(self.sold, "popularity")) + 60)
        self._price_phase = draws.below(_PRICE_DAYS, "price phase", ids)
        self._promotion_phase = draws.below(_PROMOTION_DAYS, "promotion phase", ids)
        promotions = np.arange(PROMOTIONS)
        self.percentage = promotions % 2 == 0
        # percent off, or dong off a piece
        self.treatment = np.where(
            self.percentage, 5 + draws.below(26, "percent", promotions), 10_000 * (1 + draws.below(20, "dong", promotions))
        )
        self.promotion_begins = np.where(promotions < PROMOTIONS - LATE_PROMOTIONS, 0, 5 * (promotions - PROMOTIONS + LATE_PROMOTIONS) + 3)

    def price(self, product: Ints, day: npt.ArrayLike) -> Ints:
        """Unit prices in dong: each product's changes every fourteen days, each on a day of its own."""
        period = (np.asarray(day) + self._price_phase[product]) // _PRICE_DAYS
        percent = 90 + self._draws.below(21, "price change", product, period)
        return self.base_price[product] * percent // 100_000 * 1_000

    def promotion(self, product: Ints, day: npt.ArrayLike) -> Ints:
        """Promotions (from 1; 0: none), which change every seven days: three products in ten carry one."""
        period = (np.asarray(day) + self._promotion_phase[product]) // _PROMOTION_DAYS
        begin = np.maximum(period * _PROMOTION_DAYS - self._promotion_phase[product], 0)
        there = np.searchsorted(self.promotion_begins, begin, side="right")
        promotion = 1 + self._draws.below(there, "promotion", product, period)
        return np.where(self._draws.below(10, "promoted", product, period) < 3, promotion, 0)

    def discount(self, promotion: Ints, quantity: Ints, amount: Ints) -> Ints:
        """What a promotion takes off a line, in whole dong; never more than the line costs."""
        which = np.maximum(promotion - 1, 0)
        off = np.where(self.percentage[which], amount * self.treatment[which] // 100, self.treatment[which] * quantity)
        return np.where(promotion > 0, np.minimum(off, amount), 0)

    def leaving(self, day: int) -> Ints:
        """The products that leave on a day: two, while there are some that nobody buys."""
        return np.arange(self.sold + 2 * day, min(self.sold + 2 * day + 2, self.count))

    def returning(self, day: int) -> Ints:
        """The products that are back on a day: of those that left five days ago, each third day's first."""
        return self.leaving(day - 5)[:1] if day >= 5 and (day - 5) % 3 == 0 else np.empty(0, dtype=np.int64)

    def arriving(self, day: int) -> Ints:
        """The products that are new on a day."""
        return np.flatnonzero(self.arrives == day) if day else np.empty(0, dtype=np.int64)
