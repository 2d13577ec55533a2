"""Capture: PostgreSQL's changes into Kafka, a topic a table, in Debezium's envelope.

``run`` follows the source for ever, a ``session`` a connection: it makes ready what is needed (``catalog``, ``slot``, ``notes``, ``sent``)
and takes the snapshots that are missing (``snapshot``); then the ``stream`` reads the logical replication (``wire``, ``pgoutput``,
``patterns``) and sends events (``changes``, ``outbox``). ``state`` outlives a connection, ``watch`` shows it.
"""
