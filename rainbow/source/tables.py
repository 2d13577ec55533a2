"""The source's tables, declared once. The schema, the lake, raw, staging, the topics and the mirror are derived from this list.

To add a table: add an entry here. Its place in ``TABLES`` follows from what it references, so the order of entries is the
order of dependence: a table stands after every table it references.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["dimension", "fact"]


@dataclass(frozen=True)
class Column:
    """A column: its PostgreSQL type (``bigint``, ``integer``, ``text``, ``numeric(p,s)``, ``timestamptz``) and its rules."""

    name: str
    type: str
    nullable: bool = False
    references: str | None = None
    check: str | None = None
    description: str = ""


@dataclass(frozen=True)
class Table:
    """A source table. Its key is ``id``; ``columns`` are all of its columns, ``created_at`` and ``updated_at`` included, in order.

    ``kind``: a ``dimension`` is read whole at the first partition (the baseline), a ``fact`` from its first partition on.
    """

    name: str
    kind: Kind
    columns: tuple[Column, ...]
    description: str = ""
    key: str = "id"

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the tables that this one references."""
        return tuple(dict.fromkeys(c.references for c in self.columns if c.references))

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(c.name for c in self.columns)


def _table(name: str, kind: Kind, description: str, *columns: Column) -> Table:
    return Table(
        name,
        kind,
        (
            Column("id", "bigint", description="Key."),
            *columns,
            Column("created_at", "timestamptz", description="When the row was made, by the writer's clock."),
            Column("updated_at", "timestamptz", description="When the row was last changed, by the writer's clock."),
        ),
        description,
    )


def _name(of: str) -> Column:
    return Column("name", "text", description=f"Name of the {of}.")


TABLES: tuple[Table, ...] = (
    _table("brands", "dimension", "Brands of products.", _name("brand")),
    _table("categories", "dimension", "Categories of products.", _name("category")),
    _table("sellers", "dimension", "Who sells a product.", _name("seller")),
    _table("customers", "dimension", "Who orders.", _name("customer")),
    _table("payments", "dimension", "Payment methods.", _name("payment method")),
    _table(
        "promotions",
        "dimension",
        "Promotions that lower a product's price.",
        _name("promotion"),
        Column(
            "coupon_type",
            "text",
            check="coupon_type in ('Percentage', 'Fixed Amount')",
            description="What price_treatment is: a share in percent, or money off a piece.",
        ),
        Column(
            "price_treatment",
            "numeric(18,4)",
            check="price_treatment >= 0",
            description="Percent off, or money off a piece, as coupon_type says.",
        ),
    ),
    _table(
        "products",
        "dimension",
        "What is sold.",
        _name("product"),
        Column("price", "numeric(18,4)", check="price >= 0", description="Unit price."),
        Column("original_price", "numeric(18,4)", nullable=True, check="original_price >= 0", description="Unit price before a reduction."),
        Column(
            "rating_average",
            "numeric(4,2)",
            nullable=True,
            check="rating_average between 0 and 5",
            description="Average of the ratings, 0 to 5.",
        ),
        Column("review_count", "integer", nullable=True, check="review_count >= 0", description="Number of reviews."),
        Column("sold_count", "bigint", description="Pieces sold so far."),
        Column("category_id", "bigint", references="categories"),
        Column("seller_id", "bigint", references="sellers"),
        Column("brand_id", "bigint", nullable=True, references="brands"),
        Column("promotion_id", "bigint", nullable=True, references="promotions"),
    ),
    _table(
        "inventories",
        "dimension",
        "Pieces of a product in stock.",
        Column("product_id", "bigint", references="products"),
        Column("quantity", "bigint", check="quantity >= 0", description="Pieces in stock."),
    ),
    _table(
        "orders",
        "fact",
        "Orders; an order's moment is created_at.",
        Column("customer_id", "bigint", references="customers"),
        Column("payment_id", "bigint", references="payments"),
    ),
    _table(
        "orderdetails",
        "fact",
        "Order lines.",
        Column("order_id", "bigint", references="orders"),
        Column("product_id", "bigint", references="products"),
        Column("promotion_id", "bigint", nullable=True, references="promotions"),
        Column("quantity", "integer", check="quantity >= 0", description="Pieces."),
        Column("price", "numeric(18,4)", check="price >= 0", description="Unit price; amount is exact where this cannot be."),
        Column("amount", "numeric(18,2)", check="amount >= 0", description="What the line costs before discount."),
        Column("discount", "numeric(18,2)", check="discount >= 0", description="Taken off the whole line."),
    ),
)

BY_NAME: dict[str, Table] = {table.name: table for table in TABLES}
