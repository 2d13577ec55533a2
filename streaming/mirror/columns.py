"""JSON values of a column as Arrow, exactly, by the column's ClickHouse type; and the type that a column not declared gets.

Decimals and instants are cast from text in Arrow, which refuses what it would have to round.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

FAULTS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError, ValueError)

# types that a later value may widen; every other one was declared, or chosen by hand
WIDENS = frozenset({"Bool", "Int64", "Float64"})

_INT64 = range(-(1 << 63), 1 << 63)
_EXACT_IN_FLOAT = range(-(1 << 53), (1 << 53) + 1)
_INSTANT = pa.timestamp("us", "UTC")
# what ClickHouse's Date32 and DateTime64 hold
_FIRST, _LAST = date(1900, 1, 1), date(2299, 12, 31)
_FIRST_INSTANT = datetime(1900, 1, 1, tzinfo=UTC)
_LAST_INSTANT = datetime(2299, 12, 31, 23, 59, 59, 999999, UTC)


@cache
def parts(type_: str) -> tuple[str, bool]:
    """A ClickHouse type without its nullability, and whether it is nullable."""
    found = re.fullmatch(r"Nullable\((.*)\)", type_)
    return (found[1], True) if found else (type_, False)


@cache
def arrow_type(base: str) -> pa.DataType:
    """The Arrow type that a column travels as; ClickHouse converts text for types that are not ours."""
    if decimal := re.fullmatch(r"Decimal\((\d+), ?(\d+)\)", base):
        precision, scale = int(decimal[1]), int(decimal[2])
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return _ARROW.get(base, pa.string())


_ARROW = {
    "Int64": pa.int64(),
    "Float64": pa.float64(),
    "Bool": pa.bool_(),
    "Date32": pa.date32(),
    "DateTime64(6, 'UTC')": _INSTANT,
}

_TYPES: dict[str, set[type]] = {
    "Int64": {int, type(None)},
    "Float64": {int, float, type(None)},
    "Bool": {bool, type(None)},
    "Date32": {int, type(None)},
}


def convert(values: Sequence[Any], base: str) -> pa.Array:
    """The values of a column, None for NULL. Raises one of FAULTS when the type does not hold one of them exactly."""
    type_ = arrow_type(base)
    if pa.types.is_string(type_):
        try:
            return pa.array(values, type_)
        except FAULTS:
            return pa.array([as_text(value) for value in values], type_)
    if pa.types.is_decimal(type_):
        texts = _text(values)
        _refuse_lost(texts, type_.scale)
        return texts.cast(type_)
    if pa.types.is_timestamp(type_):
        instants = pa.array(values, pa.string()).cast(type_)
        return _within(instants, _FIRST_INSTANT, _LAST_INSTANT)
    # Arrow would cut a fraction off, and take a truth value for a number
    if strays := set(map(type, values)) - _TYPES[base]:
        raise TypeError(f"a value of type {', '.join(sorted(stray.__name__ for stray in strays))} is not of the type {base}")
    if pa.types.is_date(type_):
        return _within(pa.array(values, pa.int32()).cast(type_), _FIRST, _LAST)
    return pa.array(values, type_)


def _text(values: Sequence[Any]) -> pa.Array:
    """Decimals as text; whole numbers too, fractions not, since JSON's number may have been rounded when it was read."""
    try:
        return pa.array(values, pa.string())
    except FAULTS:
        return pa.array([str(value) if type(value) is int else value for value in values], pa.string())


def _refuse_lost(texts: pa.Array, scale: int) -> None:
    """Raise ValueError for a number so small that Arrow's cast would make 0 of it: one with an exponent, 38 places and more below the type's."""
    for text in texts.filter(pc.match_substring(texts, "e", ignore_case=True)).to_pylist():
        with suppress(InvalidOperation):
            value = Decimal(text)
            exponent = value.as_tuple().exponent
            if value and isinstance(exponent, int) and exponent + scale < -38:
                raise ValueError("it has more decimal places than the type")


def _within(array: pa.Array, first: Any, last: Any) -> pa.Array:
    ends = pc.min_max(array).as_py()
    if ends["min"] is not None and not first <= ends["min"] <= ends["max"] <= last:
        raise ValueError(f"it lies outside of {first:%Y-%m-%d} to {last:%Y-%m-%d}")
    return array


def faults(values: Sequence[Any], base: str, first: int = 0) -> dict[int, str]:
    """Which of the values the type cannot hold, and why, by halving: many good values cost little."""
    try:
        convert(values, base)
    except FAULTS as fault:
        if len(values) == 1:
            return {first: str(fault)}
        middle = len(values) // 2
        return faults(values[:middle], base, first) | faults(values[middle:], base, first + middle)
    return {}


def as_text(value: Any) -> str | None:
    """A JSON value as the text of a String column: text as it is, all else as JSON writes it."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode() if not _is_huge(value) else str(value)


def _is_huge(value: Any) -> bool:
    return type(value) is int and value not in _INT64


def infer(values: Sequence[Any]) -> str | None:
    """The type for a column with these values; None when all are NULL."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return None
    if kinds == {bool}:
        return "Bool"
    if kinds == {int} and all(value in _INT64 for value in values if value is not None):
        return "Int64"
    if kinds == {float} or (kinds == {int, float} and all(value in _EXACT_IN_FLOAT for value in values if type(value) is int)):
        return "Float64"
    return "String"


def widened(base: str, values: Sequence[Any]) -> str:
    """The type that holds what a column of ``base`` holds, and these values too."""
    return "Float64" if base == "Int64" and infer(values) == "Float64" else "String"


def blank(base: str) -> Any:
    """What stands in a deleted row for a value that was never seen, where NULL cannot."""
    type_ = arrow_type(base)
    if pa.types.is_string(type_):
        return ""
    if pa.types.is_decimal(type_):
        return "0"
    return "1970-01-01T00:00:00Z" if pa.types.is_timestamp(type_) else False if pa.types.is_boolean(type_) else 0
