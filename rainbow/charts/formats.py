"""How numbers, dates and names read, everywhere in the charts and reports: one language of units, shares, changes and labels.

Values stay exact: amounts are Decimal until they are text. Nothing here knows HTML or Vega; escaping is the caller's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Literal

Number = int | Decimal

NO_VALUE = "–"
MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"
_UNITS = ((Decimal(10) ** 12, "T"), (Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "K"))
_PRECISION = 80
# ISO 4217: currencies whose minor unit is not a hundredth
_MINOR_DIGITS = dict.fromkeys(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0
)
_MINOR_DIGITS |= dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Unicode's bidirectional controls: in a label they could turn around the text beside them
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def compact(value: Number | None, *, decimals: int = 0) -> str:
    """Three significant digits and a unit, as people say large numbers: ``30.4T``, ``8.93T``, ``904B``; exact below a thousand.

    A whole number below a thousand is written with ``decimals``.
    """
    if value is None:
        return NO_VALUE
    with localcontext(prec=_PRECISION):
        size = abs(Decimal(value))
        for position, (unit, letter) in enumerate(_UNITS):
            if size < unit:
                continue
            digits = _three_digits(size / unit)
            if digits == 1000 and position:
                return f"{_sign(value)}1.00{_UNITS[position - 1][1]}"
            return f"{_sign(value)}{digits:,}{letter}"
        rounded = size.quantize(Decimal("0.01"), ROUND_HALF_UP)
        if rounded >= 1000:
            return f"{_sign(value)}1.00K"
        return f"{_sign(value)}{rounded if rounded % 1 else f'{rounded:.{decimals}f}'}"


def exact(value: Number | None, *, min_decimals: int = 0) -> str:
    """Every digit, in groups of three: ``8,930,123,456,789``; decimals that are zero beyond ``min_decimals`` are left out."""
    if value is None:
        return NO_VALUE
    with localcontext(prec=_PRECISION):
        size = abs(Decimal(value))
        exponent = size.normalize().as_tuple().exponent
        decimals = max(min_decimals, -exponent if isinstance(exponent, int) else 0)
        return f"{_sign(value)}{size:,.{decimals}f}"


def minor_digits(currency: str) -> int:
    """How many decimals an amount of this currency has."""
    return _MINOR_DIGITS.get(currency, 2)


def amount(value: Number | None, currency: str) -> str:
    """An amount of money to the last digit, without the currency's name; cents where the currency has them."""
    return exact(value, min_decimals=minor_digits(currency))


def percent(share: Decimal | None, *, decimals: int = 3) -> str:
    """A share that is already in percent: ``29.345 %``."""
    if share is None:
        return NO_VALUE
    rounded = share.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return f"{_sign(rounded)}{abs(rounded):,}{SPACE}%"


def shares(values: Sequence[Number], *, decimals: int = 3) -> list[Decimal | None]:
    """Each value's percentage of their sum, rounded so that the rounded shares add up to exactly 100 (largest remainder).

    None for every value when there is no sum to share.
    """
    with localcontext(prec=_PRECISION):
        total = sum((Decimal(value) for value in values), Decimal(0))
        if not total:
            return [None] * len(values)
        scale = Decimal(10) ** decimals
        ideal = [Decimal(value) * 100 * scale / total for value in values]
        floors = [part.to_integral_value("ROUND_FLOOR") for part in ideal]
        left = int(100 * scale - sum(floors))
        by_remainder = sorted(range(len(values)), key=lambda i: (floors[i] - ideal[i], i))
        for i in by_remainder[:left]:
            floors[i] += 1
        return [part / scale for part in floors]


@dataclass(frozen=True)
class Change:
    """How a figure moved against an earlier one: the text, and which way, for an arrow and a colour beside it."""

    text: str
    direction: Literal["up", "down", "same", "unknown"]


def change(now: Number, before: Number | None) -> Change:
    """The change from ``before`` to ``now`` in percent of ``before``; unknown when there is nothing to compare with."""
    if not before:
        return Change(NO_VALUE, "unknown")
    with localcontext(prec=_PRECISION):
        percentage = (Decimal(now) - Decimal(before)) * 100 / abs(Decimal(before))
    rounded = abs(percentage).quantize(Decimal("0.1"), ROUND_HALF_UP)
    if rounded >= 100:
        rounded = rounded.quantize(Decimal(1), ROUND_HALF_UP)
    if not rounded:
        return Change(f"0.0{SPACE}%", "same")
    sign = "+" if percentage > 0 else MINUS
    return Change(f"{sign}{rounded:,}{SPACE}%", "up" if percentage > 0 else "down")


def duration(seconds: float) -> str:
    """``0.42 s``, ``18.3 s``, ``3 min 20 s``."""
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def short_date(day: date) -> str:
    """``6 Sep 2024``."""
    return f"{day.day} {_MONTHS[day.month - 1][:3]} {day.year}"


def long_date(day: date) -> str:
    """``Friday 6 September 2024``."""
    return f"{WEEKDAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]} {day.year}"


def month(day: date) -> str:
    """``September 2024``."""
    return f"{_MONTHS[day.month - 1]} {day.year}"


def plain(name: object) -> str:
    """A name from the data as one line of text: control characters become spaces, bidirectional controls go, accents are composed."""
    text = unicodedata.normalize("NFC", "" if name is None else str(name))
    text = "".join(
        " " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c
        for c in text
        if c not in _BIDI_CONTROLS and not "\ud800" <= c <= "\udfff"
    )
    return " ".join(text.split()) or "(no name)"


def _three_digits(scaled: Decimal) -> Decimal:
    """``scaled``, at least 1, to three significant digits; whole from 100 on."""
    decimals = 2 if scaled < Decimal("9.995") else 1 if scaled < Decimal("99.95") else 0
    return scaled.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


def _sign(value: Number) -> str:
    return MINUS if value < 0 else ""
