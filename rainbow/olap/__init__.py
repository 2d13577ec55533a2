"""ClickHouse: the batch views as published, and the views that charts read."""
