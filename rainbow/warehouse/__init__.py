"""BigQuery: the datasets raw, staging and warehouse."""
