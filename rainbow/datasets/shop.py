"""What a data set gives: rows for a seed, and days for a replay. Arrow tables throughout; writing them is ``loading``'s part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rainbow.source.tables import BY_NAME

Rows = Mapping[str, pa.Table]

MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Update:
    """Rows that change: ``id``, ``updated_at`` and the columns that change, one row an id.

    A column in ``add`` is added to what is there, one in ``take`` is taken from it and stops at 0 (both because the API may have
    changed it too), any other is set.
    """

    table: str
    rows: pa.Table
    add: frozenset[str] = frozenset()
    take: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Delete:
    """Products that leave the shop at ``at``, with their stock. One that an order line names stays."""

    products: tuple[int, ...]
    at: datetime


@dataclass(frozen=True)
class Day:
    """All that happens on one day: members that come, rows that change, orders, products that leave; applied in that order."""

    day: date
    members: Rows = field(default_factory=dict)
    updates: tuple[Update, ...] = ()
    orders: Rows = field(default_factory=dict)
    deletes: tuple[Delete, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A line of the data set that the schema cannot take: its number, from 1, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class Totals:
    """Sums over the order lines."""

    lines: int
    gross: Decimal
    discount: Decimal

    @property
    def net(self) -> Decimal:
        """Gross less discount."""
        return self.gross - self.discount


class Dataset(Protocol):
    """A data set: a shop as it was, or would be, from its first day to its last."""

    name: str
    title: str
    caveat: str
    currency: str
    seed: int
    scale: float
    days: tuple[date, ...]

    @property
    def next_ids(self) -> Mapping[str, int]:
        """By table, the largest id of all days, so that rows made by others keep clear of those still to come."""

    @property
    def totals(self) -> Totals:
        """What the lines of all days sum to, by the data set's own account."""

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The lines that cannot be taken, each with its reason."""

    def whole(self) -> Rows:
        """Every row, as it is after the last day."""

    def baseline(self, start: date) -> Rows:
        """The members as they were when ``start`` began; no orders."""

    def day(self, day: date, start: date) -> Day:
        """What happens on ``day`` in a replay that began on ``start``. It depends on nothing but the seed and these two."""


def rows_of(table: str, **columns: pa.Array | pa.ChunkedArray | npt.NDArray[np.int64]) -> pa.Table:
    """Rows of ``table`` from its columns, in the order of the declaration; numpy arrays are taken as 64-bit integers."""
    names = [c for c in BY_NAME[table].column_names if c in columns]
    return pa.table({name: pa.array(columns[name]) if isinstance(columns[name], np.ndarray) else columns[name] for name in names})


def decimals(units: npt.NDArray[np.int64], scale: int, null: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Exact decimals from whole units of ``10 ** -scale``: cents with scale 2."""
    words = np.empty((len(units), 2), dtype=np.int64)
    words[:, 0] = units
    words[:, 1] = units >> 63
    validity = None if null is None else pa.array(~null).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(18, scale), len(units), [validity, pa.py_buffer(words)])


def optional(values: npt.NDArray[np.int64], null: npt.NDArray[np.bool_]) -> pa.Array:
    """Integers, NULL where ``null`` says so."""
    return pa.array(values, mask=null)


def instants(microseconds: npt.NDArray[np.int64]) -> pa.Array:
    """UTC timestamps from microseconds since 1970."""
    return pa.array(microseconds).cast(pa.timestamp("us", tz="UTC"))


def start_of(day: date) -> int:
    """The day's first instant, in microseconds since 1970."""
    return (day - date(1970, 1, 1)).days * MICROSECONDS_A_DAY


def moment_of(microseconds: int) -> datetime:
    """A datetime in UTC from microseconds since 1970."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def midnight(day: date) -> datetime:
    """The day's first instant as a datetime."""
    return datetime.combine(day, time(), UTC)
