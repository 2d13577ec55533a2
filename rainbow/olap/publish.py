"""Publish: the batch views and the dimensions, from BigQuery by way of Parquet files in the lake into ClickHouse.

Only the weeks whose rows differ travel. They are put beside the old table's other weeks in a new table, which takes the old
one's place in one EXCHANGE, so a reader sees the old view or the new one. The watermark is part of the table (its comment),
so it changes at the same instant. The unified views (`rainbow.olap.serving`) are made anew after that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from rainbow.errors import DataError, ServiceError
from rainbow.lake.files import Lake
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.fingerprint import Days, Laid, lay, of_bigquery, of_clickhouse
from rainbow.olap.published import DIMENSIONS, VIEWS
from rainbow.olap.serving import serve
from rainbow.partitions.dates import start_of_next
from rainbow.source import reader
from rainbow.warehouse import dbt, project, rebuild
from rainbow.warehouse.client import connect as connect_bigquery
from rainbow.warehouse.sql import rows
from rainbow.warehouse.transform import pending

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from google.cloud import bigquery

FOLDER = "_published"

# rows that are looked up to find the days they were on; with more the unified views take every day from the mirror
MOST_CHANGED = 50_000


@dataclass(frozen=True)
class Watermark:
    """Up to where a batch view is complete: its days, and the PostgreSQL snapshot of the newest extract in it.

    ``watermark_date`` is the last day of the unbroken row of whole partitions that holds the first one ever run; None when no
    partition is whole yet. ``data_version`` is a hash of what the view was made from. ``changed_days``: days on which the view counts
    orders or lines that were changed or deleted after the watermark's day and before the publish; None: it could not be found out.
    """

    first_partition: date
    watermark_date: date | None
    snapshot: str
    snapshot_xmin: int
    lsn: int
    data_version: str
    published_at: datetime
    changed_days: tuple[date, ...] | None = None


@dataclass(frozen=True)
class Published:
    """What a publish did: rows that travelled, by table; no table when ClickHouse had it all.

    ``content`` has, for each table, a count and sums by day that change with any of its rows.
    """

    watermark: Watermark
    rows: dict[str, int]
    content: dict[str, Days]


def publish(
    *,
    lake: Lake | None = None,
    bigquery_client: bigquery.Client | None = None,
    clickhouse: Client | None = None,
    on_table: Callable[[str, int], None] | None = None,
) -> Published:
    """Bring ClickHouse's database ``batch`` to what the warehouse holds; what is there already is left as it is.

    Raises DataError when a table arrives with other counts than it left with; the old one stays then.
    """
    lake, warehouse, clickhouse = lake or Lake(), bigquery_client or connect_bigquery(), clickhouse or connect_clickhouse()
    databases = {name for (name,) in clickhouse.query("select name from system.databases").result_rows}
    for database in {"batch", "mirror", "serving"} - databases:
        clickhouse.command(f"create database if not exists {database}")
    models = {s.name: s for s in project.statements() or ()}
    manifests = _manifests(warehouse)
    if not models or any(pending(warehouse)):
        raise DataError("what is loaded has not been transformed yet: run the transform step, then publish")
    watermark = watermark_of(manifests, rebuild.finished(warehouse))
    there = watermarks(clickhouse)
    laid = [lay(models[name]) for name in (*DIMENSIONS, *VIEWS)]
    stale = [t for t in laid if _is_stale(there.get(t.model.name, {}), watermark)]
    if not stale:
        serve(clickhouse)
        return Published(watermark, {}, of_clickhouse(clickhouse, laid))
    watermark = replace(watermark, published_at=_now(clickhouse), changed_days=changed_days(warehouse, watermark))
    known = [t for t in stale if there.get(t.model.name, {}).get("layout") == _layout(t)]
    wanted, found = of_bigquery(warehouse, stale), of_clickhouse(clickhouse, known)

    def bring(table: Laid) -> int:
        name = table.model.name
        return _bring(lake, warehouse, clickhouse, table, watermark, wanted[name], found.get(name), exists=name in there)

    counts = {}
    with ThreadPoolExecutor(4) as pool:
        # the dimensions first: a unified view takes it that they know what its batch view was made from
        for group in (DIMENSIONS, VIEWS):
            tables = [t for t in stale if t.model.name in group]
            for table, count in zip(tables, pool.map(bring, tables), strict=True):
                counts[table.model.name] = count
                if on_table:
                    on_table(table.model.name, count)
    serve(clickhouse)
    rest = [t for t in laid if t not in stale]
    return Published(watermark, counts, {**wanted, **of_clickhouse(clickhouse, rest)})


def _is_stale(there: Mapping[str, Any], watermark: Watermark) -> bool:
    """Whether a table with this watermark was made from something else, or lacks the changed days, which could not be found out then."""
    return there.get("data_version") != watermark.data_version or there.get("changed_days", ()) is None


def _manifests(client: bigquery.Client) -> list[bigquery.Row]:
    """The extracts that are loaded, in order. Raises DataError when there are none."""
    found = rows(
        client,
        "select manifest, first_date, last_date, is_partial, snapshot, snapshot_xmin, lsn from raw.lake_manifests order by lsn, taken_at",
    )
    if not found:
        raise DataError("nothing is loaded yet, so there is nothing to publish: run a partition with `rainbow run D`")
    return found


def watermark_of(manifests: Sequence[bigquery.Row], rebuilt: Sequence[str]) -> Watermark:
    """The watermark of what was made of these extracts; ``rebuilt`` are the models that were made anew since, and when."""
    first, last = unbroken([(m.first_date, m.last_date - timedelta(days=1) if m.is_partial else m.last_date) for m in manifests])
    newest = manifests[-1]
    version = hashlib.sha256("\n".join([dbt.version(), *(m.manifest for m in manifests), *rebuilt]).encode()).hexdigest()[:16]
    return Watermark(first, last, newest.snapshot, newest.snapshot_xmin, newest.lsn, version, datetime.now(UTC))


def unbroken(ranges: list[tuple[date, date]]) -> tuple[date, date | None]:
    """The row of days without a gap that holds the first day of the first range; ``ranges`` in the order in which they were run."""
    origin = ranges[0][0]
    days = {start + timedelta(days=n) for start, end in ranges for n in range((end - start).days + 1)}
    if origin not in days:
        return origin, None
    first = last = origin
    while first - timedelta(days=1) in days:
        first -= timedelta(days=1)
    while last + timedelta(days=1) in days:
        last += timedelta(days=1)
    return first, last


def changed_days(warehouse: bigquery.Client, watermark: Watermark) -> tuple[date, ...] | None:
    """Days that the fact has of orders and lines that the source changed or deleted after the watermark's day.

    Their last version in the lake may be older than what a mirror knows, so a mirror cannot tell these days. Rows that were changed
    between the extract and now are among them, which does no harm. None when the source does not answer, or has too many.
    """
    from google.cloud.bigquery import ArrayQueryParameter

    if watermark.watermark_date is None:
        return ()
    try:
        keys = reader.keys_changed_since(("orders", "orderdetails"), start_of_next(watermark.watermark_date), MOST_CHANGED)
    except ServiceError:
        return None
    if any(len(found) > MOST_CHANGED for found in keys.values()):
        return None
    if not any(keys.values()):
        return ()
    found = rows(
        warehouse,
        "select distinct extract(date from ordered_at) as day from warehouse.fact_sales where order_id in unnest(@orders_ids) or order_detail_id in unnest(@orderdetails_ids)",
        [ArrayQueryParameter(f"{table}_ids", "INT64", listed) for table, listed in keys.items()],
    )
    return tuple(sorted(row.day for row in found))


def watermarks(clickhouse: Client) -> dict[str, dict[str, Any]]:
    """The watermark that each published table carries, by table."""
    found = clickhouse.query("select name, comment from system.tables where database = 'batch' and comment != ''").result_rows
    return {name: orjson.loads(comment) for name, comment in found}


def _bring(
    lake: Lake,
    warehouse: bigquery.Client,
    clickhouse: Client,
    table: Laid,
    watermark: Watermark,
    wanted: Days,
    found: Days | None,
    *,
    exists: bool,
) -> int:
    """Bring one table to what is wanted; returns how many rows travelled. ``found`` is None when the table has to be made anew."""
    name = table.model.name
    comment = _quoted(orjson.dumps({**asdict(watermark), "layout": _layout(table)}).decode())
    if found == wanted:
        clickhouse.command(f"alter table batch.{name} modify comment {comment}")
        return 0
    incoming = f"batch.{name}__incoming"
    columns = ", ".join(
        f"{c} {clickhouse_column(type_, nullable=c not in table.model.required)}" for c, type_ in table.model.columns.items()
    )
    cut = f"partition by toMonday({table.day})" if table.day else ""
    clickhouse.command(
        f"create or replace table {incoming} ({columns}) engine = MergeTree {cut} order by ({', '.join(table.order)}) comment {comment}"
    )
    if found and table.day:
        changed = {_monday(day) for day in wanted.keys() | found.keys() if wanted.get(day) != found.get(day)}
        kept = {_monday(day) for day in found} - changed
        if kept:
            clickhouse.command(
                f"alter table {incoming} " + ", ".join(f"attach partition '{week}' from batch.{name}" for week in sorted(kept))
            )
        days = [day for day in wanted if _monday(day) in changed]
    else:
        days = list(wanted)
    if days:
        for content in _export(lake, warehouse, table, days if len(days) < len(wanted) else None):
            clickhouse.raw_insert(incoming, column_names=list(table.model.columns), insert_block=content, fmt="Parquet")
    arrived = of_clickhouse(clickhouse, [table], "__incoming")[name]
    if arrived != wanted:
        differing = min(day for day in wanted.keys() | arrived.keys() if wanted.get(day) != arrived.get(day))
        raise DataError(
            f"publish of {name}: the rows of {differing} are not what left BigQuery; the table before stays, run the partition again"
        )
    if not exists:
        clickhouse.command(f"create table if not exists batch.{name} as {incoming}")
    clickhouse.command(f"exchange tables {incoming} and batch.{name}")
    clickhouse.command(f"drop table {incoming} sync")
    return sum(wanted[day][0] for day in days)


def _now(clickhouse: Client) -> datetime:
    """The time by the clock that the mirror's notes have their times from; UTC."""
    now: datetime = clickhouse.query("select now64(6, 'UTC')").result_rows[0][0]
    return now.replace(tzinfo=UTC)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _layout(table: Laid) -> str:
    return hashlib.sha256(repr((table.model.columns, table.model.required, table.day, table.order)).encode()).hexdigest()[:16]


def _export(lake: Lake, warehouse: bigquery.Client, table: Laid, days: list[date] | None) -> Iterator[bytes]:
    """Rows of these days, of all when None, as Parquet files; they stay in the lake until the next export.

    The statement has the same text each day, the days are its parameter.
    """
    from google.cloud.bigquery import ArrayQueryParameter

    name = table.model.name
    folder = f"{FOLDER}/{name}"
    if lake.is_folder:
        lake.fs.makedirs(lake.full(folder), exist_ok=True)
    for path in lake.files(folder, ".parquet"):
        lake.fs.rm_file(lake.full(path))
    listed = "" if days is None else f" where {table.day} in unnest(@days)"
    columns = ", ".join(table.model.columns)
    rows(
        warehouse,
        f"export data options (uri = '{lake.url}/{folder}/part-*.parquet', format = 'PARQUET', overwrite = true) as select {columns} from warehouse.{name}{listed}",
        [] if days is None else [ArrayQueryParameter("days", "DATE", sorted(days))],
    )
    for path in lake.files(folder, ".parquet"):
        yield lake.fs.cat_file(lake.full(path))


def clickhouse_column(type_: str, *, nullable: bool) -> str:
    """The ClickHouse type of a GoogleSQL type."""
    if type_.startswith("numeric"):
        plain = type_.replace("numeric", "Decimal")
    else:
        plain = {"int64": "Int64", "string": "String", "date": "Date32", "timestamp": "DateTime64(6, 'UTC')", "bool": "Bool"}[type_]
    return f"Nullable({plain})" if nullable else plain


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
