"""The mirror: consumes the topics of the source's tables and keeps ClickHouse's copy of them.

``envelopes`` reads a message, ``columns`` turns JSON values into Arrow, ``tables`` makes the mirror's tables and widens them,
``earlier`` looks up what an event leaves out, ``applying`` brings a batch into ClickHouse, ``letters`` writes down what could not
be used, ``snapshots`` notes initial snapshots, ``consumer`` is the loop around them, ``metrics`` counts.
"""
