"""The messages of PostgreSQL's plugin pgoutput, protocol version 1, as values.

https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html is what it follows. Values come as text. This way is
for any message; most changes take the quick one (``patterns``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import Final

from rainbow.errors import DataError

# PostgreSQL counts microseconds from 2000-01-01
EPOCH_MS = 946_684_800_000

_BEGIN = Struct(">qqI")
_COMMIT = Struct(">Bqqq")
_RELATION_COLUMN = Struct(">Ii")
_COUNT = Struct(">H")
_ID = Struct(">I")


class Missing(Enum):
    """A value that the message does not bring: it was not changed, and is stored apart from its row (TOAST)."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Missing.UNCHANGED
Value = bytes | None | Missing


@dataclass(frozen=True)
class Column:
    """A column of a relation; ``identity`` tells whether it belongs to the replica identity."""

    name: str
    type: int
    identity: bool


@dataclass(frozen=True)
class Relation:
    """A table as it was when the changes that follow were made. ``identity``: ``d`` default, ``n`` nothing, ``f`` full, ``i`` index."""

    id: int
    schema: str
    table: str
    identity: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Begin:
    """A transaction's start: when it was committed (milliseconds since 1970), and its id."""

    committed_ms: int
    txid: int


@dataclass(frozen=True)
class Change:
    """``op``: I, U or D. ``old`` is the old row where ``old_kind`` is O, the old key alone where it is K."""

    op: str
    relation: int
    old_kind: str
    old: tuple[Value, ...]
    new: tuple[Value, ...]


def begin(message: bytes) -> Begin:
    """The message B."""
    _, moment, txid = _BEGIN.unpack_from(message, 1)
    return Begin(moment // 1000 + EPOCH_MS, txid)


def commit(message: bytes) -> int:
    """The message C: the position behind the transaction."""
    end: int = _COMMIT.unpack_from(message, 1)[2]
    return end


def relation(message: bytes) -> Relation:
    """The message R."""
    (number,) = _ID.unpack_from(message, 1)
    schema, at = _string(message, 5)
    table, at = _string(message, at)
    identity = chr(message[at])
    (count,) = _COUNT.unpack_from(message, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = message[at]
        name, at = _string(message, at + 1)
        type_, _modifier = _RELATION_COLUMN.unpack_from(message, at)
        at += _RELATION_COLUMN.size
        columns.append(Column(name, type_, bool(flags & 1)))
    # an empty name stands for pg_catalog
    return Relation(number, schema or "pg_catalog", table, identity, tuple(columns))


def truncated(message: bytes) -> tuple[int, ...]:
    """The message T: the ids of the relations that were emptied."""
    (count,) = _ID.unpack_from(message, 1)
    return tuple(_ID.unpack_from(message, 6 + 4 * place)[0] for place in range(count))


def change(message: bytes) -> Change:
    """The messages I, U and D. Raises DataError for what the protocol does not know."""
    op, at = chr(message[0]), 5
    (number,) = _ID.unpack_from(message, 1)
    old_kind, old, new = "", (), ()  # type: tuple[str, tuple[Value, ...], tuple[Value, ...]]
    if message[at] in b"KO":
        old_kind = chr(message[at])
        old, at = _tuple(message, at + 1)
    if op != "D":
        if message[at : at + 1] != b"N":
            raise DataError(f"PostgreSQL sent a change of kind {op} without a new row")
        new, at = _tuple(message, at + 1)
    return Change(op, number, old_kind, old, new)


def _tuple(message: bytes, at: int) -> tuple[tuple[Value, ...], int]:
    (count,) = _COUNT.unpack_from(message, at)
    at += 2
    values: list[Value] = []
    for _ in range(count):
        kind = message[at : at + 1]
        at += 1
        if kind == b"t":
            start = at + 4
            at = start + _ID.unpack_from(message, at)[0]
            values.append(message[start:at])
        elif kind == b"n":
            values.append(None)
        elif kind == b"u":
            values.append(UNCHANGED)
        else:
            raise DataError(f"PostgreSQL sent a value of a kind that is not known: {kind!r}")
    return tuple(values), at


def _string(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(b"\0", at)
    return message[at:end].decode(), end + 1
