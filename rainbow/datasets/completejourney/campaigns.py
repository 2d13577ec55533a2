"""The campaigns as promotions: when each runs, what it takes off, which lines it lowered, and which products carry it.

The data name a redeemed coupon by household and local day, and its products; a line is a campaign's when its household redeemed a
coupon for its product on its day. Most lines with a coupon have no such record: they are of the promotion "Coupon". Lines that the
loyalty card alone lowered are of "Loyalty card price".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa

from rainbow.datasets.completejourney.files import Lines, numbers, read
from rainbow.datasets.draws import Ints
from rainbow.datasets.shop import MICROSECONDS_A_DAY, decimals, instants, rows_of, start_of

LOYALTY, COUPON = 28, 29

# The stores are in the eastern time zone, and a redemption is dated there.
_LOCAL = -5 * 3_600_000_000


@dataclass(frozen=True)
class Campaign:
    """A campaign of the data: it runs from the first moment of ``start`` to the last of ``end``."""

    id: int
    type: str
    start: date
    end: date


class Campaigns:
    """All promotions of the shop. ``since`` and ``until`` are days: what happened from the first to the day before the second."""

    def __init__(self, lines: Lines, products: Ints, opened: date) -> None:
        table = read("campaign_descriptions").sort_by("campaign_id")
        self.campaigns = tuple(
            Campaign(row["campaign_id"], row["campaign_type"], row["start_date"].date(), row["end_date"].date())
            for row in table.to_pylist()
        )
        self._opened = opened
        coupons = read("coupons")
        self._covered = self._products_covered(coupons, products)
        self.of_lines = self._of_lines(lines, coupons)
        self._treatments = self._price_treatments(lines)
        self.of_products = lru_cache(maxsize=8)(self._of_products)

    def rows(self, since: date, until: date) -> pa.Table:
        """The promotions that began in these days, as they are at their end; the two without a campaign began with the shop."""
        standing = [
            (LOYALTY, "Loyalty card price", "Percentage", self._opened, None),
            (COUPON, "Coupon", "Fixed Amount", self._opened, None),
        ]
        campaigns = [(c.id, f"Campaign {c.id}, {c.type}", "Fixed Amount", c.start, c.end) for c in self.campaigns]
        begun = [p for p in (*campaigns, *standing) if since <= p[3] < until]
        ended = [p[4] is not None and p[4] + timedelta(1) < until for p in begun]
        made = np.array([start_of(p[3]) for p in begun], dtype=np.int64)
        changed = np.array(
            [start_of(p[4] + timedelta(1)) if e and p[4] else start_of(p[3]) for p, e in zip(begun, ended, strict=True)], dtype=np.int64
        )
        return rows_of(
            "promotions",
            id=np.array([p[0] for p in begun], dtype=np.int64),
            name=pa.array([p[1] + (" (ended)" if e else "") for p, e in zip(begun, ended, strict=True)], pa.string()),
            coupon_type=pa.array([p[2] for p in begun], pa.string()),
            price_treatment=decimals(np.array([self.treatment(p[0]) for p in begun], dtype=np.int64), 4),
            created_at=instants(made),
            updated_at=instants(changed),
        )

    def ended(self, since: date, until: date) -> list[Campaign]:
        """The campaigns whose first day over is one of these days."""
        return [c for c in self.campaigns if since <= c.end + timedelta(1) < until]

    def treatment(self, promotion: int) -> int:
        """What a promotion takes off, in ten-thousandths: of a percent, or of the money off a piece."""
        return self._treatments[promotion]

    def _of_products(self, day: date) -> Ints:
        """For each product, the campaign that it carries on ``day``: the one that began last of those that cover it; 0 for none."""
        carried = np.zeros(self._covered.shape[1], dtype=np.int64)
        for campaign in sorted(self.campaigns, key=lambda c: (c.start, c.id)):
            if campaign.start <= day <= campaign.end:
                carried[self._covered[campaign.id]] = campaign.id
        return carried

    def _products_covered(self, coupons: pa.Table, products: Ints) -> np.ndarray:
        covered = np.zeros((COUPON + 1, len(products)), dtype=bool)
        product, campaign = numbers(coupons, "product_id"), numbers(coupons, "campaign_id")
        # Of type A each household gets 16 coupons from a pool of thousands of products, so it is no promotion of the product.
        shown = [c.id for c in self.campaigns if c.type != "Type A"]
        where = np.isin(product, products) & np.isin(campaign, shown)
        covered[campaign[where], np.searchsorted(products, product[where])] = True
        return covered

    def _of_lines(self, lines: Lines, coupons: pa.Table) -> Ints:
        """The promotion of each line; 0 for none."""
        promotion = np.where(lines.coupon > 0, COUPON, np.where(lines.retail > 0, LOYALTY, 0))
        products_of: dict[tuple[int, int], set[int]] = {}
        for upc, product, campaign in zip(
            *(numbers(coupons, c).tolist() for c in ("coupon_upc", "product_id", "campaign_id")), strict=True
        ):
            products_of.setdefault((upc, campaign), set()).add(product)
        redeemed: dict[tuple[int, int], list[tuple[int, int]]] = {}
        table = read("coupon_redemptions")
        days = numbers(table, "redemption_date") // MICROSECONDS_A_DAY
        for household, upc, campaign, day in zip(
            *(numbers(table, c).tolist() for c in ("household_id", "coupon_upc", "campaign_id")), days.tolist(), strict=True
        ):
            redeemed.setdefault((household, day), []).append((campaign, upc))
        started = {c.id: start_of(c.start) for c in self.campaigns}
        for n in np.flatnonzero(lines.coupon > 0).tolist():
            local_day = int(lines.at[n] + _LOCAL) // MICROSECONDS_A_DAY
            for campaign, upc in sorted(redeemed.get((int(lines.household[n]), local_day), ())):
                if int(lines.product[n]) in products_of.get((upc, campaign), ()) and started[campaign] <= lines.at[n]:
                    promotion[n] = campaign
                    break
        return promotion

    def _price_treatments(self, lines: Lines) -> dict[int, int]:
        """Of the loyalty card, the share it takes off its lines; of a campaign, what it takes off a line on average (unused: of all)."""
        by_loyalty = self.of_lines == LOYALTY
        treatments = {LOYALTY: int(lines.retail[by_loyalty].sum()) * 1_000_000 // max(int(lines.amount[by_loyalty].sum()), 1)}
        by_coupon = (self.of_lines > 0) & ~by_loyalty
        average = int(lines.coupon[by_coupon].sum()) // max(int(by_coupon.sum()), 1)
        for promotion in [c.id for c in self.campaigns] + [COUPON]:
            of_this = self.of_lines == promotion
            treatments[promotion] = (int(lines.coupon[of_this].sum()) // int(of_this.sum()) if of_this.any() else average) * 100
        return treatments
