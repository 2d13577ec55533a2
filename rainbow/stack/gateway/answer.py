"""An answer as ClickHouse gives it over HTTP: status, headers, and a body that is there at once or comes block by block."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any

from rainbow.stack.gateway.coding import Coder
from rainbow.stack.gateway.engine import Engine
from rainbow.stack.gateway.errors import EngineError
from rainbow.stack.gateway.request import Query

DEFAULT_FORMAT = "TSV"
CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TSVWithNames": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    **dict.fromkeys(("Native", "RowBinary", "Arrow", "ArrowStream", "Parquet"), "application/octet-stream"),
}
# src/Server/HTTP/exceptionCodeToHTTPStatus.cpp of ClickHouse
STATUS = {
    **dict.fromkeys((6, 15, 26, 27, 36, 38, 41, 43, 44, 53, 62, 69, 72, 117, 130, 131, 167, 168, 354, 427, 441), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 106, 115, 336), 404),
    **dict.fromkeys((192, 193, 516), 403),
    48: 501,
    159: 408,
    194: 401,
    307: 413,
    439: 503,
}


@dataclass(frozen=True)
class Counts:
    """Rows and bytes that a statement read and wrote, and the rows of its answer."""

    read: int = 0
    bytes_read: int = 0
    written: int = 0
    bytes_written: int = 0
    result: int = 0

    @classmethod
    def of(cls, result: Any) -> Counts:
        """The counts of a chdb result."""
        return cls(
            result.storage_rows_read(), result.storage_bytes_read(), result.rows_written(), result.bytes_written(), result.rows_read()
        )


@dataclass(frozen=True)
class Answer:
    """What goes back to the client; ``close`` must be called when all of it is sent or the client is gone."""

    status: int
    headers: dict[str, str]
    blocks: Iterable[bytes] = ()
    close: Callable[[], None] = lambda: None
    streams: bool = False


def plain(text: str, status: int = 200) -> Answer:
    """A line of text."""
    return Answer(status, {"Content-Type": "text/html; charset=UTF-8"}, [text.encode()])


def failure(error: EngineError, engine: Engine) -> Answer:
    """An exception."""
    headers = {"X-ClickHouse-Exception-Code": str(error.code), "Content-Type": "text/plain; charset=UTF-8"}
    return Answer(STATUS.get(error.code, 500), headers, [f"{full_text(error, engine)}\n".encode()])


def full_text(error: EngineError, engine: Engine) -> str:
    """The exception's text with the server's version at its end, once."""
    return error.text if "(version " in error.text else f"{error.text} (version {engine.version})"


def headers_of(query: Query, engine: Engine, format_name: str, encoding: str | None = None) -> dict[str, str]:
    """The headers that every good answer has."""
    headers = {
        "Content-Type": CONTENT_TYPES.get(format_name, "text/plain; charset=UTF-8"),
        "X-ClickHouse-Server-Display-Name": "rainbow",
        "X-ClickHouse-Query-Id": query.query_id or str(uuid.uuid4()),
        "X-ClickHouse-Format": format_name,
        "X-ClickHouse-Timezone": engine.timezone,
    }
    return headers | ({"Content-Encoding": encoding} if encoding else {})


def summary(counts: Counts, seconds: float) -> dict[str, str]:
    """The header with the counts; only for answers that are complete when they are sent."""
    values = {
        "read_rows": counts.read,
        "read_bytes": counts.bytes_read,
        "written_rows": counts.written,
        "written_bytes": counts.bytes_written,
        "total_rows_to_read": counts.read,
        "result_rows": counts.result or counts.written,
        "result_bytes": counts.bytes_written,
        "elapsed_ns": int(seconds * 1e9),
    }
    return {"X-ClickHouse-Summary": json.dumps({name: str(value) for name, value in values.items()})}


def tagged(blocks: Iterable[bytes], engine: Engine) -> tuple[str, Generator[bytes, None, None]]:
    """A random tag, and the blocks with an exception that comes among them written at the end between such tags.

    So a client that has had its 200 still learns that the answer is not complete.
    """
    tag = secrets.token_hex(8)

    def watched() -> Generator[bytes, None, None]:
        try:
            yield from blocks
        except EngineError as error:
            text = full_text(error, engine)
            yield f"\r\n__exception__\r\n{tag}\r\n{text}\n{len(text.encode()) + 1} {tag}\r\n__exception__\r\n".encode()

    return tag, watched()


def encoded(blocks: Iterable[bytes], coder: Coder | None) -> Generator[bytes, None, None]:
    """The blocks in the encoding that the client accepts."""
    if coder is None:
        yield from blocks
        return
    for block in blocks:
        if out := coder.feed(block):
            yield out
    if out := coder.end():
        yield out
