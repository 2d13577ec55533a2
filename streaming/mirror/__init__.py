"""The mirror: consumes the topics of the source's tables and keeps ClickHouse's copy of them.

``envelopes`` reads a message, ``columns`` turns JSON values into Arrow, ``tables`` makes the mirror's tables and widens them,
``earlier`` looks up what an event leaves out, ``applying`` brings a table's changes into ClickHouse, ``truncations`` do so for all of
its rows, ``letters`` writes down what could not be used, ``snapshots`` notes initial snapshots. A ``batch`` is what was read together,
``writer`` brings one after the other in, ``consumer`` is the loop that gathers and commits, ``gaps`` and ``trust`` see whether Kafka's client
leaves something out, ``metrics`` counts.
"""
