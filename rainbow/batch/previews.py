"""Previews of what a step made, with DuckDB: over the lake's files, and over rows fetched from BigQuery or ClickHouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbow.lake.files import Lake
from rainbow.lake.read import connect as connect_duckdb
from rainbow.partitions.dates import PartitionRange

if TYPE_CHECKING:
    import pandas as pd


def preview(table: str, partitions: PartitionRange, sql: str) -> pd.DataFrame:
    """Run DuckDB's ``sql`` over a lake table's files of these partitions, which it calls ``partition``; empty when there are none."""
    import pandas as pd

    lake = Lake()
    paths = [lake.address(path) for day in partitions for path in lake.partition(table, day)]
    if not paths:
        return pd.DataFrame()
    with connect_duckdb(lake) as duck:
        duck.execute(
            "create view partition as select * from read_parquet($paths, hive_partitioning = false, union_by_name = true)".replace(
                "$paths", repr(paths)
            )
        )
        return duck.sql(sql).df()
