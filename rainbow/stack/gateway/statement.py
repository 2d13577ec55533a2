"""Running one request's statement: an INSERT takes its data from the body as they come, anything else is read whole.

All here is synchronous and runs in a thread of its own for each request.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import chain
from typing import Any

from rainbow.stack.gateway import answer, coding, sql
from rainbow.stack.gateway.answer import DEFAULT_FORMAT, Answer, Counts
from rainbow.stack.gateway.engine import Engine, Loan
from rainbow.stack.gateway.errors import EngineError
from rainbow.stack.gateway.request import Query

# a statement is held in memory; the data of an INSERT are not
STATEMENT_LIMIT = 16 * 2**20
# the beginning of the body in which an INSERT's FORMAT must be
HEAD = 2**18
# the data of an INSERT reach the engine in pieces of about this size
PIECE = 2**20

# formats whose blocks, put one after the other, are one file of the format
STREAMS = frozenset(["Native", "TabSeparated", "TSV", "CSV", "JSONEachRow", "NDJSON", "RowBinary", "LineAsString", "RawBLOB"])


def execute(engine: Engine, query: Query, body: Iterator[bytes], accepted: str) -> Answer:
    """Run a request; ``accepted`` is its Accept-Encoding. Raises EngineError, CodingError, UnicodeDecodeError."""
    began = time.monotonic()
    head = bytearray(query.beginning + b"\n" if query.beginning.strip() else b"")
    for piece in body:
        head += piece
        if len(head) >= HEAD:
            break
    insert = sql.insert_in(bytes(head), query.default_format or "Values")
    if insert:
        counts = _insert(engine, query, insert, chain([bytes(head[insert.data_from :])], body))
        return Answer(200, answer.headers_of(query, engine, DEFAULT_FORMAT) | answer.summary(counts, time.monotonic() - began))
    return _run(engine, query, _whole(head, body), accepted, began)


def _insert(engine: Engine, query: Query, insert: sql.Insert, data: Iterable[bytes]) -> Counts:
    """Feed an INSERT; a body that breaks off or cannot be read inserts nothing that the engine has not yet taken."""
    with closing(engine.lend(query)) as loan:
        loan.judge(f"{insert.statement} VALUES")
        with loan.connection.inserter(insert.statement, insert.format) as inserter:
            ready = bytearray()
            for piece in data:
                ready += piece
                if len(ready) >= PIECE:
                    inserter.append(bytes(ready))
                    ready.clear()
            if ready:
                inserter.append(bytes(ready))
            rows, size = inserter.finish()
        loan.unchanged = True
        return Counts(written=rows, bytes_written=size)


def _run(engine: Engine, query: Query, statement: bytes, accepted: str, began: float) -> Answer:
    """Run a statement; the answer to a query streams where the format and the client allow it."""
    if sql.writes_outfile(statement):
        raise EngineError.of(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
    text = statement.decode().strip()
    if not text:
        raise EngineError.of(62, "SYNTAX_ERROR", "Empty query")
    format_name = sql.format_in(statement) or query.default_format or DEFAULT_FORMAT
    encoding, coder = (coding.encoder(accepted) if query.compresses else None) or (None, None)
    headers = answer.headers_of(query, engine, format_name, encoding)
    with ExitStack() as open_things:
        loan = open_things.enter_context(closing(engine.lend(query)))
        reads = loan.judge(text)
        if reads and sql.is_query(statement) and format_name in STREAMS and not query.waits_for_end:
            return _stream(engine, loan, text, format_name, coder, headers, open_things)
        result = loan.connection.run(text, format_name)
        loan.unchanged = reads
        headers |= answer.summary(Counts.of(result), time.monotonic() - began)
        return Answer(200, headers, answer.encoded(_slices(result), coder), streams=result.size() > PIECE)


def _stream(
    engine: Engine, loan: Loan, text: str, format_name: str, coder: coding.Coder | None, headers: dict[str, str], open_things: ExitStack
) -> Answer:
    """The answer block by block; what fails before the first block is an ordinary failure."""
    blocks = open_things.enter_context(closing(loan.connection.stream(text, format_name)))
    first = next(blocks, b"")
    loan.unchanged = True
    tag, watched = answer.tagged(chain([first] if first else [], blocks), engine)
    out = open_things.enter_context(closing(answer.encoded(watched, coder)))
    return Answer(200, headers | {"X-ClickHouse-Exception-Tag": tag}, out, open_things.pop_all().close, streams=True)


def _slices(result: Any) -> Iterator[bytes]:
    """A chdb result piece by piece, without a second copy of all of it."""
    view = result.get_memview().view()
    for begin in range(0, len(view), PIECE):
        yield bytes(view[begin : begin + PIECE])


def _whole(head: bytearray, body: Iterator[bytes]) -> bytes:
    for piece in body:
        head += piece
        if len(head) > STATEMENT_LIMIT:
            raise EngineError.of(307, "TOO_MANY_BYTES", f"The statement is larger than {STATEMENT_LIMIT} bytes")
    return bytes(head)
