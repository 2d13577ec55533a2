"""The Complete Journey: a year of a grocery chain's baskets, as the shop of this schema.

Each line becomes an order line, each basket an order, each household a customer, each manufacturer a seller, each department a
category, each campaign a promotion; docs/datasets.md says of every column whether it is real or derived. What the data do not have
(payment methods, ratings, stock) is drawn from the seed. Money is whole cents, unit prices whole hundredths of a cent: nothing is
summed as a float.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from rainbow.datasets.completejourney import life
from rainbow.datasets.completejourney.campaigns import COUPON, Campaigns
from rainbow.datasets.completejourney.files import BRANDS, Lines, Products, read_lines, read_products
from rainbow.datasets.completejourney.history import History
from rainbow.datasets.draws import Draws, Ints
from rainbow.datasets.shop import Day, Rejected, Rows, Totals, Update, decimals, instants, optional, rows_of, start_of

FIRST_DAY = date(2017, 1, 1)
LAST_DAY = date(2018, 1, 1)

# What the year's lines sum to, in cents, so that a damaged or other copy of the data is noticed.
LINES, GROSS, DISCOUNT = 1_469_307, 539_223_287, 82_255_319

_PAYMENTS = {"Cash": 22, "Credit card": 38, "Debit card": 31, "Mobile wallet": 9}
_ONE_DAY = timedelta(1)


class CompleteJourney:
    """The data set as a shop; see ``shop.Dataset``. Its files are read at first use."""

    name = "completejourney"
    title = "The Complete Journey"
    caveat = "The Complete Journey (84.51°) is simulated data, meant for research and education."
    currency = "USD"
    scale = 1.0
    days = tuple(FIRST_DAY + timedelta(n) for n in range((LAST_DAY - FIRST_DAY).days + 1))
    payments = tuple(_PAYMENTS)
    totals = Totals(LINES, Decimal(GROSS) / 100, Decimal(DISCOUNT) / 100)

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self.draws = Draws(seed)
        self._newest = lru_cache(maxsize=4)(lambda day: self.history.newest(start_of(day)))
        self.shuffled = lru_cache(maxsize=2)(self._shuffled)

    @property
    def next_ids(self) -> Mapping[str, int]:
        """By table, the largest id of all days."""
        product = int(self.products.id[-1])
        return {
            "customers": int(self.households[-1]),
            "promotions": COUPON,
            "products": product,
            "inventories": product,
            "orders": int(self.lines.basket.max()),
            "orderdetails": LINES,
        }

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """Lines that the schema cannot take, with the reason; none in the data as published."""
        return self._read[1]

    @property
    def lines(self) -> Lines:
        """The order lines."""
        return self._read[0]

    def whole(self) -> Rows:
        """Every row, as it is after the last day: the data as they are, without the replay's changes."""
        return {**self._members(LAST_DAY + _ONE_DAY), **self._orders(slice(None))}

    def baseline(self, start: date) -> Rows:
        """The members as they were when ``start`` began."""
        return self._members(start)

    def day(self, day: date, start: date) -> Day:
        """What happens on ``day``. A day without sales is a day without changes."""
        sold = self._lines_of(day)
        if sold.start == sold.stop:
            return Day(day)
        since = max(self._sale_day_before(day) + _ONE_DAY, start)
        before, after = self._newest(day), self._newest(day + _ONE_DAY)
        ran = np.flatnonzero(after != before)
        known, fresh = ran[before[ran] >= 0], ran[before[ran] < 0]
        back = life.returning(self, day, start)
        members = {
            "customers": self._customers(day, day + _ONE_DAY),
            "promotions": self.campaigns.rows(since, day + _ONE_DAY),
            "products": pa.concat_tables([self._products(fresh, after, day), self._products(back, after, day, made=day)]),
            "inventories": pa.concat_tables([self._stock(fresh, after), self._stock(back, after, made=day)]),
        }
        updates = (*self._sales(known, before, after, day), *self._promoted(since, day), *life.updates(self, day, start))
        return Day(day, members, updates, self._orders(sold), (life.leaving(self, day),))

    def has_sales(self, day: date) -> bool:
        """Whether anything was sold on ``day``."""
        sold = self._lines_of(day)
        return sold.stop > sold.start

    def seller_name(self, seller: int) -> str:
        """A seller's name; the data have numbers only."""
        return "Unknown manufacturer" if seller == self.products.unknown_seller else f"Manufacturer {seller}"

    @cached_property
    def _read(self) -> tuple[Lines, tuple[Rejected, ...]]:
        return read_lines()

    @cached_property
    def products(self) -> Products:
        """The products, placeholders for those that the product table lacks included."""
        return read_products(np.unique(self.lines.product))

    @cached_property
    def households(self) -> Ints:
        """Ids of the households, sorted."""
        return np.unique(self.lines.household)

    @cached_property
    def _joined(self) -> Ints:
        joined = np.full(len(self.households), np.iinfo(np.int64).max)
        np.minimum.at(joined, np.searchsorted(self.households, self.lines.household), self.lines.at)
        return joined

    @cached_property
    def history(self) -> History:
        """What follows from the lines, by product."""
        return History(self.lines, self.products.id, self.draws)

    @cached_property
    def campaigns(self) -> Campaigns:
        """The promotions."""
        return Campaigns(self.lines, self.products.id, FIRST_DAY)

    @cached_property
    def default_price(self) -> Ints:
        """The price of a product before its first sale: the median of its department's last prices."""
        newest = self.history.newest(start_of(LAST_DAY + _ONE_DAY))
        last = np.where(newest < 0, -1, self.history.price[newest])
        medians = np.full(len(self.products.categories) + 1, 10_000)
        for category in range(1, len(medians)):
            prices = np.sort(last[(self.products.category == category) & (last > 0)])
            if len(prices):
                medians[category] = prices[len(prices) // 2]
        return medians[self.products.category]

    def _shuffled(self, kind: str) -> Ints:
        pool = np.flatnonzero((self.history.count > 0) == (kind == "sold"))
        return pool[self.draws.order(len(pool), kind)]

    def _lines_of(self, day: date) -> slice:
        first, last = np.searchsorted(self.lines.at, [start_of(day), start_of(day + _ONE_DAY)]).tolist()
        return slice(first, last)

    def _sale_day_before(self, day: date) -> date:
        before = day - _ONE_DAY
        while before >= FIRST_DAY and not self.has_sales(before):
            before -= _ONE_DAY
        return before

    def _members(self, until: date) -> Rows:
        newest = self._newest(until)
        there = np.flatnonzero((newest >= 0) | (self.history.count == 0))
        return {
            "brands": self._named("brands", np.arange(1, len(BRANDS) + 1), BRANDS),
            "categories": self._named("categories", np.arange(1, len(self.products.categories) + 1), self.products.categories),
            "sellers": self._named("sellers", self.products.sellers, tuple(map(self.seller_name, self.products.sellers.tolist()))),
            "customers": self._customers(date.min, until),
            "payments": self._named("payments", np.arange(1, len(self.payments) + 1), self.payments),
            "promotions": self.campaigns.rows(date.min, until),
            "products": self._products(there, newest, until - _ONE_DAY),
            "inventories": self._stock(there, newest),
        }

    def _named(self, table: str, ids: Ints, names: tuple[str, ...]) -> pa.Table:
        opened = instants(np.full(len(ids), start_of(FIRST_DAY)))
        return rows_of(table, id=ids, name=pa.array(names), created_at=opened, updated_at=opened)

    def _customers(self, since: date, until: date) -> pa.Table:
        """The households whose first basket lies in these days; each joins with it."""
        where = (self._joined >= start_of(since)) & (self._joined < start_of(until))
        ids, at = self.households[where], instants(self._joined[where])
        return rows_of(
            "customers", id=ids, name=pa.array([f"Household {i}" for i in ids.tolist()], pa.string()), created_at=at, updated_at=at
        )

    def _products(self, which: Ints, newest: Ints, day: date, made: date | None = None) -> pa.Table:
        """Rows of the products at these indexes, after the lines at ``newest``, promoted as on ``day``; ``made`` on a day or as sold."""
        figures = self.history.figures(newest[which], self.default_price[which])
        created = self._created(which, made)
        promotion, brand = self.campaigns.of_products(day)[which], self.products.brand[which]
        return rows_of(
            "products",
            id=self.products.id[which],
            name=self.products.name.take(pa.array(which)),
            price=decimals(figures.price, 4),
            original_price=decimals(figures.original, 4, figures.original < 0),
            rating_average=_ratings(figures.stars, figures.reviews),
            review_count=optional(figures.reviews, figures.reviews == 0),
            sold_count=figures.sold,
            category_id=self.products.category[which],
            seller_id=self.products.seller[which],
            brand_id=optional(brand, brand == 0),
            promotion_id=optional(promotion, promotion == 0),
            created_at=instants(created),
            updated_at=instants(np.maximum(created, figures.at)),
        )

    def _stock(self, which: Ints, newest: Ints, made: date | None = None) -> pa.Table:
        created = self._created(which, made)
        at = np.where(newest[which] < 0, -1, self.history.at[newest[which]])
        return rows_of(
            "inventories",
            id=self.products.id[which],
            product_id=self.products.id[which],
            quantity=self._full_stock(which),
            created_at=instants(created),
            updated_at=instants(np.maximum(created, at)),
        )

    def _created(self, which: Ints, made: date | None) -> Ints:
        """A product comes with its first sale; one that is never sold was there from the start."""
        if made:
            return np.full(len(which), start_of(made))
        sold = self.history.count[which] > 0
        return np.where(sold, self.history.at[np.where(sold, self.history.first[which], 0)], start_of(FIRST_DAY))

    def _full_stock(self, which: Ints) -> Ints:
        return 50 + self.draws.below(200, "full stock", self.products.id[which])

    def _sales(self, which: Ints, before: Ints, after: Ints, day: date) -> tuple[Update, ...]:
        """What the day's sales do to products that were there, and to their stock, at each one's last sale of the day."""
        history, ids = self.history, self.products.id[which]
        figures = history.figures(after[which], self.default_price[which])
        sold = figures.sold - history.sold[before[which]]
        at = instants(figures.at)
        filled = self.draws.below(3, "filled up", ids, start_of(day)) == 0
        return (
            Update(
                "products",
                rows_of(
                    "products",
                    id=ids,
                    price=decimals(figures.price, 4),
                    original_price=decimals(figures.original, 4, figures.original < 0),
                    rating_average=_ratings(figures.stars, figures.reviews),
                    review_count=optional(figures.reviews, figures.reviews == 0),
                    sold_count=sold,
                    updated_at=at,
                ),
                add=frozenset({"sold_count"}),
            ),
            Update(
                "inventories",
                rows_of("inventories", id=ids[filled], quantity=self._full_stock(which[filled]), updated_at=at.filter(pa.array(filled))),
            ),
            Update(
                "inventories",
                rows_of("inventories", id=ids[~filled], quantity=sold[~filled], updated_at=at.filter(pa.array(~filled))),
                take=frozenset({"quantity"}),
            ),
        )

    def _promoted(self, since: date, day: date) -> tuple[Update, ...]:
        """Campaigns that ended, and the products that carry another campaign than before ``since``, from the first moment of ``day``."""
        ended = self.campaigns.ended(since, day + _ONE_DAY)
        names = pa.array([f"Campaign {c.id}, {c.type} (ended)" for c in ended], pa.string())
        before, now = self.campaigns.of_products(since - _ONE_DAY), self.campaigns.of_products(day)
        which = np.flatnonzero(before != now)

        def at_first(n: int) -> pa.Array:
            return instants(np.full(n, start_of(day)))

        return (
            Update(
                "promotions",
                rows_of("promotions", id=np.array([c.id for c in ended], dtype=np.int64), name=names, updated_at=at_first(len(ended))),
            ),
            Update(
                "products",
                rows_of(
                    "products",
                    id=self.products.id[which],
                    promotion_id=optional(now[which], now[which] == 0),
                    updated_at=at_first(len(which)),
                ),
            ),
        )

    def _orders(self, where: slice) -> Rows:
        lines = self.lines[where]
        baskets, first = np.unique(lines.basket, return_index=True)
        in_time = np.argsort(lines.at[first], kind="stable")
        baskets, first = baskets[in_time], first[in_time]
        household, placed, at = lines.household[first], instants(lines.at[first]), instants(lines.at)
        promotion = self.campaigns.of_lines[where]
        return {
            "orders": rows_of(
                "orders",
                id=baskets,
                customer_id=household,
                payment_id=self._paid_by(household, baskets),
                created_at=placed,
                updated_at=placed,
            ),
            "orderdetails": rows_of(
                "orderdetails",
                id=lines.number,
                order_id=lines.basket,
                product_id=lines.product,
                promotion_id=optional(promotion, promotion == 0),
                quantity=lines.quantity,
                price=decimals(lines.price, 4),
                amount=decimals(lines.amount, 2),
                discount=decimals(lines.discount, 2),
                created_at=at,
                updated_at=at,
            ),
        }

    def _paid_by(self, household: Ints, basket: Ints) -> Ints:
        """Each household has a method of its own and takes another for every fifth basket or so."""
        weights = list(_PAYMENTS.values())
        usual = self.draws.weighted(weights, "usual payment", household)
        other = self.draws.weighted(weights, "other payment", basket)
        return np.where(self.draws.below(5, "pays otherwise", basket) == 0, other, usual) + 1


def _ratings(stars: Ints, reviews: Ints) -> pa.Array:
    """Averages to the hundredth, rounded half up; NULL without a review."""
    count = np.maximum(reviews, 1)
    return decimals((stars * 200 + count) // (count * 2), 2, reviews == 0)
