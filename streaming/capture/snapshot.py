"""A snapshot: every row of some tables as they were when a slot was made, so that the slot's changes go on from there without a gap.

All rows carry one position: the slot's start, which is below every change that the slot will bring. (Its consistent point is not: a
transaction that is open then has changes before it, and they are newer than the snapshot's rows.) Each topic begins with an
event that empties the table, for rows of an earlier snapshot or slot that are no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import psycopg
from confluent_kafka import KafkaException
from psycopg import sql

from streaming.capture import patterns, wire
from streaming.capture.catalog import Published
from streaming.capture.outbox import Check, Outbox
from streaming.capture.state import State
from streaming.events import Source, envelope, envelope_template, template

_ROWS_AT_ONCE = 2000

# sends an event with the mark it is given
Send = Callable[[bytes], None]

# how Debezium marks where in a snapshot a row is
FIRST, WITHIN, LAST = b"first", b"true", b"last"
FIRST_OF_TABLE, LAST_OF_TABLE = b"first_in_data_collection", b"last_in_data_collection"


@dataclass(frozen=True)
class Position:
    """Where a snapshot is: the log's position, and an id above that of each transaction that it sees (32 bits, as ids travel)."""

    lsn: int
    txid: int


def take_in(connection: psycopg.Connection[Any], exported: str, slot: str) -> Position:
    """Begin a transaction that sees what the slot exported; it must not end before the rows are read."""
    connection.execute("begin transaction isolation level repeatable read, read only")
    connection.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(exported)))
    row = connection.execute(
        """select restart_lsn::text, (pg_snapshot_xmax(pg_current_snapshot())::text::bigint & 4294967295)::bigint
           from pg_replication_slots where slot_name = %s""",
        [slot],
    ).fetchone()
    assert row is not None
    return Position(wire.lsn(row[0]), row[1])


class Snapshot:
    """A snapshot on its way; ``state`` counts its rows."""

    def __init__(self, outbox: Outbox, position: Position, database: str, state: State) -> None:
        self._outbox, self._position, self._database, self._state = outbox, position, database, state
        self._check = state.check
        self._now = time.time_ns() // 1_000_000
        # the newest event is held back: only what follows tells whether it is a last one
        self._held: tuple[Send, bytes] | None = None

    def send(self, connection: psycopg.Connection[Any], tables: Sequence[Published], partitions: Mapping[str, int]) -> None:
        """Empty each topic's table, then send all rows."""
        for table in tables:
            for partition in range(partitions[table.shape.topic]):
                self._hold(self._truncation(table, partition), FIRST)
        for table in tables:
            self._send_table(connection, table)
        # it says that all is there, and may be on another broker than the rest
        self._outbox.drain(self._check)
        if self._held:
            self._held[0](LAST)

    def _send_table(self, connection: psycopg.Connection[Any], table: Published) -> None:
        source = Source(self._database, table.shape.schema, table.shape.table)
        written = _Rows(table, self._opened(source, WITHIN), self._position.lsn, self._now)
        produce, topic = self._outbox.produce, table.shape.topic
        mark = FIRST_OF_TABLE
        for lines in _lines(connection, table, self._check):
            self._hold(self._row(table, source, lines[0]), mark)
            for line in lines[1:-1]:
                value, key = written.event(line)
                try:
                    produce(topic, value, key)
                except (BufferError, KafkaException):
                    self._outbox.send(topic, value, key, self._check)
            if len(lines) > 1:
                self._hold(self._row(table, source, lines[-1]), WITHIN)
            mark = WITHIN
            self._state.snapshot_rows += len(lines)
            self._outbox.poll()
            self._check()
        if mark is WITHIN and self._held:
            self._held = self._held[0], LAST_OF_TABLE

    def _hold(self, send: Send, mark: bytes) -> None:
        """Send what was held back, and hold this one."""
        if self._held:
            self._held[0](self._held[1])
        self._held = send, mark

    def _truncation(self, table: Published, partition: int) -> Send:
        source = Source(self._database, table.shape.schema, table.shape.table)

        def send(mark: bytes) -> None:
            value = envelope(b"null", b"null", self._opened(source, mark), self._position.lsn, b"t", self._now)
            self._outbox.send(table.shape.topic, value, None, self._check, partition=partition)

        return send

    def _row(self, table: Published, source: Source, line: bytes) -> Send:
        def send(mark: bytes) -> None:
            value, key = _Rows(table, self._opened(source, mark), self._position.lsn, self._now).event(line)
            self._outbox.send(table.shape.topic, value, key, self._check)

        return send

    def _opened(self, source: Source, mark: bytes) -> bytes:
        return source.opened(self._now, self._position.txid, mark)


class _Rows:
    """Lines of a table's COPY as events."""

    def __init__(self, table: Published, source: bytes, lsn: int, now_ms: int) -> None:
        self._shape = shape = table.shape
        self._source, self._lsn, self._now = source, lsn, now_ms
        self._pattern = patterns.of_line(shape.fields)
        self._template = envelope_template(b"null", template(shape.fields), source, b"r")
        self._key_template, self._key = shape.key_template, patterns.getter(patterns.places(shape.fields, shape.key))

    def event(self, line: bytes) -> tuple[bytes, bytes]:
        """The value and the key of a row."""
        groups = self._pattern.groups(line, 0)
        if groups is None:
            return self._long(line)
        value, key = self._template % (*groups, self._lsn, self._now), self._key_template % self._key(groups)
        return (patterns.with_nulls(value), patterns.with_nulls(key)) if patterns.NULL in value else (value, key)

    def _long(self, line: bytes) -> tuple[bytes, bytes]:
        written = self._shape.write(patterns.split_line(bytes(line)))
        value = envelope(b"null", self._shape.row(written), self._source, self._lsn, b"r", self._now)
        return value, self._shape.key_of(written)


def _lines(connection: psycopg.Connection[Any], table: Published, check: Check) -> Iterator[list[bytes]]:
    """The lines of a table's COPY, as many at a time as have arrived."""
    # it may have to wait for the table
    wire.command(connection.pgconn, table.copy.as_string(connection), check, seconds=inf)
    copy, heard = wire.Copy(connection.pgconn), time.monotonic()
    while not copy.ended:
        lines = copy.read(_ROWS_AT_ONCE)
        if lines:
            yield lines
            heard = time.monotonic()
        elif not copy.ended:
            check()
            if copy.wait(0.1):
                heard = time.monotonic()
            elif time.monotonic() - heard > wire.GIVE_UP_AFTER:
                raise wire.SilentError
