"""The lake: the master dataset, Parquet files that are never changed."""
