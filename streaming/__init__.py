"""The speed layer: capture reads PostgreSQL's changes into Kafka, mirror keeps ClickHouse's copy of the tables by them."""
