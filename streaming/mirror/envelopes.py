"""Reading one message of a table's topic: Debezium's envelope as JSON, with or without Debezium's schema around it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec
from orjson import JSONDecodeError, loads

from streaming.events import NEW_KEY, UNAVAILABLE

Row = dict[str, Any]

_UNAVAILABLE = UNAVAILABLE.encode()
_ESCAPED_HALF = b"\\ud"
_POSITIONS = 1 << 64
# the year 2299, the last that the mirror's instants can hold, in milliseconds
_INSTANTS = 10_413_792_000_000
_TXIDS = 0xFFFFFFFF


class UnusableError(Exception):
    """A message, or a row of one, that the mirror cannot use; the text is the dead letter's reason."""


class Message(Protocol):
    """What is read of a consumed message; confluent-kafka's, or a test's own."""

    def topic(self) -> str: ...  # noqa: D102
    def partition(self) -> int: ...  # noqa: D102
    def offset(self) -> int: ...  # noqa: D102
    def key(self) -> bytes | None: ...  # noqa: D102
    def value(self) -> bytes | None: ...  # noqa: D102
    def headers(self) -> list[tuple[str, bytes]] | None: ...  # noqa: D102


class Change(NamedTuple):
    """A row as of a change: the after image, or a delete's before image.

    ``lsn``: the change's position in the log. ``txid``: its transaction's id, 32 bits. ``committed``: milliseconds since 1970.
    ``snapshot``: what the event says of it ("" while streaming). ``partial``: some of its values are not in the event. ``moved``: the
    row's key changed, and what is missing under the new key is known under the old one, whose delete has the same position.
    """

    values: Row
    lsn: int
    deleted: bool
    txid: int
    committed: int
    snapshot: str
    partial: bool
    moved: bool
    message: Message


class Truncation(NamedTuple):
    """All rows of the table whose position is below ``lsn`` are gone."""

    lsn: int
    txid: int
    committed: int
    snapshot: str
    message: Message


class _Source(msgspec.Struct):
    lsn: int
    ts_ms: int
    txId: int | None = None  # noqa: N815
    snapshot: str | bool | None = None


class _Written(msgspec.Struct):
    """What of the event of a written row is needed, in the usual form: no image before, which takes as long to read as all the rest."""

    op: str
    source: _Source
    after: dict[str, Any]


_written = msgspec.json.Decoder(_Written).decode


def read(message: Message) -> Change | Truncation | None:
    """The change that a message tells of; None for a tombstone. Raises UnusableError."""
    content = message.value()
    if content is None:
        return None
    # escapes may stand for halves of a character, which only one of the two parsers refuses
    if _UNAVAILABLE not in content and _ESCAPED_HALF not in content:
        try:
            event = _written(content)
        except msgspec.MsgspecError:
            return read_whole(message, content)
        source = event.source
        if event.op in _WRITES and 0 <= source.lsn < _POSITIONS and 0 <= source.ts_ms < _INSTANTS:
            snapshot = _snapshot(source.snapshot)
            return _change((event.after, source.lsn, False, (source.txId or 0) & _TXIDS, source.ts_ms, snapshot, False, False, message))
    return read_whole(message, content)


def read_whole(message: Message, content: bytes) -> Change | Truncation:
    """The same of any event, whatever its form; ``content`` is the message's. Raises UnusableError."""
    try:
        event = loads(content)
    except JSONDecodeError as error:
        raise UnusableError(f"it is not JSON: {error}") from None
    try:
        if "op" not in event and "payload" in event:
            event = event["payload"]
        operation, source = event["op"], event["source"]
        lsn, committed, snapshot = source["lsn"], source["ts_ms"], source.get("snapshot")
        txid = (source.get("txId") or 0) & _TXIDS
        if not (type(lsn) is type(committed) is int and 0 <= lsn < _POSITIONS and 0 <= committed < _INSTANTS):
            raise UnusableError("source.lsn or source.ts_ms is no whole number, or out of range")
    except (KeyError, TypeError, AttributeError):
        raise UnusableError("it is no change event: op, source.lsn and source.ts_ms are wanted") from None
    snapshot = _snapshot(snapshot)
    if operation == "t":
        return Truncation(lsn, txid, committed, snapshot, message)
    if operation == "d":
        before = event.get("before")
        values = {**(before if isinstance(before, dict) else {}), **key_of(message)}
        partial = _is_blank(before, values)
        moved = partial and any(name == NEW_KEY for name, _ in message.headers() or ())
        return Change(values, lsn, True, txid, committed, snapshot, partial, moved, message)
    values = event.get("after")
    if type(operation) is not str or operation not in _WRITES or type(values) is not dict:
        raise UnusableError(f"operation {operation!r} is not known, or has no after image")
    partial = _UNAVAILABLE in content
    if partial:
        _fill_from_before(values, event.get("before"))
    # a row that is new has all of its values, unless it is an old one under another key
    return _change((values, lsn, False, txid, committed, snapshot, partial, partial and operation == "c", message))


_WRITES = frozenset("cur")
# Change._make without its check of the length, for each of many
_change: Callable[[tuple[Any, ...]], Change] = functools.partial(tuple.__new__, Change)
# an incremental snapshot's rows come in the midst of streaming, and stand for the moment of their position
_STREAMING = ("false", "incremental")


def _snapshot(told: Any) -> str:
    if not isinstance(told, str) or told in _STREAMING:
        return "true" if told is True else ""
    return told


def key_of(message: Message) -> Row:
    """The key columns and their values. Raises UnusableError."""
    content = message.key()
    try:
        key = loads(content or b"null")
    except JSONDecodeError as error:
        raise UnusableError(f"its key is not JSON: {error}") from None
    if isinstance(key, dict) and set(key) == {"schema", "payload"}:
        key = key["payload"]
    if not isinstance(key, dict) or not key or None in key.values():
        raise UnusableError("it has no key, so a row could not be told from another: give the table a primary key")
    return key


def is_unavailable(value: Any) -> bool:
    """Whether a value stands for one that was left out."""
    return value == UNAVAILABLE or value == [UNAVAILABLE]


def _fill_from_before(values: Row, before: Any) -> None:
    """Take left-out values from the before image, where it has them: what was not written again is what was there."""
    if isinstance(before, dict):
        for name, value in values.items():
            if is_unavailable(value) and not is_unavailable(before.get(name, UNAVAILABLE)):
                values[name] = before[name]


def _is_blank(before: Any, key: Row) -> bool:
    """Whether a delete's before image holds no more than the key.

    Under REPLICA IDENTITY DEFAULT Debezium puts NULL, zero, an empty text or 1970 where it knows nothing.
    """
    if not isinstance(before, dict):
        return True
    return all(value in _NOTHING or is_unavailable(value) for name, value in before.items() if name not in key)


_NOTHING = (None, 0, "", "0", "0.0", "1970-01-01T00:00:00Z")
