"""Row counts against the band of the days before: a day with far fewer or far more rows than any of them is worth a look."""

from __future__ import annotations

from collections.abc import Mapping

from rainbow.checks import Check
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger

TRAILING_DAYS = 28
# fewer days tell no band, and fewer rows than this are chance
_LEAST_DAYS, _LEAST_ROWS = 7, 50


def row_counts(partitions: PartitionRange, rows: Mapping[str, int]) -> list[Check]:
    """A check of severity warning for each asset with enough days behind it; ``rows`` are the day's, by asset.

    The band reaches from half of the smallest of the trailing days to twice the largest. A range of days is not compared.
    """
    if len(partitions) > 1:
        return []
    trailing = Ledger().row_counts(rows, partitions.first, TRAILING_DAYS)
    return [_check(name, count, trailing[name]) for name, count in rows.items() if len(trailing.get(name, ())) >= _LEAST_DAYS]


def _check(asset: str, count: int, trailing: list[int]) -> Check:
    lowest = min(trailing) // 2 if min(trailing) >= _LEAST_ROWS else 0
    highest = max(2 * max(trailing), max(trailing) + _LEAST_ROWS)
    band = f"{lowest:,} .. {highest:,} rows, from {len(trailing)} days before"
    passed = lowest <= count <= highest
    return Check("row_count", asset, passed, f"{count:,} rows; the band is {band}", "warning", 0 if passed else 1)
