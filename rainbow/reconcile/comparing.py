"""Asking each place for its counts and checksums by day, and saying where the first one differs from the source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import orjson
from psycopg import sql

from rainbow.checksums import EDGES, Dialect
from rainbow.errors import RainbowError
from rainbow.lake import manifest as manifests
from rainbow.lake.extract import has_xmin
from rainbow.lake.files import Lake
from rainbow.lake.late import unseen
from rainbow.lake.read import connect_with_views
from rainbow.olap.published import SUMS
from rainbow.partitions.dates import PartitionRange, start_of_next
from rainbow.reconcile.checksums import by_day, by_key, cents_of, day_of, newest
from rainbow.source import reader
from rainbow.source.connection import connect
from rainbow.source.tables import TABLES, Table

if TYPE_CHECKING:
    import psycopg
    from clickhouse_connect.driver.client import Client

# by day: how many rows, and a sum that changes with any of them
Days = dict[date, tuple[int, ...]]

# the sales of a day: orders, lines, and what they come to; views have no lines
SALES = "sales"

# looks at what differs in the mirror, after it was given time: an event may have been on its way
LOOKS = 3

# more changed rows than this are not looked up one by one: every day counts as behind then
MOST_CHANGED = 50_000


@dataclass(frozen=True)
class Difference:
    """A day of a table at the first place of its way that differs: what the source has (rows, sums), what is there, the keys concerned.

    ``keys`` are those of the mirror alone, at most as many as were asked for.
    """

    table: str
    day: date
    place: str
    expected: tuple[int, ...]
    found: tuple[int, ...]
    advice: str
    keys: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reconciled:
    """What came of it: days compared by table, what differs, how many days of the batch are behind, and places that could not be asked."""

    days: Mapping[str, int]
    places: Sequence[str]
    differences: Sequence[Difference]
    behind: Mapping[str, int]
    skipped: Mapping[str, str]

    def as_json(self) -> str:
        """All of it as JSON; sums as text, since they may be large."""
        return orjson.dumps(asdict(self), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


@dataclass
class _Batch:
    """What the batch layer cannot have yet: days, by table, of rows that were changed since the last extract. ``first``: its first day."""

    first: date | None = None
    changed: dict[str, set[date]] = field(default_factory=dict)
    all_days: bool = False

    def is_behind(self, table: str, day: date) -> bool:
        """Whether a difference of that day may come from changes since the last extract."""
        tables = ("orders", "orderdetails") if table == SALES else (table,)
        return self.all_days or any(day in self.changed.get(name, ()) for name in tables)


def reconcile(partitions: PartitionRange | None = None, *, settle: Callable[[], None] | None = None, most_keys: int = 20) -> Reconciled:
    """Compare every place with the source; of all days, or of those of ``partitions``.

    ``settle`` waits until the mirror has all that was committed; it is called before the mirror is said to differ. Raises
    ServiceError when the source does not answer; another place that does not is left out, with its reason.
    """
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from rainbow.olap.client import words_of

    asked: dict[str, Callable[[], dict[str, Days]]] = {
        "lake": lambda: _of_lake(partitions),
        "raw": lambda: _of_raw(partitions),
        "fact_sales": lambda: {SALES: _of_fact(partitions)},
        "batch.total_sales": lambda: {SALES: _of_view("batch", partitions)},
        "mirror": lambda: _of_mirror(partitions),
        "serving.total_sales": lambda: {SALES: _of_view("serving", partitions)},
    }
    with ThreadPoolExecutor(len(asked) + 1) as pool:
        truth = pool.submit(_of_source, partitions)
        answers = {place: pool.submit(ask) for place, ask in asked.items()}
        source, batch = truth.result()
        found: dict[str, dict[str, Days]] = {}
        skipped: dict[str, str] = {}
        for place, answer in answers.items():
            try:
                found[place] = answer.result()
            except (RainbowError, ClickHouseError) as error:
                skipped[place] = words_of(error)
    differences, behind = _compare(source, found, batch, unified="mirror" in found)
    differences = [*differences, *_confirmed(source, found, partitions, settle, most_keys)]
    days = {table: len(by_day) for table, by_day in source.items()}
    return Reconciled(days, ["source", *found], sorted(differences, key=lambda d: (d.table, d.day)), behind, skipped)


def differing_keys(client: Client, connection: psycopg.Connection[Any], table: Table, day: date) -> list[int]:
    """The keys of rows of a day that PostgreSQL and the mirror do not have alike, in order."""
    here = dict(connection.execute(by_key(table, "postgres", table.name, _on_day(day, "postgres"))).fetchall())
    query = by_key(table, "clickhouse", f"mirror.{table.name} final", f"not _deleted and {_on_day(day, 'clickhouse')}")
    there = {key: int(mixed) for key, mixed in client.query(query).result_rows}
    return sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))


def _compare(
    source: Mapping[str, Days], found: Mapping[str, Mapping[str, Days]], batch: _Batch, *, unified: bool
) -> tuple[list[Difference], dict[str, int]]:
    """Differences on the batch's way, and of the unified view; the mirror's tables are for ``_confirmed``."""
    differences: list[Difference] = []
    behind: dict[str, int] = {}
    ways = [("lake", "raw", "fact_sales", "batch.total_sales")] + ([] if unified else [("serving.total_sales",)])
    for way in ways:
        for table, truth in source.items():
            places = [place for place in way if table in found.get(place, {})]
            for day in sorted(truth.keys() | {day for place in places for day in found[place][table]}):
                first = next((p for p in places if _differs(truth.get(day), found[p][table].get(day))), None)
                if first is None or batch.first is None or (day < batch.first and table in (SALES, "orders", "orderdetails")):
                    continue
                if batch.is_behind(table, day):
                    behind[table] = behind.get(table, 0) + 1
                    continue
                differences.append(_difference(table, day, first, truth.get(day), found[first][table].get(day)))
    return differences, behind


def _confirmed(
    source: Mapping[str, Days],
    found: Mapping[str, Mapping[str, Days]],
    partitions: PartitionRange | None,
    settle: Callable[[], None] | None,
    most_keys: int,
) -> list[Difference]:
    """Differences of the mirror and of the unified view that are still there after the mirror has caught up."""
    if "mirror" not in found:
        return []
    from rainbow.olap.client import connect as connect_clickhouse

    suspects = _suspects(source, found)
    confirmed: list[Difference] = []
    with connect(autocommit=True) as connection, connect_clickhouse() as client:
        for table_name in sorted({table for table, _ in suspects if table != SALES}):
            table = next(t for t in TABLES if t.name == table_name)
            for day in sorted(day for name, day in suspects if name == table_name):
                keys = set(differing_keys(client, connection, table, day))
                for _ in range(LOOKS - 1):
                    if keys:
                        if settle:
                            settle()
                        keys &= set(differing_keys(client, connection, table, day))
                if keys:
                    shown = tuple(sorted(keys)[:most_keys])
                    found_now = found["mirror"][table_name].get(day, (0, 0))
                    confirmed.append(_difference(table_name, day, "mirror", source[table_name].get(day), found_now, shown))
    if any(table == SALES for table, _ in suspects):
        if settle:
            settle()
        confirmed += _unified(partitions, {d.day for d in confirmed})
    return confirmed


def _unified(partitions: PartitionRange | None, of_mirror: set[date]) -> list[Difference]:
    """Days of the unified view that differ from the source, asked again; those of which the mirror's own rows differ are that one's."""
    sales, there = _of_source(partitions)[0][SALES], _of_view("serving", partitions)
    first = min(there, default=None)
    days = [day for day in sorted(sales.keys() | there.keys()) if _differs(sales.get(day), there.get(day))]
    return [
        _difference(SALES, day, "serving.total_sales", sales.get(day), there.get(day))
        for day in days
        if day not in of_mirror and (first is None or day >= first)
    ]


def _suspects(source: Mapping[str, Days], found: Mapping[str, Mapping[str, Days]]) -> set[tuple[str, date]]:
    return {
        (table, day)
        for place in ("mirror", "serving.total_sales")
        for table, days in found.get(place, {}).items()
        for day in source[table].keys() | days.keys()
        if _differs(source[table].get(day), days.get(day))
    }


def _differs(expected: tuple[int, ...] | None, found: tuple[int, ...] | None) -> bool:
    """Whether two days are not the same; a day of sales that nothing was sold on is none. A place that does not know the lines has -1."""
    if expected is None or found is None:
        return any(value not in (0, -1) for value in expected or found or ())
    return any(a != b for a, b in zip(expected, found, strict=True) if -1 not in (a, b))


def _difference(
    table: str, day: date, place: str, expected: tuple[int, ...] | None, found: tuple[int, ...] | None, keys: tuple[int, ...] = ()
) -> Difference:
    nothing = (0,) * len(expected or found or ())
    return Difference(table, day, place, expected or nothing, found or nothing, _ADVICE[place].format(day=day), keys)


_ADVICE = {
    "lake": "rainbow plan {day} says what is missing; rainbow backfill {day} {day} --force extracts it again",
    "raw": "rainbow backfill {day} {day} --select 'raw/*+' --force loads it again",
    "fact_sales": "rainbow rebuild fact_sales --from {day}",
    "batch.total_sales": "rainbow rebuild fact_sales --from {day} makes the views again and publishes what differs",
    "mirror": "rainbow reconcile --day {day} --repair reads these rows again from PostgreSQL",
    "serving.total_sales": "rainbow trace total_sales --day {day} shows both sides",
}


# the places


def _of_source(partitions: PartitionRange | None) -> tuple[dict[str, Days], _Batch]:
    """All tables and the sales at one snapshot, and what the batch cannot have yet."""
    with connect(autocommit=True) as connection:
        reader.begin_snapshot(connection)
        days = {t.name: _days(connection.execute(by_day(t, "postgres", t.name, _within(partitions))).fetchall()) for t in TABLES}
        within = _within(partitions, "o.created_at")
        days[SALES] = _days(
            connection.execute(
                f"""select {day_of("o.created_at")}, count(distinct o.id), count(*), sum(l.quantity), {cents_of("sum(l.amount)")},
                           {cents_of("sum(l.discount)")}, {cents_of("sum(l.amount - l.discount)")}
                    from orders o join orderdetails l on l.order_id = o.id where {within} group by 1"""
            ).fetchall()
        )
        batch = _changed_since(connection)
        connection.execute("rollback")
    return days, batch


def _changed_since(connection: psycopg.Connection[Any]) -> _Batch:
    """Days of rows that changed, or went, since the newest extract."""
    lake = Lake()
    last, latest = manifests.newest(lake), manifests.latest_partition(lake)
    if last is None or latest is None:
        return _Batch()
    first = min(manifests.read(lake, name).first for name in manifests.names(lake))
    _, end, open_then = last.snapshot.split(":")
    batch, gone, end_of_day = _Batch(first), {}, sql.Literal(start_of_next(latest))
    for table in TABLES:
        new = sql.SQL("{} or ").format(unseen(end, open_then)) if has_xmin(connection, table.name) else sql.SQL("")
        rows = connection.execute(
            sql.SQL("select {}, {} from {} where {}updated_at >= {}").format(
                sql.Identifier(table.key), sql.SQL(day_of("created_at")), sql.Identifier(table.name), new, end_of_day
            )
        ).fetchall()
        batch.changed[table.name] = {day for _, day in rows}
        gone[table.name] = [key for key, _ in rows]
        if reader.has_deletions(connection):
            deleted = connection.execute(
                sql.SQL("select row_id from deletions where table_name = {} and ({}deleted_at >= {})").format(
                    sql.Literal(table.name), new, end_of_day
                )
            ).fetchall()
            gone[table.name] += [key for (key,) in deleted]
    if sum(map(len, gone.values())) > MOST_CHANGED:
        batch.all_days = True
    else:
        _add_days_before(lake, batch, gone)
    return batch


def _add_days_before(lake: Lake, batch: _Batch, keys: Mapping[str, Sequence[int]]) -> None:
    """The days that the lake has those rows on."""
    import pyarrow as pa

    with connect_with_views(lake) as duck:
        for table in TABLES:
            if keys[table.name]:
                duck.register("changed", pa.table({"id": pa.array(keys[table.name], pa.int64())}))
                found = duck.execute(f"select distinct created_at::date from {table.name} where {table.key} in (select id from changed)")
                batch.changed[table.name] |= {day for (day,) in found.fetchall() if day}
                duck.unregister("changed")


def _of_lake(partitions: PartitionRange | None) -> dict[str, Days]:
    lake = Lake()
    if not manifests.names(lake):
        raise RainbowError("nothing was extracted yet")
    with connect_with_views(lake) as duck:
        return {
            t.name: _days(duck.execute(by_day(t, "duckdb", newest(t).format(source=t.name), _within(partitions))).fetchall())
            for t in TABLES
        }


def _of_raw(partitions: PartitionRange | None) -> dict[str, Days]:
    from rainbow.warehouse.client import connect as connect_bigquery
    from rainbow.warehouse.sql import rows

    client = connect_bigquery()
    return {
        t.name: _days(
            tuple(row.values())
            for row in rows(
                client, by_day(t, "bigquery", newest(t).format(source=f"raw.{t.name}"), _within(partitions, dialect="bigquery"))
            )
        )
        for t in TABLES
    }


def _of_fact(partitions: PartitionRange | None) -> Days:
    from rainbow.warehouse.client import connect as connect_bigquery
    from rainbow.warehouse.sql import rows

    found = rows(
        connect_bigquery(),
        f"""select extract(date from ordered_at) as day, count(distinct order_id) as orders, count(*) as line_count, sum(sales_quantity) as pieces,
                   cast(sum(extended_sales_amount) * 100 as int64) as sales, cast(sum(extended_discount_amount) * 100 as int64) as discount,
                   cast(sum(net_sales_amount) * 100 as int64) as net
            from warehouse.fact_sales where {_within(partitions, "ordered_at", "bigquery")} group by day""",
    )
    return _days(tuple(row.values()) for row in found)


def _of_view(database: str, partitions: PartitionRange | None) -> Days:
    from rainbow.olap.client import connect as connect_clickhouse

    within = f"sales_date between toDate32('{partitions.first}') and toDate32('{partitions.last}')" if partitions else "true"
    quantity, *amounts = SUMS
    sums = ", ".join([f"sum({quantity})", *(f"toInt64(sum({name}) * 100)" for name in amounts)])
    with connect_clickhouse() as client:
        if not client.command(f"exists table {database}.total_sales"):
            raise RainbowError("nothing was published yet")
        found = client.query(f"select sales_date, sum(orders), -1, {sums} from {database}.total_sales where {within} group by sales_date")
    return _days(found.result_rows)


def _of_mirror(partitions: PartitionRange | None) -> dict[str, Days]:
    from rainbow.olap.client import connect as connect_clickhouse

    with connect_clickhouse() as client:
        if client.query("exists table mirror._snapshots").result_rows != [(1,)]:
            raise RainbowError("there is no mirror: `rainbow up --stream` starts one")
        if not client.query("select 1 from mirror._snapshots final where completed_at is not null order by lsn desc limit 1").result_rows:
            raise RainbowError("the mirror has not taken in its first snapshot yet: see `rainbow stream status`")
        return {
            t.name: _days(
                client.query(
                    by_day(t, "clickhouse", f"mirror.{t.name} final", f"not _deleted and {_within(partitions, dialect='clickhouse')}")
                ).result_rows
            )
            for t in TABLES
        }


def _within(partitions: PartitionRange | None, column: str = "created_at", dialect: Dialect = "postgres") -> str:
    """Whether a moment is in the range."""
    if partitions is None:
        return "true"
    if dialect == "bigquery":
        return f"extract(date from {column}) between date '{partitions.first}' and date '{partitions.last}'"
    if dialect == "clickhouse":
        return f"toDate32({column}) between toDate32('{partitions.first}') and toDate32('{partitions.last}')"
    return f"{column} >= '{partitions.first} 00:00:00+00' and {column} < '{start_of_next(partitions.last):%Y-%m-%d} 00:00:00+00'"


def _on_day(day: date, dialect: Dialect) -> str:
    if dialect == "postgres" and day in EDGES:
        return f"{day_of('created_at')} = '{day}'"
    return _within(PartitionRange(day, day), dialect=dialect)


def _days(rows: Iterable[Sequence[Any]]) -> Days:
    return {day: tuple(int(value) for value in values) for day, *values in rows if day is not None}
