"""The SQL of orders. Every statement is constant text, prepared once a connection; values are parameters.

Locks are taken in the order of products' ids, as `rainbow replay` takes them, so that two orders never wait for each other in a
circle; ``for no key update`` lets foreign keys be checked meanwhile. Rows that an order changes get its time as ``updated_at``, but
never an earlier one than they had: an order that waited for a lock began before the one it waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from api.database import Row, Session, Statement, statement
from api.models import KeptAnswer, Key, Line, NewOrder, Opening, Order, Placement, Product, Promotion, Selection, Stock

# A product without stock has no row here, and a product that was waited for is read as it is after the wait.
_LOCK = statement(
    "lock_products",
    """
    select p.id, p.name, p.price, m.id, m.coupon_type, m.price_treatment, i.id, i.quantity,
        exists (select from customers c where c.id = $2::bigint), exists (select from payments y where y.id = $3::bigint)
    from products p
    join inventories i on i.product_id = p.id
    left join promotions m on m.id = p.promotion_id
    where p.id = any($1::bigint[])
    order by p.id, i.id
    for no key update of p, i
    """,
)

# Comes after the locks: whoever had the same key and the same products is done by now, and his answer can be seen.
_OPEN = statement(
    "open_order",
    """
    select now(), nextval(pg_get_serial_sequence('orders', 'id')),
        array(select nextval(pg_get_serial_sequence('orderdetails', 'id')) from generate_series(1, $1::int)),
        k.fingerprint, k.answer
    from (values (1)) as one
    left join idempotency_keys k on k.key = $2::text
    """,
)

_ADD = statement(
    "add_order",
    """
    with placed as (
        insert into orders (id, customer_id, payment_id, created_at, updated_at)
        values ($1::bigint, $2::bigint, $3::bigint, now(), now())
    ),
    lines as (
        insert into orderdetails (id, order_id, product_id, promotion_id, quantity, price, amount, discount, created_at, updated_at)
        select l.id, $1::bigint, l.product_id, l.promotion_id, l.quantity, l.price, l.amount, l.discount, now(), now()
        from unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::int[], $8::numeric[], $9::numeric[], $10::numeric[])
            as l (id, product_id, promotion_id, quantity, price, amount, discount)
    ),
    sold as (
        update products p set sold_count = p.sold_count + l.quantity, updated_at = greatest(p.updated_at, now())
        from unnest($5::bigint[], $7::int[]) as l (product_id, quantity)
        where p.id = l.product_id
    ),
    taken as (
        update inventories i set quantity = i.quantity - t.quantity, updated_at = greatest(i.updated_at, now())
        from unnest($11::bigint[], $12::bigint[]) as t (id, quantity)
        where i.id = t.id
    )
    insert into idempotency_keys (key, fingerprint, answer, created_at)
    select $13::text, $14::text, $15::text, now() where $13::text is not null
    """,
)

_MEMBERS = statement(
    "members",
    """
    select exists (select from customers where id = $1::bigint), exists (select from payments where id = $2::bigint),
        array(select id from products where id = any($3::bigint[]))
    """,
)

PROBE = statement("probe", "select to_regclass('orders') is not null, to_regclass('idempotency_keys') is not null")

# by the keys' indexes, so that it costs nothing in a large shop
EXAMPLE = statement(
    "example",
    """
    select (select min(id) from customers), (select max(id) from payments),
        (select product_id from inventories where quantity > 1 order by id limit 1)
    """,
)

_ONE = statement(
    "one_order",
    """
    select o.id, o.customer_id, o.payment_id, o.created_at, l.id, l.product_id, l.promotion_id, l.quantity, l.price, l.amount, l.discount
    from orders o
    left join orderdetails l on l.order_id = o.id
    where o.id = $1::bigint
    order by l.id
    """,
)


class OrderRepository:
    """Orders, on one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def open(self, wanted: NewOrder, key: Key | None) -> Opening:
        """Lock the products and their stock, and read all that an order is decided by, in one round trip."""
        products = sorted(line.product_id for line in wanted.wanted)
        self._session.queue(_LOCK, products, wanted.customer_id, wanted.payment_id)
        self._session.queue(_OPEN, len(products), key.value if key else None)
        *_, locked, opened = await self._session.exchange()
        at, order_id, line_ids, fingerprint, answer = opened[0]
        return Opening(
            at=at,
            order_id=order_id,
            line_ids=tuple(line_ids),
            products=_products(locked),
            has_customer=locked[0][8] if locked else None,
            has_payment=locked[0][9] if locked else None,
            kept=None if fingerprint is None else KeptAnswer(fingerprint, answer.encode()),
        )

    def add(self, placement: Placement, key: Key | None, answer: bytes) -> None:
        """Write an order, what it takes and, for a key, its answer; sent with the commit."""
        order, taken = placement.order, placement.taken
        lines = order.lines
        self._session.queue(
            _ADD,
            order.id,
            order.customer_id,
            order.payment_id,
            [line.id for line in lines],
            [line.product_id for line in lines],
            [line.promotion_id for line in lines],
            [line.quantity for line in lines],
            [line.price for line in lines],
            [line.amount for line in lines],
            [line.discount for line in lines],
            [stock.id for stock in taken],
            [stock.quantity for stock in taken],
            key.value if key else None,
            key.fingerprint if key else None,
            answer.decode() if key else None,
        )

    async def members(self, wanted: NewOrder) -> tuple[bool, bool, frozenset[int]]:
        """Whether the customer and the payment method are there, and which of the products."""
        products = [line.product_id for line in wanted.wanted]
        (found,) = await self._session.ask(_MEMBERS, wanted.customer_id, wanted.payment_id, products)
        return found[0], found[1], frozenset(found[2])

    async def get(self, order_id: int) -> Order | None:
        """An order, or None."""
        return next(iter(_orders(await self._session.ask(_ONE, order_id))), None)

    async def select(self, selection: Selection) -> list[Order]:
        """Orders, the newest first.

        In a transaction of its own that plans for the values at hand: a plan for any LIMIT would read all orders and sort them.
        """
        wanted, parameters = _selected(selection)
        for step in (_BEGIN_READING, _PLAN_AFRESH):
            self._session.queue(step)
        self._session.queue(wanted, *parameters)
        self._session.queue(_END_READING)
        *_, rows, _ended = await self._session.exchange()
        return _orders(rows)


_BEGIN_READING = statement("begin_reading", "begin read only")
_PLAN_AFRESH = statement("plan_afresh", "set local plan_cache_mode = force_custom_plan")
_END_READING = statement("end_reading", "commit")


def _selected(selection: Selection) -> tuple[Statement, list[Any]]:
    """The statement for what is asked for, one of sixteen, and its parameters."""
    after = selection.after
    asked: list[tuple[str, str, Sequence[int | datetime]]] = []
    if selection.customer_id is not None:
        asked.append(("customer", "o.customer_id = {}::bigint", [selection.customer_id]))
    if selection.start is not None:
        asked.append(("start", "o.created_at >= {}::timestamptz", [selection.start]))
    if selection.end is not None:
        asked.append(("end", "o.created_at < {}::timestamptz", [selection.end]))
    if after is not None:
        asked.append(("after", "(o.created_at, o.id) < ({}::timestamptz, {}::bigint)", [after.created_at, after.id]))
    parameters: list[Any] = [selection.limit]
    conditions = []
    for _, condition, values in asked:
        places = [f"${len(parameters) + place + 1}" for place in range(len(values))]
        conditions.append(condition.format(*places))
        parameters += values
    text = _PAGE.format(where="where " + " and ".join(conditions) if conditions else "")
    return statement("_".join(["select_orders", *(name for name, _, _ in asked)]), text), parameters


_PAGE = """
with page as (
    select o.id, o.customer_id, o.payment_id, o.created_at from orders o {where} order by o.created_at desc, o.id desc limit $1::int
)
select o.id, o.customer_id, o.payment_id, o.created_at, l.id, l.product_id, l.promotion_id, l.quantity, l.price, l.amount, l.discount
from page o
left join orderdetails l on l.order_id = o.id
order by o.created_at desc, o.id desc, l.id
"""


def _products(rows: list[Row]) -> dict[int, Product]:
    """Products from the rows of ``_LOCK``: one for each row of stock, in order."""
    products: dict[int, Product] = {}
    for id_, name, price, promotion, coupon_type, treatment, stock, quantity, *_ in rows:
        known = products.get(id_)
        products[id_] = Product(
            id_,
            name,
            price,
            None if promotion is None else Promotion(promotion, coupon_type, treatment),
            (*(known.stock if known else ()), Stock(stock, quantity)),
        )
    return products


def _orders(rows: list[Row]) -> list[Order]:
    """Orders from rows of an order beside a line, the lines of an order together."""
    heads: dict[int, Row] = {}
    lines: dict[int, list[Line]] = {}
    for row in rows:
        heads.setdefault(row[0], row[:4])
        its_own = lines.setdefault(row[0], [])
        if row[4] is not None:
            its_own.append(Line(*row[4:]))
    return [Order(id_, head[1], head[2], head[3], tuple(lines[id_])) for id_, head in heads.items()]
