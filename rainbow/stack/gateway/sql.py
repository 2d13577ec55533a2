"""What the gateway must know of a statement before the engine reads it: is it an INSERT with data, and which FORMAT it names.

The engine parses and judges the SQL; here it is only cut into words.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

TOKEN = re.compile(
    rb"""
    (?P<space>  \s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/ )
  | (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<word>   [A-Za-z_]\w* )
  | (?P<open>   [(\[{] )
  | (?P<close>  [)\]}] )
  | (?P<other>  . )
    """,
    re.VERBOSE | re.DOTALL,
)
# where the data begins after a format's name: blanks, then one line end
BEFORE_DATA = re.compile(rb"[ \t\f]*\r?\n?")


@dataclass(frozen=True)
class Insert:
    """An INSERT whose data follow: the statement without its format, the format, and where in the text the data begin."""

    statement: str
    format: str
    data_from: int


def insert_in(text: bytes, default_format: str = "Values") -> Insert | None:
    """The INSERT that ``text`` begins with, if it is one that data follow (not INSERT ... SELECT)."""
    words = _top_words(text)
    if next(words, (b"", 0, 0))[0] != b"INSERT":
        return None
    for word, begins, ends in words:
        if word in (b"SELECT", b"WITH", b"WATCH", b"INFILE"):
            return None
        if word == b"VALUES":
            return Insert(text[:begins].decode(), "Values", ends)
        if word == b"FORMAT":
            name = next(words, None)
            if name is None:
                return None
            data_from = BEFORE_DATA.match(text, name[2]).end()  # type: ignore[union-attr]
            return Insert(text[:begins].decode(), text[name[1] : name[2]].decode(), data_from)
    return Insert(text.decode(), default_format, len(text)) if text.strip() else None


def format_in(text: bytes) -> str | None:
    """The format that a statement's FORMAT clause names, if it has one."""
    if b"format" not in text.lower():
        return None
    named = None
    words = _top_words(text)
    for word, _, _ in words:
        if word == b"FORMAT" and (name := next(words, None)):
            named = text[name[1] : name[2]].decode()
    return named


def is_query(text: bytes) -> bool:
    """Whether the statement is a query proper, not SHOW, DESCRIBE and their like, whose answers the engine does not stream."""
    return next(_top_words(text), (b"", 0, 0))[0] in (b"SELECT", b"WITH")


def writes_outfile(text: bytes) -> bool:
    """Whether the statement has INTO OUTFILE, which would write a file where the server runs."""
    if b"outfile" not in text.lower():
        return False
    words = [word for word, _, _ in _top_words(text)]
    return any(pair == (b"INTO", b"OUTFILE") for pair in itertools.pairwise(words))


def _top_words(text: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The words outside quotes, comments and brackets, in capitals, with where they begin and end."""
    depth = 0
    for token in TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "word" and depth == 0:
            yield token.group().upper(), token.start(), token.end()
