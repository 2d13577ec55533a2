"""Versions of a product (SCD type 2) as a person follows them: what differs between two, and a bar a version over time.

A version is a mapping with ``product_id``, the tracked columns, ``valid_from_at`` and ``valid_to_at`` (UTC).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from rainbow.charts import formats

Version = Mapping[str, Any]

# the tracked columns and what a reader calls them
TRACKED = {"name": "name", "price": "price", "rating_average": "rating", "review_count": "reviews", "sold_count": "sold", "category": "category", "category_id": "category id", "brand": "brand", "brand_id": "brand id", "seller_id": "seller id"}  # fmt: skip
TOOLTIP = (("product", "Product"), ("begins", "From"), ("ends", "To"), ("changed", "What changed"))


def by_product(versions: Sequence[Version]) -> list[list[Version]]:
    """The versions of each product, in the order in which they came."""
    products: dict[int, list[Version]] = {}
    for version in versions:
        products.setdefault(version["product_id"], []).append(version)
    return list(products.values())


def differing(old: Version, new: Version) -> list[str]:
    """The tracked columns that differ. Another category or brand is told by its name, and by its id where both are called the same."""
    found = [column for column in TRACKED if old[column] != new[column]]
    return [column for column in found if not column.endswith("_id") or column.removesuffix("_id") not in found]


def differences(old: Version, new: Version) -> list[tuple[str, str, str]]:
    """What differs, as text: the column, before, after."""
    return [(TRACKED[column], value(old[column]), value(new[column])) for column in differing(old, new)]


def value(found: Any) -> str:
    """A column's value as text."""
    if found is None:
        return formats.NO_VALUE
    return formats.exact(found) if isinstance(found, int | Decimal) else formats.plain(found)


def steps(versions: Sequence[Version]) -> Iterator[tuple[Version | None, Version]]:
    """Each version of a product with the one before it; the first with None."""
    if versions:
        yield None, versions[0]
        yield from pairwise(versions)


def bar(rank: int, old: Version | None, new: Version, end: datetime, role: str) -> dict[str, Any]:
    """A version as ``shapes.timeline`` draws it, on the line of a rank, cut off at an instant."""
    changed = [f"{column} {before} → {after}" for column, before, after in differences(old, new)] if old else ["first version shown"]
    return {
        "rank": rank,
        "from": iso(new["valid_from_at"]),
        "to": iso(min(new["valid_to_at"], end)),
        "role": role,
        "product": formats.plain(new["name"]),
        "begins": moment(new["valid_from_at"]),
        "ends": "now" if new["valid_to_at"] > end else moment(new["valid_to_at"]),
        "changed": "; ".join(changed) or "deleted and returned",
    }


def moment(found: datetime) -> str:
    """An instant to the second, to the microsecond where it has them."""
    text = f"{formats.short_date(found.date())} {found:%H:%M:%S}"
    return f"{text}.{found:%f}" if found.microsecond else text


def iso(found: datetime) -> str:
    """An instant as Vega reads it."""
    return found.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
