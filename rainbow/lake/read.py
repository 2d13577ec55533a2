"""Reading the lake with DuckDB: a view a table over its Parquet files."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from rainbow.lake.files import DELETED, LSN, Lake, schema_of
from rainbow.source.tables import TABLES, Table


def connect(lake: Lake | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that can read the lake's files; times are UTC."""
    connection = duckdb.connect(":memory:")
    connection.execute("set TimeZone = 'UTC'")
    if lake is not None and not lake.is_folder:
        connection.register_filesystem(lake.fs)
    return connection


def scan(connection: duckdb.DuckDBPyConnection, table: Table, files: str) -> str:
    """What to select a table's rows from; ``files`` is a parameter of the query, or a quoted pattern.

    Files are older than the declaration may be: a column that a file does not have is NULL there.
    """
    declared = f"declared_{table.name}"
    connection.register(declared, schema_of(table).empty_table())
    return f"(from read_parquet({files}, hive_partitioning = false, union_by_name = true) union all by name from {declared})"


def connect_with_views(lake: Lake | None = None, tables: tuple[Table, ...] = TABLES) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with a view for each table of the lake; a table without files is an empty view."""
    lake = lake or Lake()
    connection = connect(lake)
    for table in tables:
        pattern = f"{table.name}/partition_date=*/*.parquet"
        if lake.fs.glob(lake.full(pattern)):
            connection.execute(f"create view {table.name} as from {scan(connection, table, _quoted(lake.address(pattern)))}")
        else:
            connection.register(table.name, schema_of(table).empty_table())
    return connection


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def live_keys(lake: Lake, table: Table) -> pa.Array:
    """Keys that the lake last saw alive, in no order."""
    with connect_with_views(lake, (table,)) as connection:
        found = connection.sql(
            f"select {table.key} as key from {table.name} group by 1 having not arg_max({DELETED}, ({LSN}, not {DELETED}))"
        )
        assert found is not None
        return found.to_arrow_table().column("key").combine_chunks()
