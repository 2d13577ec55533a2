"""What a replay changes beside the sales, as the data do not have it: names, categories, sellers, deletes. Synthetic, from the seed.

Each day takes its turn through fixed, shuffled lists, so a day is the same whether it is replayed alone or among others. A change
to a member that is not there (yet, or any more) changes nothing.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rainbow.datasets.draws import Ints
from rainbow.datasets.shop import Delete, Update, decimals, instants, moment_of, optional, rows_of, start_of

if TYPE_CHECKING:
    from rainbow.datasets.completejourney import CompleteJourney

NAMES_A_DAY, PRICES_A_DAY, CUSTOMERS_A_DAY, DELETES_A_DAY = 5, 20, 2, 2
NAME_BACK_AFTER, PRODUCT_BACK_AFTER = timedelta(3), timedelta(7)


def updates(shop: CompleteJourney, day: date, start: date) -> tuple[Update, ...]:
    """The changes of ``day`` in a replay that began on ``start``."""
    n = _turn(shop, day)
    products = shop.products
    category, seller, brand = (_of_turn(shop, "sold", what, n, 1) for what in ("category", "seller", "brand"))
    unsold = _of_turn(shop, "unsold", "price", n, PRICES_A_DAY)
    percent = 80 + shop.draws.below(41, "new price", n, unsold)
    customers = shop.households[_among(len(shop.households), shop, "customer", n, CUSTOMERS_A_DAY)]
    changes = [
        _product_names(shop, day, start),
        _update(
            shop,
            "products",
            products.id[category],
            day,
            category_id=_another(shop, products.category[category], len(products.categories), n),
        ),
        _update(
            shop,
            "products",
            products.id[seller],
            day,
            seller_id=products.sellers[shop.draws.below(len(products.sellers), "moves to", n, seller)],
        ),
        _update(shop, "products", products.id[brand], day, brand_id=optional(products.brand[brand], np.ones(len(brand), dtype=bool))),
        _update(shop, "products", products.id[unsold], day, price=decimals(shop.default_price[unsold] * percent // 10_000 * 100, 4)),
        _update(shop, "customers", customers, day, name=pa.array([f"Household {i} (moved {day})" for i in customers.tolist()])),
    ]
    if n % 3 == 0:
        sellers = products.sellers[_among(len(products.sellers), shop, "seller", n, 1)]
        changes.append(
            _update(shop, "sellers", sellers, day, name=pa.array([f"{shop.seller_name(i)} (renamed {day})" for i in sellers.tolist()]))
        )
    if n % 5 == 0:
        promotion = 1 + _among(len(shop.campaigns.campaigns), shop, "promotion", n, 1)
        treatment = np.array([shop.campaigns.treatment(i) for i in promotion.tolist()]) + 2500
        changes.append(_update(shop, "promotions", promotion, day, price_treatment=decimals(treatment, 4)))
    if n % 10 == 0:
        changes.append(_renamed(shop, "payments", shop.payments, day, n))
    if n % 14 == 0:
        changes.append(_renamed(shop, "categories", products.categories, day, n))
    return tuple(changes)


def leaving(shop: CompleteJourney, day: date) -> Delete:
    """The products that leave on ``day``; none that the data ever sell."""
    n = _turn(shop, day)
    gone = shop.products.id[_of_turn(shop, "unsold", "leaves", n, DELETES_A_DAY)]
    return Delete(tuple(sorted(gone.tolist())), moment_of(start_of(day) + int(shop.draws.below(86_400, "leaves at", n)[0]) * 1_000_000))


def returning(shop: CompleteJourney, day: date, start: date) -> Ints:
    """Indexes of the products that left on a day since ``start`` and are back on ``day``: of each third day's, the first."""
    left_on = day - PRODUCT_BACK_AFTER
    n = _turn(shop, left_on)
    if left_on < start or n % 3 or not shop.has_sales(left_on):
        return np.empty(0, dtype=np.int64)
    return _of_turn(shop, "unsold", "leaves", n, DELETES_A_DAY)[:1]


def _product_names(shop: CompleteJourney, day: date, start: date) -> Update:
    """Names that change, and every second name of three days ago, back to what it was."""
    n = _turn(shop, day)
    renamed = _of_turn(shop, "sold", "name", n, NAMES_A_DAY)
    names = {int(i): f"{shop.products.name[int(i)]}, new recipe {day}" for i in renamed}
    before = day - NAME_BACK_AFTER
    if before >= start and shop.has_sales(before):
        for i in _of_turn(shop, "sold", "name", _turn(shop, before), NAMES_A_DAY)[::2].tolist():
            names.setdefault(i, str(shop.products.name[i]))
    changed = np.array(sorted(names), dtype=np.int64)
    return _update(shop, "products", shop.products.id[changed], day, name=pa.array([names[i] for i in changed.tolist()]))


def _renamed(shop: CompleteJourney, table: str, names: tuple[str, ...], day: date, n: int) -> Update:
    i = int(_among(len(names), shop, table, n, 1)[0])
    return _update(shop, table, np.array([i + 1]), day, name=pa.array([f"{names[i]} (renamed {day})"]))


def _another(shop: CompleteJourney, category: Ints, categories: int, n: int) -> Ints:
    return (category - 1 + 1 + shop.draws.below(categories - 1, "another category", n, category)) % categories + 1


def _update(shop: CompleteJourney, table: str, ids: Ints, day: date, **columns: Any) -> Update:
    moments = start_of(day) + shop.draws.below(86_400, f"{table} changes {sorted(columns)[0]}", ids, _turn(shop, day)) * 1_000_000
    return Update(table, rows_of(table, id=ids, updated_at=instants(moments), **columns))


def _of_turn(shop: CompleteJourney, kind: str, what: str, n: int, size: int) -> Ints:
    """Indexes of the ``size`` products, of those ever sold or never, whose turn it is at ``what`` on the ``n``-th day."""
    pool = shop.shuffled(kind)
    offset = int(shop.draws.below(len(pool), f"first {what}")[0])
    return np.unique(pool[(offset + n * size + np.arange(size)) % len(pool)])


def _among(count: int, shop: CompleteJourney, what: str, n: int, size: int) -> Ints:
    return np.unique(shop.draws.below(count, what, n, np.arange(size)))


def _turn(shop: CompleteJourney, day: date) -> int:
    return (day - shop.days[0]).days
