"""How a change is written: Debezium's envelope as JSON without schemas (``decimal.handling.mode=string``), made from the text that PostgreSQL prints.

A value goes from PostgreSQL's text to JSON's text; it is never a number or a date in between, so nothing is rounded. What a column's
type asks for is its ``Kind``. Texts are UTF-8, moments are printed by a session whose time zone is UTC and whose DateStyle is ISO.
The reading side is the mirror's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.metadata import version

import orjson

from streaming.topics import PREFIX

# what Debezium writes for a value that the log does not hold, as it was not changed and is stored apart (TOAST)
UNAVAILABLE = "__debezium_unavailable_value"

# Debezium marks a delete with the key that the row has from then on, and the create with the one that it had
NEW_KEY, OLD_KEY = "__debezium.newkey", "__debezium.oldkey"

_EPOCH = date(1970, 1, 1).toordinal()
_DATES = {b"infinity": b"2147483647", b"-infinity": b"-2147483648"}


@dataclass(frozen=True)
class Kind:
    """How texts of a type become JSON.

    ``plain`` matches the usual texts, its groups are what is kept of them, and ``template`` puts the groups into JSON. ``write`` takes
    any text of the type. Where ``converted``, the one group has to go through ``write`` too.
    """

    plain: bytes
    template: bytes
    write: Callable[[bytes], bytes]
    converted: bool = False


def _as_it_is(text: bytes) -> bytes:
    return text


def _quoted(text: bytes) -> bytes:
    return b'"%b"' % text


def _string(text: bytes) -> bytes:
    return orjson.dumps(text.decode())


def _number(text: bytes) -> bytes:
    return text if text[-1:].isdigit() else _quoted(text)


def _boolean(text: bytes) -> bytes:
    return b"true" if text == b"t" else b"false"


def _moment(text: bytes) -> bytes:
    """An instant in ISO 8601, as Java prints it: years beyond four digits have a sign, and the year 1 BC is 0000."""
    if text in _DATES:
        return _quoted(text)
    day, _, rest = text.partition(b" ")
    time, _, era = rest.partition(b" ")
    return b'"%bT%bZ"' % (_year(day, era), time.removesuffix(b"+00"))


def _year(day: bytes, era: bytes) -> bytes:
    year, month, dom = day.split(b"-")
    if era:
        number = 1 - int(year)
        year = b"%05d" % number if number < 0 else b"%04d" % number
    elif len(year) > 4:
        year = b"+" + year
    return b"-".join((year, month, dom))


def _days(text: bytes) -> bytes:
    """A date as days since 1970-01-01."""
    if text in _DATES:
        return _DATES[text]
    day, _, era = text.partition(b" ")
    year, month, dom = map(int, day.split(b"-"))
    # Python's calendar has the years 1 to 9999 alone; one of 400 years has the same days
    cycles, year = divmod((1 - year if era else year) - 1, 400)
    return b"%d" % (date(year + 1, month, dom).toordinal() - _EPOCH + cycles * 146_097)


INTEGER = Kind(rb"(-?\d+)", b"%b", _as_it_is)
NUMERIC = Kind(rb"(-?\d+(?:\.\d+)?)", b'"%b"', _quoted)
FLOAT = Kind(rb"(-?\d+(?:\.\d+)?(?:e[-+]\d+)?)", b"%b", _number)
BOOLEAN = Kind(rb"([tf])", b"%b", _boolean, converted=True)
MOMENT = Kind(rb"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00", b'"%bT%bZ"', _moment)
DATE = Kind(rb"(\d{4}-\d\d-\d\d)", b"%b", _days, converted=True)
TEXT = Kind(rb'([^\0-\x1f"\\]*)', b'"%b"', _string)

# PostgreSQL's ids of built-in types
_KINDS = {
    16: BOOLEAN,
    20: INTEGER,
    21: INTEGER,
    23: INTEGER,
    26: INTEGER,
    700: FLOAT,
    701: FLOAT,
    1082: DATE,
    1184: MOMENT,
    1700: NUMERIC,
}


@dataclass(frozen=True)
class Field:
    """A column: its name, and the id of its type (of the type below, for a domain)."""

    name: str
    type: int

    @property
    def kind(self) -> Kind:
        """How its texts are written; as a string where nothing else is said."""
        return _KINDS.get(self.type, TEXT)


@dataclass(frozen=True)
class Shape:
    """A table as its events show it: the columns in order, and which of them are the key (their places)."""

    schema: str
    table: str
    fields: tuple[Field, ...]
    key: tuple[int, ...]

    @property
    def topic(self) -> str:
        """The topic of its events; what a topic's name cannot hold becomes ``_``, as Debezium does it."""
        return topic_of(self.schema, self.table)

    @property
    def key_template(self) -> bytes:
        """JSON of the key with a place for each group of its columns' kinds."""
        return template(tuple(self.fields[place] for place in self.key))

    def write(self, texts: Sequence[bytes | None]) -> list[bytes]:
        """Each value as JSON."""
        return [b"null" if text is None else field.kind.write(text) for field, text in zip(self.fields, texts, strict=True)]

    def row(self, written: Sequence[bytes]) -> bytes:
        """JSON of a row whose values are written already."""
        return _object(self.fields) % tuple(written)

    def key_of(self, written: Sequence[bytes]) -> bytes:
        """JSON of the key of such a row."""
        return _object(tuple(self.fields[place] for place in self.key)) % tuple(written[place] for place in self.key)


def topic_of(schema: str, table: str) -> str:
    """The topic of a table's events."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in f"{PREFIX}.{schema}.{table}")


@cache
def template(fields: tuple[Field, ...]) -> bytes:
    """JSON of a row, with a place for each group of its columns' kinds."""
    return _json_object(fields, [field.kind.template for field in fields])


@cache
def _object(fields: tuple[Field, ...]) -> bytes:
    """JSON of a row, with a place for each value."""
    return _json_object(fields, [b"%b"] * len(fields))


def _json_object(fields: tuple[Field, ...], places: Sequence[bytes]) -> bytes:
    pairs = (_literal(_name(field.name)) + b":" + place for field, place in zip(fields, places, strict=True))
    return b"{" + b",".join(pairs) + b"}"


def _name(name: str) -> bytes:
    return orjson.dumps(name)


def _literal(text: bytes) -> bytes:
    """Text for a template in which ``%`` means a place."""
    return text.replace(b"%", b"%%")


class Source:
    """The envelope's block ``source`` for a table of a database; ``opened`` ends where the position follows."""

    def __init__(self, database: str, schema: str, table: str) -> None:
        made_by = {"version": version("rainbow-workbench"), "connector": "postgresql", "name": PREFIX}
        self._front = orjson.dumps(made_by)[:-1] + b',"ts_ms":'
        self._middle = b',"db":%b,"schema":%b,"table":%b,"txId":' % tuple(map(_name, (database, schema, table)))

    def opened(self, ts_ms: int, txid: int, snapshot: bytes = b"false") -> bytes:
        """The block up to the position, for a transaction."""
        return b'%b%d,"snapshot":"%b"%b%d,"lsn":' % (self._front, ts_ms, snapshot, self._middle, txid)


def envelope(before: bytes, after: bytes, source: bytes, lsn: int, op: bytes, now_ms: int) -> bytes:
    """An event's value; ``source`` is opened, ``before`` and ``after`` are JSON."""
    return b'{"before":%b,"after":%b,"source":%b%d,"xmin":null},"op":"%b","ts_ms":%d}' % (before, after, source, lsn, op, now_ms)


def envelope_template(before: bytes, after: bytes, source: bytes, op: bytes) -> bytes:
    """The same, with places for ``before`` and ``after`` in their templates, then for the position and the moment of now."""
    return b'{"before":%b,"after":%b,"source":%b%%d,"xmin":null},"op":"%b","ts_ms":%%d}' % (before, after, _literal(source), op)
