"""Capture: PostgreSQL's changes into Kafka, a topic a table, in Debezium's envelope.

``run.follow`` is the whole of it: it makes ready what is needed (``catalog``, ``slot``), takes the initial snapshot (``snapshot``), then
reads the logical replication (``replication``, ``pgoutput``, ``patterns``) and sends events (``changes``, ``outbox``) for ever.
"""
