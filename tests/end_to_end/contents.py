"""Prints a digest of every table of the warehouse that the settings name; run in a process of its own by test_pipeline.

A table's digest is its row count and a sum over its rows of a hash of the row, worked out in BigQuery; of raw without the extracts'
positions, which no two lakes share.
"""

from __future__ import annotations

import json

from rainbow.warehouse.client import connect
from rainbow.warehouse.sql import rows

NOT_COMPARED = {"lake_files", "lake_manifests", "_lsn"}


def main() -> None:
    client = connect()
    found = {}
    for dataset in ("raw", "warehouse"):
        for item in client.list_tables(dataset):
            if item.table_id in NOT_COMPARED:
                continue
            columns = [f.name for f in client.get_table(item.reference).schema if f.name not in NOT_COMPARED]
            text = ", '|', ".join(f"coalesce(cast({column} as string), '~')" for column in columns)
            hashed = f"cast(concat('0x', substr(to_hex(md5(concat({text}))), 1, 12)) as int64)"
            (row,) = rows(client, f"select count(*) as n, sum({hashed}) as total from {dataset}.{item.table_id}")
            found[f"{dataset}.{item.table_id}"] = [row.n, str(row.total)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
