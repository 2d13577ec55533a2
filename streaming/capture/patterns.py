"""The quick way from a change to its event: one regular expression matches the whole message of a table and finds the parts of its values
that JSON keeps; one template puts them in their places.

PostgreSQL's texts hold no zero byte, and a value is preceded by ``t`` and its length in four bytes; so below 256 bytes it is seen where a
value begins. Numbers and moments say themselves where they end; of texts the length is compared. What does not match takes the
long way (``pgoutput``), which knows everything: escapes in texts, values of 256 bytes or more, infinity, NaN, values not sent.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from streaming.events import TEXT, Field

# stands for NULL among the groups; no text of PostgreSQL's holds it
NULL = b"\0"

_HEAD = rb"t\0\0\0."

# Texts of a message that may be matched. A NULL after a text looks like one more letter of it, so where the match fails in the end each such
# place is tried both ways: twice the time for one more of them.
MOST_TEXTS = 12

Match = Callable[[bytes, int], "re.Match[bytes] | None"]


@dataclass(frozen=True)
class Pattern:
    """What matches a row or two: ``match(message, start)``, which groups are texts whose length is to be compared, which have to be converted."""

    match: Match
    texts: tuple[int, ...]
    converted: tuple[tuple[int, Callable[[bytes], bytes]], ...]

    def groups(self, message: bytes, start: int) -> tuple[bytes, ...] | None:
        """The groups, NULL where there is none; None when the message has to take the long way."""
        found = self.match(message, start)
        if found is None:
            return None
        for number in self.texts:
            begin, end = found.span(number)
            if begin >= 0 and message[begin - 1] != end - begin:
                return None
        if not self.converted:
            return found.groups(NULL)
        groups = list(found.groups(NULL))
        for place, convert in self.converted:
            if groups[place] != NULL:
                groups[place] = convert(groups[place])
        return tuple(groups)


def of_message(*parts: tuple[bytes, Sequence[Field]]) -> Pattern:
    """Matches what follows an operation's relation id: for each part its letter (O or N) and the row of its fields."""
    source = b""
    for letter, fields in parts:
        source += letter + re.escape(struct.pack(">H", len(fields)))
        source += b"".join(rb"(?:" + _HEAD + field.kind.plain + rb"|n)" for field in fields)
    return _pattern(source, [field for _, fields in parts for field in fields], compared=True)


def texts(fields: Sequence[Field]) -> int:
    """How many of these are texts, or written like texts."""
    return sum(field.kind is TEXT for field in fields)


def of_line(fields: Sequence[Field]) -> Pattern:
    """Matches a line of ``COPY ... TO STDOUT`` in its text format."""
    source = rb"\t".join(rb"(?:" + field.kind.plain + rb"|\\N)" for field in fields) + rb"\n"
    return _pattern(source, fields, compared=False)


def _pattern(source: bytes, fields: Sequence[Field], *, compared: bool) -> Pattern:
    texts, converted, group = [], [], 0
    for field in fields:
        if field.kind is TEXT and compared:
            texts.append(group + 1)
        if field.kind.converted:
            converted.append((group, field.kind.write))
        group += field.kind.template.count(b"%b")
    return Pattern(re.compile(source + rb"\Z", re.DOTALL).match, tuple(texts), tuple(converted))


def places(fields: Sequence[Field], columns: Sequence[int], before: Sequence[Field] = ()) -> tuple[int, ...]:
    """The places of some columns' groups, in a row that follows another one."""
    counts = [field.kind.template.count(b"%b") for field in fields]
    offset = sum(field.kind.template.count(b"%b") for field in before)
    return tuple(offset + sum(counts[:column]) + group for column in columns for group in range(counts[column]))


def getter(wanted: tuple[int, ...]) -> Callable[[tuple[bytes, ...]], tuple[bytes, ...] | bytes]:
    """What takes the groups of these places out of all; the group itself where there is one."""
    return itemgetter(*wanted)


def with_nulls(event: bytes) -> bytes:
    """The event with ``null`` in each place that got NULL, quoted or not."""
    return event.replace(b'"\0T\0Z"', b"null").replace(b'"\0"', b"null").replace(NULL, b"null")


def split_line(line: bytes) -> list[bytes | None]:
    """The texts of a line of ``COPY ... TO STDOUT``, the long way; None for NULL."""
    return [None if text == rb"\N" else _unescaped(text) if b"\\" in text else text for text in line[:-1].split(b"\t")]


_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _unescaped(text: bytes) -> bytes:
    return re.sub(rb"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text, flags=re.DOTALL)
