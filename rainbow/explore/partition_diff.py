"""Two partitions of a lake table side by side: schema, counts, and how much of what both have is equal, column by column.

A partition is what its files hold; of a row that it has several versions of, the last one seen counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from rainbow.charts import formats, versions
from rainbow.charts.elements import Column, Fragment, answer, empty, table
from rainbow.errors import DataError
from rainbow.lake.files import DELETED, LSN, PARTITION, Lake
from rainbow.lake.read import connect
from rainbow.partitions.dates import parse_partition
from rainbow.settings import settings
from rainbow.source.tables import BY_NAME, Table

SAMPLES = 10
Row = dict[str, Any]


@dataclass(frozen=True)
class PartitionDiff:
    """What was found of two partitions of a table.

    ``types`` has each column's type in the one and in the other, None where it has no such column; ``figures`` a row a partition;
    ``equal`` counts the rows of both that agree, by column; ``samples`` are rows that differ, a row a column.
    """

    table_name: str
    days: tuple[date, date]
    types: dict[str, tuple[str | None, str | None]]
    figures: Sequence[Row]
    both: int
    equal: dict[str, int]
    samples: Sequence[Row]

    def answer(self) -> Fragment:
        """How many rows both have, and whether the schemas agree."""
        same = all(one == other for one, other in self.types.values())
        schemas = "the same columns" if same else "other columns"
        return answer(
            "{} rows of {} are in both {} and {}, which have {}.",
            about={},
            parts=[formats.exact(self.both), self.table_name, *map(formats.short_date, self.days), schemas],
        )

    def schema(self) -> Fragment:
        """Each column's type in both."""
        rows = [
            {"column": name, "one": one or formats.NO_VALUE, "other": other or formats.NO_VALUE, "same": "yes" if one == other else "no"}
            for name, (one, other) in self.types.items()
        ]
        columns = [Column("column", "Column"), Column("one", self._named(0)), Column("other", self._named(1)), Column("same", "Same")]
        return table(rows, columns, caption=f"Schema of {self.table_name}", currency="")

    def counts(self) -> Fragment:
        """Rows, members, deleted ones, files and bytes of both."""
        columns = [
            Column("day", "Partition"),
            Column("rows", "Rows", "number"),
            Column("keys", "Keys", "number"),
            Column("deleted", "Deleted", "number"),
            Column("only", "Only here", "number"),
            Column("files", "Files", "number"),
        ]
        return table(self.figures, columns, caption=f"Counts of {self.table_name}", currency="")

    def columns(self) -> Fragment:
        """The share of the rows in both that agree, by column."""
        if not self.both:
            return empty("No row is in both partitions: nothing to compare.")
        rows = [
            {"column": name, "equal": count, "differ": self.both - count, "share": Decimal(count) * 100 / self.both}
            for name, count in sorted(self.equal.items(), key=lambda item: (item[1], item[0]))
        ]
        columns = [
            Column("column", "Column"),
            Column("equal", "Equal", "number"),
            Column("differ", "Differ", "number"),
            Column("share", "Share equal", "share"),
        ]
        return table(rows, columns, caption=f"Of the {formats.exact(self.both)} rows in both", currency="")

    def differing(self) -> Fragment:
        """Some rows that differ, with both values."""
        if not self.samples:
            return empty("No row that is in both differs.")
        columns = [
            Column("key", "Key"),
            Column("column", "Column"),
            Column("one", self._named(0)),
            Column("other", self._named(1)),
        ]
        return table(self.samples, columns, caption=f"Values that differ, of {SAMPLES} rows", currency=settings().currency)

    def _named(self, place: int) -> str:
        return formats.short_date(self.days[place])


def compare(table_name: str = "products", first: date | str | None = None, second: date | str | None = None) -> PartitionDiff:
    """Compare two partitions of a lake table; without days the last two that have rows of it. Raises DataError when there is nothing to compare."""
    declared = BY_NAME.get(table_name)
    if declared is None:
        raise DataError(f"there is no table {table_name}: the lake has {', '.join(BY_NAME)}")
    lake = Lake()
    days = _days(lake, table_name, first, second)
    with connect(lake) as duck:
        files = [[lake.address(path) for path in lake.partition(table_name, day)] for day in days]
        for day, paths in zip(days, files, strict=True):
            if not paths:
                raise DataError(f"the lake has no rows of {table_name} for {day}: choose another table or partition")
        for name, paths in zip(("one", "other"), files, strict=True):
            duck.execute(f"create view {name}_all as from read_parquet({paths!r}, hive_partitioning = false, union_by_name = true)")
            duck.execute(
                f"create view {name} as from {name}_all qualify row_number() over (partition by {declared.key} order by {LSN} desc, {DELETED}) = 1"
            )
        return _compared(duck, declared, days, [len(paths) for paths in files])


def _compared(duck: Any, declared: Table, days: tuple[date, date], files: Sequence[int]) -> PartitionDiff:
    key = declared.key
    described = [{row[0]: row[1] for row in duck.execute(f"describe {name}").fetchall()} for name in ("one_all", "other_all")]
    types = {name: (described[0].get(name), described[1].get(name)) for name in dict.fromkeys([*described[0], *described[1]])}
    compared = [name for name in declared.column_names if name != key and all(types.get(name, (None, None)))]
    sums = ", ".join(f"count_if(one.{name} is not distinct from other.{name})" for name in compared)
    both, *equal = duck.execute(f"select count(*), {sums} from one inner join other on one.{key} = other.{key}").fetchall()[0]
    figures = [
        {**_figures(duck, name, against, key), "day": formats.short_date(day), "files": count}
        for name, against, day, count in (("one", "other", days[0], files[0]), ("other", "one", days[1], files[1]))
    ]
    return PartitionDiff(
        declared.name, days, types, figures, both, dict(zip(compared, equal, strict=True)), list(_samples(duck, key, compared))
    )


def _figures(duck: Any, name: str, against: str, key: str) -> Row:
    (rows,) = duck.execute(f"select count(*) from {name}_all").fetchall()[0]
    sql = f"select count(*), count_if({DELETED}), count_if({key} not in (select {key} from {against})) from {name}"
    keys, deleted, only = duck.execute(sql).fetchall()[0]
    return {"rows": rows, "keys": keys, "deleted": deleted, "only": only}


def _samples(duck: Any, key: str, compared: Sequence[str]) -> list[Row]:
    """Of some rows that differ each column that does; ``updated_at`` alone makes no difference that one would look at."""
    told = [name for name in compared if name not in ("created_at", "updated_at")]
    if not told:
        return []
    differ = " or ".join(f"one.{name} is distinct from other.{name}" for name in told)
    values = ", ".join(f"one.{name}, other.{name}" for name in told)
    sql = f"select one.{key}, {values} from one inner join other on one.{key} = other.{key} where {differ} order by 1 limit {SAMPLES}"
    return [
        {"key": row[0], "column": name, "one": versions.value(row[1 + 2 * n]), "other": versions.value(row[2 + 2 * n])}
        for row in duck.execute(sql).fetchall()
        for n, name in enumerate(told)
        if row[1 + 2 * n] != row[2 + 2 * n]
    ]


def _days(lake: Lake, table: str, first: date | str | None, second: date | str | None) -> tuple[date, date]:
    """The two partitions that are asked for; of the others the newest of which the lake has rows of the table."""
    asked = [parse_partition(day) if day else None for day in (first, second)]
    files = lake.fs.glob(lake.full(f"{table}/{PARTITION}=*/*.parquet"))
    known = sorted({date.fromisoformat(path.split("/")[-2].removeprefix(f"{PARTITION}=")) for path in files})
    last = asked[1] or next((day for day in reversed(known) if asked[0] is None or day != asked[0]), None)
    before = asked[0] or next((day for day in reversed(known) if last is None or day < last), None)
    if last is None or before is None:
        raise DataError(
            f"the lake has no two partitions of {table} to compare: run another with `rainbow run DAY`, or choose another table"
        )
    return before, last
