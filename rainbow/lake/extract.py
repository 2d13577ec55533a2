"""Extract: the rows of a range of partitions, of all tables at one snapshot, into the lake.

Two things that extracts by ``updated_at`` lose elsewhere are taken too: deletes, from the table ``deletions`` (or, where the
source has none, by comparing keys), and rows that the last extract's snapshot could not see although their ``updated_at``
lies before this one (a transaction open across midnight, a backdated correction). Nothing is overwritten: a partition that
was extracted before gets a file with what is new or different, or no file.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import chain, groupby
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg import sql

from rainbow.lake import manifest as manifests
from rainbow.lake.files import DELETED, LSN, PARTITION, Lake, PartitionWriter, spool_file, sweep_spool
from rainbow.lake.manifest import Manifest
from rainbow.lake.read import connect as connect_duckdb
from rainbow.lake.read import live_keys, scan
from rainbow.partitions.dates import PartitionRange, start_of
from rainbow.source import reader
from rainbow.source.connection import connect
from rainbow.source.reader import Snapshot
from rainbow.source.tables import TABLES, Table
from rainbow.types import arrow_type

OnTable = Callable[[str, int], None]


@dataclass(frozen=True)
class _Extract:
    """What stays the same while one extract runs."""

    connection: psycopg.Connection[Any]
    lake: Lake
    partitions: PartitionRange
    snapshot: Snapshot
    last: Manifest | None
    horizon: datetime
    records_deletes: bool


def extract(
    partitions: PartitionRange, *, lake: Lake | None = None, tables: tuple[Table, ...] = TABLES, on_table: OnTable | None = None
) -> Manifest:
    """Extract a range of partitions at one snapshot and commit its manifest.

    The first extract of a lake also takes the baseline: every row of the dimension tables that is older than the range.
    Raises DataError for a source that differs from the declared tables or has a value that its type cannot hold; then nothing
    is written. Files that an extract which was cut short left in the lake are removed first: no manifest names them.
    """
    lake = lake or Lake()
    run = uuid.uuid4().hex[:12]
    sweep_spool()
    with connect(autocommit=True) as connection, ExitStack() as undo:
        reader.check_columns(connection, tables)
        manifests.withdraw(lake)
        last = manifests.newest(lake)
        taken_at = datetime.now(UTC)
        snapshot = _after(last, reader.begin_snapshot(connection))
        reader.check_moments(connection, tables)
        horizon = start_of(max(partitions.last, manifests.latest_partition(lake) or partitions.last) + timedelta(days=1))
        job = _Extract(connection, lake, partitions, snapshot, last, horizon, reader.has_deletions(connection))
        writers: list[PartitionWriter] = []
        for table in tables:
            before = len(writers)
            for writer in _write_table(job, table):
                undo.callback(writer.discard)
                writers.append(writer)
            if on_table:
                on_table(table.name, sum(w.rows for w in writers[before:]))
        files = tuple(writer.finished() for writer in writers)
        made = Manifest(run, partitions.first, partitions.last, taken_at, snapshot.text, snapshot.xmin, snapshot.lsn, last is None, files)
        manifests.announce(lake, made)
        for writer, file in zip(writers, files, strict=True):
            writer.commit(file)
        manifests.commit(lake, made)
        return made


def _after(last: Manifest | None, snapshot: Snapshot) -> Snapshot:
    """The snapshot at a position of its own: a source that stands still has one position for all extracts, and load, transform and
    history know an extract's rows by it. The next change of the source is many bytes further on."""
    return snapshot if last is None else replace(snapshot, lsn=max(snapshot.lsn, last.lsn + 1))


def _write_table(job: _Extract, table: Table) -> Iterator[PartitionWriter]:
    """Finished writers of a table's partitions, those with rows."""
    for day in job.partitions:
        span = PartitionRange(day, day)
        oldest = None if job.last is None and table.kind == "dimension" and day == job.partitions.first else span.begin
        writer = PartitionWriter(job.lake, table, day, job.snapshot.lsn)
        for batch in _unless_in_lake(job, table, day, _rows(job, table, oldest, span.end)):
            writer.write(batch)
        if not job.records_deletes and span.end == job.horizon:
            writer.write(_missing_keys(job, table))
        if writer.close():
            yield writer
    if job.last is not None:
        yield from _late_rows(job, table, job.last)


def _rows(job: _Extract, table: Table, oldest: datetime | None, end: datetime) -> Iterator[pa.RecordBatch]:
    """Rows, and recorded deletes, of ``[oldest, end)``; without ``oldest`` every row before the end and no older delete."""
    bounds = sql.SQL("{column} < {end}") if oldest is None else sql.SQL("{column} >= {begin} and {column} < {end}")
    live = bounds.format(column=sql.Identifier("updated_at"), begin=sql.Literal(oldest), end=sql.Literal(end))
    gone = sql.SQL("deleted_at >= {begin} and deleted_at < {end}").format(
        begin=sql.Literal(oldest or job.partitions.begin), end=sql.Literal(end)
    )
    yield from _select(job, table, live, gone, sql.SQL("order by {}").format(sql.Identifier(table.key)))


def _late_rows(job: _Extract, table: Table, last: Manifest) -> Iterator[PartitionWriter]:
    """Rows of other partitions that the last extract could not see, each into the partition of its ``updated_at``.

    Where the source records no deletes and the latest day ever extracted is another one, the missing keys belong to that day.
    """
    batches = _unseen(job, table, last)
    if not job.records_deletes and job.horizon > job.partitions.end:
        batches = chain(batches, [_missing_keys(job, table)])
    for day, pieces in groupby(_split_by_day(batches), key=lambda piece: piece[0]):
        writer = PartitionWriter(job.lake, table, day, job.snapshot.lsn)
        for _, piece in pieces:
            writer.write(piece)
        if writer.close():
            yield writer


def _unseen(job: _Extract, table: Table, last: Manifest) -> Iterator[pa.RecordBatch]:
    """Rows of other partitions that the last extract could not see, in the order of ``updated_at``.

    What is not below the snapshot's xmin counts as unseen: snapshots do not list subtransactions, and seeing a row twice is
    harmless. ``age()`` counts back from the newest transaction, so it compares across the wrap of 32-bit ids.
    """
    if not has_xmin(job.connection, table.name):
        return
    unseen = sql.SQL("age(xmin) <= age({}::xid) and not ({{column}} >= {} and {{column}} < {}) and {{column}} < {}").format(
        sql.Literal(str(last.snapshot_xmin % (1 << 32))),
        sql.Literal(job.partitions.begin),
        sql.Literal(job.partitions.end),
        sql.Literal(job.horizon),
    )
    unseen_text = unseen.as_string(job.connection)
    live, gone = (sql.SQL(unseen_text.replace("{column}", column)) for column in ("updated_at", "deleted_at"))
    yield from _select(job, table, live, gone, sql.SQL("order by updated_at, {}").format(sql.Identifier(table.key)))


def _select(job: _Extract, table: Table, live: sql.Composable, gone: sql.Composable, order: sql.Composable) -> Iterator[pa.RecordBatch]:
    columns = {c.name: c.type for c in table.columns} | {DELETED: "boolean"}
    shown = sql.SQL(", ").join(
        sql.SQL("{} as {}").format(reader.utc(c.name), sql.Identifier(c.name)) if c.type == "timestamptz" else sql.Identifier(c.name)
        for c in table.columns
    )
    query = sql.SQL("select {}, false as {} from {} where {}").format(shown, sql.Identifier(DELETED), sql.Identifier(table.name), live)
    if job.records_deletes:
        deleted = {"updated_at": reader.utc("deleted_at"), table.key: sql.Identifier("row_id")}
        blank = sql.SQL(", ").join(deleted.get(c.name, sql.SQL("null")) for c in table.columns)
        query = sql.SQL("{} union all select {}, true from deletions where table_name = {} and {}").format(
            query, blank, sql.Literal(table.name), gone
        )
    yield from reader.read(job.connection, sql.SQL("{} {}").format(query, order), columns, f"extract of {table.name}")


def _split_by_day(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[date, pa.RecordBatch]]:
    for batch in batches:
        days = pc.cast(pc.floor_temporal(batch.column("updated_at"), unit="day"), pa.date32())
        for run in pc.run_end_encode(days).values if batch.num_rows else ():
            yield run.as_py(), batch.filter(pc.equal(days, run))


def _unless_in_lake(job: _Extract, table: Table, day: date, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Only what the partition's files do not hold already, as last seen; all of it when the partition has no file yet.

    A row that the lake saw otherwise since then, deleted or on another day, is new again: which version was seen last counts.
    """
    files = job.lake.partition(table.name, day)
    if not files:
        yield from batches
        return
    for path in files:
        job.lake.read(path)
    columns = [c.name for c in table.columns]
    same = " and ".join(f"n.{c} is not distinct from o.{c}" for c in columns)
    with connect_duckdb(job.lake) as duck, spool_file(".parquet") as incoming:
        with pq.ParquetWriter(incoming, _batch_schema(table), compression="zstd", compression_level=1) as writer:
            for batch in batches:
                writer.write_batch(batch)
        different = duck.sql(
            f"""
            with old as (
                select * exclude ({PARTITION}) from {scan(duck, table, "$files")}
                qualify row_number() over (partition by {table.key}, {DELETED}, case when {DELETED} then updated_at end order by {LSN} desc) = 1
            ),
            last_seen as (
                select {table.key}, max({LSN}) as position from read_parquet($all, hive_partitioning = false)
                where {table.key} in (select {table.key} from read_parquet($incoming)) group by {table.key}
            ),
            standing as (select old.* from old inner join last_seen using ({table.key}) where {DELETED} or {LSN} = position)
            select n.* from read_parquet($incoming) n anti join standing o on n.{table.key} = o.{table.key} and n.{DELETED} = o.{DELETED} and {same}
            order by n.{table.key}
            """,
            params={
                "files": [job.lake.address(path) for path in files],
                "all": job.lake.address(f"{table.name}/{PARTITION}=*/*.parquet"),
                "incoming": str(incoming),
            },
        )
        assert different is not None
        yield from different.to_arrow_reader(100_000)


def _batch_schema(table: Table) -> pa.Schema:
    return pa.schema([(c.name, arrow_type(c.type)) for c in table.columns] + [(DELETED, pa.bool_())])


def _missing_keys(job: _Extract, table: Table) -> pa.RecordBatch:
    """Deletes of a source that does not record them: keys that the lake last saw alive and the source no longer has.

    Their instant is the end of the latest day ever extracted, so that it comes after all that the lake knows of the row.
    """
    deleted_at = job.horizon - timedelta(microseconds=1)
    schema = _batch_schema(table)
    known = live_keys(job.lake, table)
    if not len(known):
        return pa.RecordBatch.from_pylist([], schema=schema)
    query = sql.SQL("select {} from {}").format(sql.Identifier(table.key), sql.Identifier(table.name))
    present = [b.column(0) for b in reader.read(job.connection, query, {table.key: "bigint"}, f"extract of {table.name}")]
    gone = known.filter(pc.invert(pc.is_in(known, value_set=pa.chunked_array(present, pa.int64()).combine_chunks())))
    arrays = {
        table.key: gone,
        "updated_at": pa.repeat(pa.scalar(deleted_at, pa.timestamp("us", "UTC")), len(gone)),
        DELETED: pa.repeat(True, len(gone)),
    }
    return pa.RecordBatch.from_arrays([arrays.get(f.name, pa.nulls(len(gone), f.type)) for f in schema], schema=schema)


def has_xmin(connection: psycopg.Connection[Any], table: str) -> bool:
    """Whether the relation is a table; a view has no xmin."""
    row = connection.execute("select relkind in ('r', 'p') from pg_class where oid = to_regclass(quote_ident(%s))", [table]).fetchone()
    return bool(row and row[0])
