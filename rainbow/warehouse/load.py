"""Load: the lake's files into BigQuery's dataset ``raw``, manifest by manifest, and the proof that all of it arrived.

A table's partition in ``raw`` is the union of the partition's files, as in the lake. A load job puts in whole files or
nothing, and each file is known by its table, partition and WAL position, so a load that was cut short goes on where it
stopped and nothing is there twice. ``raw.lake_files`` and ``raw.lake_manifests`` say what is in; dropped with the rest of
``raw``, everything is loaded again from the lake.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from rainbow.checks import Check
from rainbow.lake import manifest as manifests
from rainbow.lake.files import DELETED, LSN, PARTITION, Lake, LakeFile, schema_of
from rainbow.lake.manifest import Manifest
from rainbow.lake.read import connect as connect_duckdb
from rainbow.lake.read import scan
from rainbow.source.tables import BY_NAME, TABLES, Table
from rainbow.types import bigquery_type
from rainbow.warehouse.client import connect
from rainbow.warehouse.sql import one_line, rows

if TYPE_CHECKING:
    from google.cloud import bigquery

LEDGER = {
    "lake_files": "manifest string not null, table_name string not null, partition_date date not null, lsn int64 not null, path string not null, file_rows int64 not null",
    "lake_manifests": "manifest string not null, first_date date not null, last_date date not null, taken_at timestamp not null, is_partial bool not null, "
    "snapshot string not null, snapshot_xmin int64 not null, lsn int64 not null, loaded_at timestamp not null",
}


@dataclass(frozen=True)
class Loaded:
    """What a load did: the manifests it took in, and rows by table."""

    manifests: tuple[Manifest, ...]
    rows: dict[str, int]

    @property
    def partitions(self) -> dict[str, set[date]]:
        """The partitions that were touched, by table."""
        touched: dict[str, set[date]] = defaultdict(set)
        for file in (f for m in self.manifests for f in m.files):
            touched[file.table].add(file.partition_date)
        return touched


def load(*, lake: Lake | None = None, client: bigquery.Client | None = None, on_table: Callable[[str, int], None] | None = None) -> Loaded:
    """Load every manifest of the lake that ``raw`` does not have yet, oldest first.

    Raises DataError for a file that is corrupt or gone, ServiceError when BigQuery does not answer.
    """
    lake, client = lake or Lake(), client or connect()
    prepare(client)
    done = {row.manifest for row in rows(client, "select manifest from raw.lake_manifests")}
    pending = [manifests.read(lake, name) for name in manifests.names(lake) if name not in done]
    files = [file for manifest in pending for file in manifest.files]
    for file in files:
        lake.read(file.path)
    missing = _not_loaded(client, pending)
    by_table: dict[str, list[LakeFile]] = defaultdict(list)
    for file in missing:
        by_table[file.table].append(file)
    with ThreadPoolExecutor(4) as pool:
        for table, count in pool.map(lambda item: _load_table(client, lake, *item), by_table.items()):
            if on_table:
                on_table(table, count)
    _record(client, pending)
    counts: dict[str, int] = defaultdict(int)
    for file in files:
        counts[file.table] += file.rows
    return Loaded(tuple(pending), dict(counts))


def prepare(client: bigquery.Client) -> None:
    """Make the datasets and the tables of ``raw`` that are not there yet, and add columns that the declaration has gained.

    The dataset ``raw`` is labelled with the declaration it was made from, so that a day's run looks at one label only.
    """
    declaration = hashlib.sha256(repr([(t.name, raw_columns(t)) for t in TABLES] + [LEDGER]).encode()).hexdigest()[:16]
    with one_line("making of datasets"):
        labels = _labels(client, "raw") or {}
        if labels.get("declaration") == declaration:
            return
        for name in ("raw", "staging", "warehouse"):
            client.create_dataset(name, exists_ok=True)
    for statement in _statements(client):
        rows(client, statement)
    with one_line("labelling of raw"):
        dataset = client.get_dataset("raw")
        dataset.labels = {**labels, "declaration": declaration}
        client.update_dataset(dataset, ["labels"])


def _labels(client: bigquery.Client, dataset: str) -> dict[str, str] | None:
    from google.api_core.exceptions import NotFound

    try:
        return dict(client.get_dataset(dataset).labels)
    except NotFound:
        return None


def _statements(client: bigquery.Client) -> Iterator[str]:
    have: dict[str, set[str]] = defaultdict(set)
    for row in rows(client, "select table_name, column_name from raw.INFORMATION_SCHEMA.COLUMNS"):
        have[row.table_name].add(row.column_name)
    for name, listed in LEDGER.items():
        yield f"create table if not exists raw.{name} ({listed})"
    for table in TABLES:
        columns = raw_columns(table)
        if table.name not in have:
            listed = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
            yield f"create table if not exists raw.{table.name} ({listed}) partition by {PARTITION} cluster by {table.key}"
        for name in [c for c in columns if c not in have[table.name]] if table.name in have else ():
            yield f"alter table raw.{table.name} add column if not exists {name} {columns[name]}"


def raw_columns(table: Table) -> dict[str, str]:
    """Names and GoogleSQL types of a table's columns in ``raw``: the lake's."""
    return {PARTITION: "date", **{c.name: bigquery_type(c.type).lower() for c in table.columns}, DELETED: "bool", LSN: "int64"}


def _not_loaded(client: bigquery.Client, pending: Iterable[Manifest]) -> list[LakeFile]:
    """Files whose rows are not in ``raw``; rows of a file that is there in part are removed first."""
    positions = {(f.table, f.partition_date, m.lsn): f for m in pending for f in m.files}
    if not positions:
        return []
    days: dict[str, set[date]] = defaultdict(set)
    for table, day, _ in positions:
        days[table].add(day)
    counts = " union all ".join(
        f"select '{t.name}' as table_name, {PARTITION}, {LSN}, count(*) as n from raw.{t.name} where {PARTITION} in unnest(@{t.name}) group by {PARTITION}, {LSN}"
        for t in TABLES
    )
    there = {(row[0], row[1], row[2]): row[3] for row in rows(client, counts, _of_days(days))}
    missing = []
    for key, file in positions.items():
        if there.get(key, 0) == file.rows:
            continue
        if key in there:
            rows(client, f"delete from raw.{key[0]} where {PARTITION} = date '{key[1]}' and {LSN} = {key[2]}")
        missing.append(file)
    return missing


def _load_table(client: bigquery.Client, lake: Lake, table: str, files: list[LakeFile]) -> tuple[str, int]:
    from google.cloud import bigquery

    columns = raw_columns(BY_NAME[table])
    config = bigquery.LoadJobConfig(
        source_format="PARQUET",
        write_disposition="WRITE_APPEND",
        schema=[_field(name, type_) for name, type_ in columns.items()],
    )
    with one_line(f"load of {table}"):
        client.load_table_from_uri(
            [f"{lake.url}/{file.path}" for file in files], f"{client.project}.raw.{table}", job_config=config
        ).result()
    return table, sum(file.rows for file in files)


def _field(name: str, type_: str) -> bigquery.SchemaField:
    from google.cloud import bigquery

    kind, _, parameters = type_.upper().rstrip(")").partition("(")
    if not parameters:
        return bigquery.SchemaField(name, kind)
    precision, scale = (int(p) for p in parameters.split(","))
    return bigquery.SchemaField(name, kind, precision=precision, scale=scale)


def _record(client: bigquery.Client, pending: list[Manifest]) -> None:
    """Note what is in: first the files, then the manifests, whose presence says that the files are complete."""
    if not pending:
        return
    listed = ", ".join(f"'{m.name}'" for m in pending)
    now = datetime.now(UTC)
    files = [f"('{m.name}', '{f.table}', date '{f.partition_date}', {m.lsn}, '{f.path}', {f.rows})" for m in pending for f in m.files]
    if files:
        rows(client, f"delete from raw.lake_files where manifest in ({listed})")
        rows(client, f"insert into raw.lake_files (manifest, table_name, partition_date, lsn, path, file_rows) values {', '.join(files)}")
    values = ", ".join(
        f"('{m.name}', date '{m.first}', date '{m.last}', timestamp '{m.taken_at:%Y-%m-%d %H:%M:%S.%f}+00', {m.partial}, '{m.snapshot}', {m.snapshot_xmin}, {m.lsn}, timestamp '{now:%Y-%m-%d %H:%M:%S.%f}+00')"
        for m in pending
    )
    rows(
        client,
        f"insert into raw.lake_manifests (manifest, first_date, last_date, taken_at, is_partial, snapshot, snapshot_xmin, lsn, loaded_at) values {values}",
    )


def check_loaded(partitions: dict[str, set[date]], *, lake: Lake | None = None, client: bigquery.Client | None = None) -> list[Check]:
    """Compare, for the tables and partitions given, the lake's rows with raw's: the count and the sum of each numeric column."""
    lake, client = lake or Lake(), client or connect()
    tables = {BY_NAME[name]: days for name, days in partitions.items() if days}
    if not tables:
        return []
    sums = " union all ".join(_sums(t, f"raw.{t.name} where {PARTITION} in unnest(@{t.name})", "string") for t in TABLES)
    in_raw = {row["table_name"]: dict(row.items()) for row in rows(client, sums, _of_days(partitions))}
    checks = []
    with connect_duckdb(lake) as duck:
        for table, days in tables.items():
            paths = [lake.address(path) for day in sorted(days) for path in lake.partition(table.name, day)]
            if paths:
                cursor = duck.execute(_sums(table, scan(duck, table, "$paths"), "varchar"), {"paths": paths})
            else:
                duck.register("no_rows", schema_of(table).empty_table())
                cursor = duck.execute(_sums(table, "no_rows", "varchar"))
            expected = dict(zip([c[0] for c in cursor.description or []], cursor.fetchall()[0], strict=True))
            checks.append(_compare(table, expected, in_raw[table.name]))
    return checks


def _sums(table: Table, source: str, text: str) -> str:
    """One row: the table's name, its row count, and the sum of each numeric column as text, numbers comparable by value."""
    numeric = [c for c in table.columns if c.type in ("bigint", "integer") or c.type.startswith("numeric")]
    sums = ", ".join(f"cast(sum(cast({c.name} as numeric(38, 9))) as {text}) as {c.name}" for c in numeric)
    if text == "varchar":
        sums = ", ".join(f"cast(sum(cast({c.name} as decimal(38, 9))) as varchar) as {c.name}" for c in numeric)
    # a UNION ALL lines up columns by place, so every table gets as many
    pad = "".join(f", cast(null as {text}) as pad{n}" for n in range(len(numeric), 12))
    return f"select '{table.name}' as table_name, count(*) as row_count, {sums}{pad} from {source}"


def _compare(table: Table, expected: dict[str, Any], found: dict[str, Any]) -> Check:
    from decimal import Decimal

    differing = [
        f"{name}: lake {want}, raw {got}"
        for (name, want), got in zip(expected.items(), found.values(), strict=True)
        if name != "table_name" and (Decimal(want) if want is not None else None) != (Decimal(got) if got is not None else None)
    ]
    detail = "; ".join(differing) or f"{expected['row_count']} rows, counts and sums equal"
    return Check("check_loaded", f"raw/{table.name}", not differing, detail, failing=len(differing))


def _of_days(days: Mapping[str, Iterable[date]]) -> list[bigquery.ArrayQueryParameter]:
    """Days by table, as a parameter a table of the source that is named like it: the statement is the same text each day."""
    from google.cloud import bigquery

    return [bigquery.ArrayQueryParameter(table.name, "DATE", sorted(days.get(table.name, ()))) for table in TABLES]
