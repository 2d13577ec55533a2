"""ClickHouse: the batch views as published, the mirror's tables, and the views that charts read."""
