"""The mirror's tables in ClickHouse, derived from the source's declaration.

A source table has two. ``mirror.<table>`` has a row for each key, the newest (``select ... final where not _deleted``);
``mirror.<table>_history`` has every version that was seen, deletes included. Both are told apart by the change's position in
the log, which grows with each change of a row, so an event that comes twice is there once. The second is filled from what is
inserted into the first, in the same insert.
"""

from __future__ import annotations

from collections.abc import Sequence

from rainbow.source.tables import Table
from rainbow.types import clickhouse_type

# beside the source's columns: the change's position in the log (bytes), whether it is a delete, its transaction's id (32 bits, as
# it travels), when that was committed, and whether the row comes from the mirror's initial snapshot
OWN_COLUMNS: dict[str, str] = {
    "_lsn": "UInt64",
    "_deleted": "UInt8",
    "_txid": "UInt32",
    "_committed_at": "DateTime64(3, 'UTC')",
    "_snapshot": "UInt8",
}

# One row for each initial snapshot that the mirror saw: its position, the id of its transaction (whatever it sees has a lower one),
# when its end was read (NULL: not yet), when the mirror had all of it (NULL: not yet). The newest is the one that counts.
SNAPSHOTS = """
create table if not exists mirror._snapshots (
    lsn UInt64, txid UInt32, completed_at Nullable(DateTime64(3, 'UTC')), noted_at DateTime64(6, 'UTC') default now64(6),
    ended_at Nullable(DateTime64(3, 'UTC'))
) engine = ReplacingMergeTree(noted_at) order by lsn
"""


# a history is read by keys, which may be far from each other: with small blocks little else is read beside them
_BY_KEY = "settings index_granularity = 2048, min_compress_block_size = 16384"


def columns(table: Table) -> dict[str, str]:
    """The source's columns of a mirror table, with their ClickHouse types."""
    return {c.name: f"Nullable({kind})" if c.nullable else kind for c in table.columns for kind in (clickhouse_type(c.type),)}


# What the unified views look rows up by, beside the key: the orders of a day, the lines of an order and of a product, the orders of a
# member. Ids and moments grow together, so a block's least and greatest values tell most blocks apart.
LOOKED_UP: dict[str, tuple[str, ...]] = {
    "orders": ("created_at", "updated_at", "customer_id", "payment_id"),
    "orderdetails": ("created_at", "updated_at", "order_id", "product_id"),
}


def create(name: str, key: str | Sequence[str], columns: dict[str, str]) -> tuple[str, ...]:
    """The statements that make a table, its history, and what fills the history; harmless where they are there.

    ``key``: the column that tells rows apart, or several.
    """
    keys = ", ".join(f"`{column}`" for column in ((key,) if isinstance(key, str) else key))
    every = ", ".join(f"`{column}` {type_}" for column, type_ in {**columns, **OWN_COLUMNS}.items())
    looked_up = LOOKED_UP.get(name, ())
    by_value = _indexes({column: column for column in looked_up if not column.endswith("_at")})
    by_time = _indexes({f"{column}_moment": column for column in looked_up if column.endswith("_at")})
    by_day = _indexes({f"{column}_day": f"toDate32({column})" for column in looked_up if column == "created_at"})
    return (
        f"create table if not exists mirror.`{name}` ({every}{by_value}{by_time}{by_day}) engine = ReplacingMergeTree(_lsn, _deleted) order by ({keys})",
        f"create table if not exists mirror.`{name}_history` ({every}{by_value}) engine = ReplacingMergeTree(_lsn) order by ({keys}, _lsn) {_BY_KEY}",
        f"create materialized view if not exists mirror.`{name}_to_history` to mirror.`{name}_history` as select * from mirror.`{name}`",
    )


def _indexes(expressions: dict[str, str]) -> str:
    """Skipping indexes by the least and the greatest value of a block, by the name they get."""
    return "".join(f", index `by_{name}` {expression} type minmax" for name, expression in expressions.items())
