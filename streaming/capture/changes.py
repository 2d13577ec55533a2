"""From the stream's messages to events: which table a change belongs to, the quick way and the long way of writing it, and where the stream is."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Container, Mapping
from typing import Any, Protocol

from confluent_kafka import KafkaException

from streaming import events
from streaming.capture import patterns, pgoutput
from streaming.capture.outbox import Check, Outbox
from streaming.capture.pgoutput import UNCHANGED, Relation, Value
from streaming.events import Shape, Source, envelope, envelope_template, template

# a message of the replication: ``w``, the change's position, and after two numbers pgoutput's message; or ``k``, a keepalive
_DATA = struct.Struct(">xQ16x5s")
_KEEPALIVE = struct.Struct(">xQQ?")
_WHERE = 25
_ROW = 30
_W = ord("w")
_UNAVAILABLE = f'"{events.UNAVAILABLE}"'.encode()

BEGIN, COMMIT, RELATION, TRUNCATE = b"B"[0], b"C"[0], b"R"[0], b"T"[0]


class Catalogue(Protocol):
    """What has to be looked up when a table is met."""

    def shape_of(self, relation: Relation) -> Shape:
        """Its columns' types and its key."""

    def partitions_of(self, shape: Shape) -> int:
        """The partitions of its topic, which is made if it is not there."""


class Transaction:
    """The transaction that is being read. ``serial`` tells it from the one before; ``now_ms`` is the clock of the batch."""

    __slots__ = ("committed_ms", "now_ms", "open", "serial", "txid")

    def __init__(self) -> None:
        self.serial = self.committed_ms = self.txid = self.now_ms = 0
        self.open = False


class Changes:
    """Takes the stream's messages and sends their events.

    ``reached``: nothing before this position will be needed again, once what was sent is acknowledged. ``received``: the newest position.
    """

    def __init__(self, database: str, outbox: Outbox, catalogue: Catalogue, check: Check) -> None:
        self._database, self._outbox, self._catalogue, self._check = database, outbox, catalogue, check
        self._tables: dict[int, Table] = {}
        self._handlers: dict[bytes, Callable[[Any, int], None]] = {}
        self.transaction = Transaction()
        self.reached = self.received = 0
        self.asked = False
        self.transactions = 0
        self.counts: dict[str, int] = {}

    def handle(self, messages: list[bytes]) -> None:
        """Send the events of some messages."""
        unpack, handlers, other = _DATA.unpack_from, self._handlers, self._other
        self.transaction.now_ms = time.time_ns() // 1_000_000
        lsn = 0
        for message in messages:
            if message[0] == _W:
                lsn, what = unpack(message)
                handler = handlers.get(what)
                if handler is not None:
                    handler(message, lsn)
                else:
                    other(bytes(message[_WHERE:]), lsn)
            else:
                self._keepalive(message)
        self.received = max(self.received, lsn)

    def tally(self) -> dict[str, int]:
        """Events by table, since the stream began."""
        counts = dict(self.counts)
        for table in self._tables.values():
            counts[table.name] = counts.get(table.name, 0) + table.count
        return counts

    def _other(self, message: bytes, lsn: int) -> None:
        """What is no change of a row; a kind that is of no use here is passed over."""
        kind, transaction = message[0], self.transaction
        if kind == BEGIN:
            begin = pgoutput.begin(message)
            transaction.serial += 1
            transaction.committed_ms, transaction.txid, transaction.open = begin.committed_ms, begin.txid, True
        elif kind == COMMIT:
            transaction.open = False
            self.reached = max(self.reached, pgoutput.commit(message))
            self.transactions += 1
        elif kind == RELATION:
            self._meet(pgoutput.relation(message))
        elif kind == TRUNCATE:
            for relation in pgoutput.truncated(message):
                self._tables[relation].truncate(lsn)

    def _meet(self, relation: Relation) -> None:
        """A table's columns, before its first change and again after each change of its definition."""
        shape = self._catalogue.shape_of(relation)
        if known := self._tables.get(relation.id):
            self.counts[known.name] = self.counts.get(known.name, 0) + known.count
        table = Table(
            shape,
            relation.identity,
            Source(self._database, shape.schema, shape.table),
            self.transaction,
            self._outbox,
            self._catalogue.partitions_of(shape),
            self._check,
        )
        self._tables[relation.id] = table
        number = struct.pack(">I", relation.id)
        self._handlers |= {b"I" + number: table.insert, b"U" + number: table.update, b"D" + number: table.delete}

    def _keepalive(self, message: bytes) -> None:
        """The server has read this far; between transactions that means that nothing is to come from before."""
        end, _, asked = _KEEPALIVE.unpack(message)
        self.asked = self.asked or asked
        self.received = max(self.received, end)
        if not self.transaction.open:
            self.reached = max(self.reached, end)


class Table:
    """A table while its definition stays as it is; ``count`` are its events."""

    def __init__(
        self, shape: Shape, identity: str, source: Source, transaction: Transaction, outbox: Outbox, partitions: int, check: Check
    ) -> None:
        self._shape, self._identity, self._source, self._transaction = shape, identity, source, transaction
        self._outbox, self._produce, self._partitions, self._check = outbox, outbox.produce, partitions, check
        self.name = f"{shape.schema}.{shape.table}"
        self.count = 0
        self._topic, fields = shape.topic, shape.fields
        # where the key is the whole row, each change of a row changes it
        self._quick = len(shape.key) < len(fields) or len(fields) == 1
        full = identity == "f"
        self._quick = self._quick and patterns.texts(fields) * (2 if full else 1) <= patterns.MOST_TEXTS
        self._insert = patterns.of_message((b"N", fields))
        self._update = patterns.of_message((b"O", fields), (b"N", fields)) if full else self._insert
        self._delete = patterns.of_message((b"O", fields))
        before = fields if full else ()
        self._key_template = shape.key_template
        self._first_key = patterns.getter(patterns.places(fields, shape.key))
        self._second_key = patterns.getter(patterns.places(fields, shape.key, before))
        self._full = full
        self._serial = 0
        self._opened = self._insert_template = self._update_template = self._delete_template = b""

    def insert(self, message: Any, lsn: int) -> None:
        """A new row."""
        groups = self._insert.groups(message, _ROW) if self._quick else None
        if groups is None:
            return self._long(message, lsn)
        transaction = self._transaction
        if self._serial != transaction.serial:
            self._open()
        value = self._insert_template % (*groups, lsn, transaction.now_ms)
        if patterns.NULL in value:
            value = patterns.with_nulls(value)
        return self._send(value, self._key_template % self._first_key(groups))

    def update(self, message: Any, lsn: int) -> None:
        """A changed row."""
        groups = self._update.groups(message, _ROW) if self._quick else None
        if groups is None:
            return self._long(message, lsn)
        key = self._second_key(groups)
        if self._full and key != self._first_key(groups):
            return self._long(message, lsn)
        transaction = self._transaction
        if self._serial != transaction.serial:
            self._open()
        value = self._update_template % (*groups, lsn, transaction.now_ms)
        if patterns.NULL in value:
            value = patterns.with_nulls(value)
        return self._send(value, self._key_template % key)

    def delete(self, message: Any, lsn: int) -> None:
        """A row that is no more, and its tombstone."""
        groups = self._delete.groups(message, _ROW) if self._quick else None
        if groups is None:
            return self._long(message, lsn)
        transaction = self._transaction
        if self._serial != transaction.serial:
            self._open()
        value = self._delete_template % (*groups, lsn, transaction.now_ms)
        if patterns.NULL in value:
            value = patterns.with_nulls(value)
        key = self._key_template % self._first_key(groups)
        self._send(value, key)
        return self._send(None, key)

    def truncate(self, lsn: int) -> None:
        """All rows are gone: each partition is told."""
        self._open()
        value = envelope(b"null", b"null", self._opened, lsn, b"t", self._transaction.now_ms)
        for partition in range(self._partitions):
            self._send(value, None, partition=partition)

    def _open(self) -> None:
        """What is the same for all changes of a transaction."""
        transaction = self._transaction
        self._serial = transaction.serial
        self._opened = opened = self._source.opened(transaction.committed_ms, transaction.txid)
        row = template(self._shape.fields)
        self._insert_template = envelope_template(b"null", row, opened, b"c")
        self._update_template = envelope_template(row if self._full else b"null", row, opened, b"u")
        self._delete_template = envelope_template(row, b"null", opened, b"d")

    def _send(self, value: bytes | None, key: bytes | None, **options: Any) -> None:
        self.count += 1
        try:
            self._produce(self._topic, value, key, **options)
            return
        except (BufferError, KafkaException):
            # what the producer refuses is not sent again from within a handler, see Outbox
            pass
        self._outbox.send(self._topic, value, key, self._check, **options)

    def _long(self, message: Any, lsn: int) -> None:
        """Any change: with what is not plain, with another key than before, with values that were not sent."""
        self._open()
        change, shape = pgoutput.change(bytes(message[_WHERE:])), self._shape
        before = self._before(change.old_kind, change.old)
        old_key = self._key(change.old) if change.old else None
        if change.op == "D":
            self._send_deleted(before, old_key or b"null", lsn)
            return
        # of a key that stands alone the other columns are NULL
        new = _filled(change.new, change.old, range(len(change.new)) if change.old_kind == "O" else shape.key)
        written = [_UNAVAILABLE if text is UNCHANGED else write for text, write in zip(new, self._write(new), strict=True)]
        after, key = shape.row(written), shape.key_of(written)
        if change.op == "U" and old_key is not None and old_key != key:
            self._send_deleted(before, old_key, lsn, {events.NEW_KEY: key})
            self._send_row(b"null", after, key, lsn, b"c", headers={events.OLD_KEY: old_key})
        else:
            self._send_row(before, after, key, lsn, b"u" if change.op == "U" else b"c")

    def _send_row(self, before: bytes, after: bytes, key: bytes, lsn: int, op: bytes, **options: Any) -> None:
        self._send(envelope(before, after, self._opened, lsn, op, self._transaction.now_ms), key, **options)

    def _send_deleted(self, before: bytes, key: bytes, lsn: int, headers: Mapping[str, bytes] | None = None) -> None:
        self._send_row(before, b"null", key, lsn, b"d", **({"headers": headers} if headers else {}))
        self._send(None, key)

    def _before(self, kind: str, old: tuple[Value, ...]) -> bytes:
        """The old row; of one that the log holds the key of alone, the key."""
        if not kind:
            return b"null"
        return self._shape.row(self._write(old)) if kind == "O" else self._key(old)

    def _key(self, row: tuple[Value, ...]) -> bytes:
        return self._shape.key_of(self._write(row))

    def _write(self, row: tuple[Value, ...]) -> list[bytes]:
        return self._shape.write([None if text is UNCHANGED else text for text in row])


def _filled(new: tuple[Value, ...], old: tuple[Value, ...], places: Container[int]) -> tuple[Value, ...]:
    """The new row; what was not sent, since it did not change, is in the old one, as far as that has it: in these places."""
    if not old or UNCHANGED not in new:
        return new
    return tuple(
        before if text is UNCHANGED and place in places else text for place, (text, before) in enumerate(zip(new, old, strict=True))
    )
