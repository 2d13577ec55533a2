"""Reconcile: does every place hold what the source holds? Counts and sums by table and day, the keys that differ, and their repair.

Each table's rows are compared between PostgreSQL and the mirror, by the day of their ``created_at``. Sales are followed through the
places that count them, by the order's day: the source, the mirror, the fact, and the unified view. Sums do not depend on any order,
and cover every column: numbers, moments in microseconds, and 32 bits of a text's MD5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rainbow.olap.client import connect as connect_clickhouse
from rainbow.partitions.dates import PartitionRange, start_of, start_of_next
from rainbow.reconcile import mirrored, sums
from rainbow.source.connection import connect
from rainbow.source.tables import TABLES

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# keys that are named for a table
NAMED = 20


@dataclass(frozen=True)
class Place:
    """What one place holds of a day: a count, and a sum a column."""

    name: str
    rows: int
    sums: tuple[Decimal, ...]


@dataclass(frozen=True)
class Day:
    """A table's or the sales' day at each place, in the order in which data travel."""

    what: str
    day: date | None
    places: tuple[Place, ...]

    @property
    def first_that_differs(self) -> str | None:
        """The first place that does not hold what the source holds."""
        source = self.places[0]
        return next((p.name for p in self.places[1:] if (p.rows, p.sums) != (source.rows, source.sums)), None)


@dataclass(frozen=True)
class Reconciled:
    """What was compared, what differs, and the keys of rows that differ between the source and the mirror, by table."""

    days: tuple[Day, ...]
    keys: dict[str, list[int]] = field(default_factory=dict)
    repaired: int = 0

    @property
    def differing(self) -> tuple[Day, ...]:
        """The days that differ somewhere."""
        return tuple(day for day in self.days if day.first_that_differs)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "equal": not self.differing,
            "days": [{**asdict(day), "first_that_differs": day.first_that_differs} for day in self.days],
            "keys": self.keys,
            "repaired": self.repaired,
        }


def reconcile(partitions: PartitionRange | None = None, *, repair: bool = False, clickhouse: Client | None = None) -> Reconciled:
    """Compare the days of ``partitions``, all when None. ``repair`` reads the keys that differ from PostgreSQL into the mirror anew.

    Rows that are under way from the source to the mirror are given a moment: a key counts as differing when it does so twice.
    """
    clickhouse = clickhouse or connect_clickhouse()
    with connect(autocommit=True) as source:
        keys = mirrored.differing(source, clickhouse, partitions) if mirrored.is_there(clickhouse) else {}
        repaired = mirrored.repair(source, clickhouse, keys) if repair and keys else 0
        days = [day for table in TABLES for day in _of_table(source, clickhouse, table.name, partitions)]
        days += _of_sales(source, clickhouse, partitions)
    return Reconciled(tuple(days), {name: listed[:NAMED] for name, listed in keys.items()}, repaired)


def _of_table(source: Any, clickhouse: Client, name: str, partitions: PartitionRange | None) -> Iterable[Day]:
    if not mirrored.is_there(clickhouse):
        return
    found = {"postgres": sums.of_source(source, name, partitions), "mirror": sums.of_mirror(clickhouse, name, partitions)}
    yield from _days(name, found)


def _of_sales(source: Any, clickhouse: Client, partitions: PartitionRange | None) -> Iterable[Day]:
    found = {"postgres": sums.sales_of_source(source, partitions)}
    if mirrored.is_there(clickhouse):
        found["mirror"] = sums.sales_of_mirror(clickhouse, partitions)
    first, last, beyond = sums.watermark(clickhouse)
    if last is not None:
        found["fact"] = {day: held for day, held in sums.sales_of_fact(partitions).items() if day <= last}
        for day in set(found["postgres"]) | set(found["fact"]):
            # what the batch need not have: days before its first, after its last, and days changed since
            if first is None or not first <= day <= last or day in beyond:
                found["fact"][day] = found["postgres"].get(day, (0, ()))
    unified = sums.sales_of_view(clickhouse, partitions)
    if unified is not None:
        # the view does not count lines
        found["unified view"] = unified = {day: (found["postgres"].get(day, (1, ()))[0], held) for day, (_, held) in unified.items()}
        for day in found["postgres"]:
            if first is not None and day < first:
                unified[day] = found["postgres"][day]
    return list(_days("sales", found))


def _days(what: str, found: dict[str, dict[date, tuple[int, tuple[Decimal, ...]]]]) -> Iterable[Day]:
    for day in sorted({day for held in found.values() for day in held}):
        width = max((len(held[day][1]) for held in found.values() if day in held), default=0)
        none = (0, (Decimal(0),) * width)
        places = []
        for name, held in found.items():
            rows, listed = held.get(day, none)
            places.append(Place(name, rows, listed or none[1]))
        yield Day(what, day, tuple(places))


def bounds(partitions: PartitionRange | None) -> tuple[datetime, datetime]:
    """The first moment, and the one after the last."""
    if partitions is None:
        return datetime(1900, 1, 1, tzinfo=UTC), datetime(2299, 1, 1, tzinfo=UTC)
    return start_of(partitions.first), start_of_next(partitions.last)


def remedy(days: Sequence[Day]) -> list[str]:
    """What to run for the days that differ."""
    said = []
    if any(day.first_that_differs == "mirror" for day in days):
        said.append("rainbow reconcile --repair")
    batch = sorted({day.day for day in days if day.first_that_differs == "fact" and day.day})
    if batch:
        said.append(f"rainbow backfill {batch[0]} {batch[-1]}")
    if any(day.first_that_differs == "unified view" for day in days):
        said.append("rainbow reconcile again; if it stays, publish once more: rainbow run DAY")
    return said
