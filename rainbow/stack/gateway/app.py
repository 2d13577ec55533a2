"""The HTTP interface: a request in, the engine's answer out."""

from __future__ import annotations

import hmac
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from rainbow.stack.gateway import coding, request, sql
from rainbow.stack.gateway.engine import Engine, EngineError, Loan, fill, finish

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

# a statement is read whole; the data of an INSERT are not
STATEMENT_LIMIT = 64 * 2**20
HEAD = 2**18
PIECE = 2**20
AT_ONCE = 32

# formats whose blocks, put one after the other, are one file of the format
STREAMS = frozenset(["Native", "TabSeparated", "TSV", "CSV", "JSONEachRow", "NDJSON", "RowBinary", "LineAsString", "RawBLOB"])
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
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Parquet": "application/octet-stream",
}
# https://github.com/ClickHouse/ClickHouse/blob/master/src/Server/HTTP/exceptionCodeToHTTPStatus.cpp
STATUS = {
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 43, 44, 53, 62, 69, 72, 117, 130, 131, 167, 168, 321, 427, 441), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336), 404),
    **dict.fromkeys((192, 193, 516), 403),
    194: 401,
    48: 501,
    159: 408,
    439: 503,
}


@dataclass(frozen=True)
class Counts:
    """Rows and bytes that a statement read and wrote, and the rows of its answer."""

    read: int
    bytes_read: int
    written: int
    bytes_written: int
    result: int

    @classmethod
    def of(cls, result: Any) -> Counts:
        """The counts of chdb's result."""
        return cls(
            result.storage_rows_read(), result.storage_bytes_read(), result.rows_written(), result.bytes_written(), result.rows_read()
        )


class Gateway:
    """The ASGI application over one engine, for one user and one password."""

    def __init__(self, engine: Engine, user: str, password: str) -> None:
        self.engine = engine
        self.user = user.encode()
        self.password = password.encode()
        self.limiter = CapacityLimiter(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        incoming = Request(scope, receive)
        try:
            answer = await self.answer(incoming)
        except EngineError as error:
            answer = self.failure(error)
        except coding.CodingError as error:
            answer = self.failure(EngineError.of(354, "INFLATE_FAILED", f"{error}"))
        except UnicodeDecodeError:
            answer = self.failure(EngineError.of(62, "SYNTAX_ERROR", "The statement is not UTF-8"))
        except ClientDisconnect:
            return
        await answer(scope, receive, send)

    async def answer(self, incoming: Request) -> Response:
        """The answer to a request; raises EngineError."""
        path = incoming.url.path
        if path in ("/ping", "/replicas_status"):
            return Response("Ok.\n", media_type="text/html; charset=UTF-8")
        parameters = dict(incoming.query_params)
        if path == "/" and incoming.method in ("GET", "HEAD") and "query" not in parameters:
            return Response("Ok.\n", media_type="text/html; charset=UTF-8")
        if path not in ("/", "/query") or incoming.method not in ("GET", "HEAD", "POST", "PUT"):
            return Response(f"There is no handle {path}\n", status_code=404)
        if refusal := self.refusal(incoming, parameters):
            return refusal
        files: dict[str, bytes] = {}
        body = self.body(incoming)
        if incoming.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            parts = request.form(incoming.headers["content-type"], await whole(body, b""))
            if parts is None:
                raise EngineError.of(36, "BAD_ARGUMENTS", "The form has no boundary")
            fields, files = parts
            parameters |= fields
            body = nothing()
        query = request.read(incoming.method, incoming.headers, parameters, files)
        return await self.execute(query, body, incoming.headers.get("accept-encoding", ""))

    def refusal(self, incoming: Request, parameters: dict[str, str]) -> Response | None:
        """The answer to a request that does not bring the user and the password, else None."""
        given = request.credentials(incoming.headers, parameters)
        user, password = given or ("default", "")
        right = hmac.compare_digest(user.encode(), self.user) & hmac.compare_digest(password.encode(), self.password)
        if right:
            return None
        message = f"{user}: Authentication failed: password is incorrect, or there is no user with such name"
        answer = self.failure(EngineError.of(516, "AUTHENTICATION_FAILED", message))
        if given is None:
            answer.status_code = 401
            answer.headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        return answer

    async def execute(self, query: request.Query, body: AsyncIterator[bytes], accepted: str) -> Response:
        """Run the request's statement; an INSERT takes its data from the body as they come."""
        began = time.monotonic()
        head = query.beginning + b"\n" if query.beginning.strip() else b""
        pending = aiter(body)
        while len(head) < HEAD and (piece := await anext(pending, None)) is not None:
            head += piece
        insert = sql.insert_in(head, query.default_format or "Values")
        loan = await self.thread(self.engine.lend, query)
        streaming = False
        try:
            if insert:
                done = await self.insert(loan, insert, head, pending)
                return Response(headers=self.headers(query, counts=Counts(0, 0, done.rows_written, done.bytes_written, 0), began=began))
            statement = await whole(pending, head)
            if sql.writes_outfile(statement):
                raise EngineError.of(98, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
            text = statement.decode().strip()
            reads = await self.thread(loan.judge, text)
            named = sql.format_in(statement)
            format_name = named or query.default_format or "TabSeparated"
            coder = coding.encoder(accepted) if query.compresses else None
            if reads and format_name in STREAMS and not query.waits_for_end:
                streaming = True
                return await self.streamed(loan, query, text, format_name, coder)
            result = await self.thread(loan.run, text, format_name)
            headers = self.headers(query, format_name, coder, counts=Counts.of(result), began=began)
            content = await self.thread(result.bytes)
            if coder:
                content = await self.thread(lambda: b"".join(coding.encoded(iter([content]), coder[1])))
            return Response(content, headers=headers)
        finally:
            if not streaming:
                await self.thread(loan.close)

    async def insert(self, loan: Loan, insert: sql.Insert, head: bytes, body: AsyncIterator[bytes]) -> Any:
        """Feed an INSERT from the body, about a megabyte at a time; a body that breaks off inserts nothing more."""
        await self.thread(loan.judge, f"{insert.statement} VALUES")
        inserter = await self.thread(loan.insert, insert.statement, insert.format)
        try:
            ready = bytearray(head[insert.data_from :])
            async for piece in body:
                ready += piece
                if len(ready) >= PIECE:
                    await self.thread(fill, inserter, bytes(ready))
                    ready.clear()
            if ready:
                await self.thread(fill, inserter, bytes(ready))
            return await self.thread(finish, inserter)
        except BaseException:
            inserter.close()
            raise

    async def streamed(
        self, loan: Loan, query: request.Query, text: str, format_name: str, coder: tuple[str, coding.Coder] | None
    ) -> Response:
        """Answer block by block; what fails before the first block is an ordinary failure."""
        blocks = loan.stream(text, format_name)
        try:
            first = await self.thread(next, blocks, None)
        except BaseException:
            await self.thread(loan.close)
            raise
        tag = secrets.token_hex(8)
        headers = self.headers(query, format_name, coder) | {"X-ClickHouse-Exception-Tag": tag}

        def pieces() -> Generator[bytes, None, None]:
            try:
                if first is not None:
                    yield first
                yield from blocks
            except EngineError as error:
                text = self.full_text(error)
                yield f"\r\n__exception__\r\n{tag}\r\n{text}\n{len(text.encode()) + 1} {tag}\r\n__exception__\r\n".encode()

        async def send() -> AsyncIterator[bytes]:
            out = coding.encoded(pieces(), coder[1] if coder else None)
            try:
                while (piece := await self.thread(next, out, None)) is not None:
                    yield piece
            finally:
                await self.thread(out.close)
                await self.thread(blocks.close)
                await self.thread(loan.close)

        return StreamingResponse(send(), headers=headers)

    def headers(
        self,
        query: request.Query,
        format_name: str = "TabSeparated",
        coder: tuple[str, coding.Coder] | None = None,
        *,
        counts: Counts | None = None,
        began: float = 0,
    ) -> dict[str, str]:
        """The headers of an answer; the summary only when the counts are known."""
        headers = {
            "Content-Type": CONTENT_TYPES.get(format_name, "text/plain; charset=UTF-8"),
            "X-ClickHouse-Server-Display-Name": "rainbow",
            "X-ClickHouse-Query-Id": query.query_id or str(uuid.uuid4()),
            "X-ClickHouse-Format": format_name,
            "X-ClickHouse-Timezone": self.engine.timezone,
        }
        if coder:
            headers["Content-Encoding"] = coder[0]
        if counts:
            summary = {
                "read_rows": counts.read,
                "read_bytes": counts.bytes_read,
                "written_rows": counts.written,
                "written_bytes": counts.bytes_written,
                "total_rows_to_read": counts.read,
                "result_rows": counts.result or counts.written,
                "result_bytes": counts.bytes_written,
                "elapsed_ns": int((time.monotonic() - began) * 1e9),
            }
            headers["X-ClickHouse-Summary"] = json.dumps({name: str(value) for name, value in summary.items()})
        return headers

    def failure(self, error: EngineError) -> Response:
        """An exception of ClickHouse as it answers over HTTP."""
        headers = {"X-ClickHouse-Exception-Code": str(error.code), "Content-Type": "text/plain; charset=UTF-8"}
        return Response(f"{self.full_text(error)}\n", status_code=STATUS.get(error.code, 500), headers=headers)

    def full_text(self, error: EngineError) -> str:
        """The exception's text with the version at its end, once."""
        return error.text if "(version " in error.text else f"{error.text} (version {self.engine.version})"

    async def body(self, incoming: Request) -> AsyncIterator[bytes]:
        """The request's body, decompressed, piece by piece."""
        coder = coding.decoder(incoming.headers.get("content-encoding", ""))
        async for piece in incoming.stream():
            if out := coder.feed(piece) if piece else b"":
                yield out
        if rest := coder.end():
            yield rest

    async def thread(self, function: Any, *arguments: Any) -> Any:
        """Run in a thread, so that other requests go on."""
        return await to_thread.run_sync(partial(function, *arguments), limiter=self.limiter)


async def nothing() -> AsyncIterator[bytes]:
    """No body."""
    return
    yield b""


async def whole(pieces: AsyncIterator[bytes], head: bytes) -> bytes:
    """All of a body; raises EngineError when it is larger than a statement may be."""
    out = bytearray(head)
    async for piece in pieces:
        out += piece
        if len(out) > STATEMENT_LIMIT:
            raise EngineError.of(307, "TOO_MANY_BYTES", f"The statement is larger than {STATEMENT_LIMIT} bytes")
    return bytes(out)
