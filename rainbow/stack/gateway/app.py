"""The HTTP interface: who may ask, what is asked, and sending the answer."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from anyio import CancelScope, CapacityLimiter, create_task_group, from_thread, to_thread
from starlette.requests import ClientDisconnect, Request

from rainbow.stack.gateway import answer, coding, request
from rainbow.stack.gateway.answer import Answer
from rainbow.stack.gateway.engine import Engine
from rainbow.stack.gateway.errors import EngineError
from rainbow.stack.gateway.statement import PIECE, STATEMENT_LIMIT, execute

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

# statements at work at the same time; more wait
AT_ONCE = 32

log = logging.getLogger("rainbow.clickhouse")


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
        try:
            reply = await self.reply(Request(scope, receive))
        except ClientDisconnect:
            return
        await self.send(reply, receive, send)

    async def reply(self, incoming: Request) -> Answer:
        """The answer to a request, an exception of ClickHouse included; raises ClientDisconnect."""
        path = incoming.url.path
        parameters = dict(incoming.query_params)
        if path == "/ping" or (path == "/" and incoming.method in ("GET", "HEAD") and "query" not in parameters):
            return answer.plain("Ok.\n")
        if path not in ("/", "/query") or incoming.method not in ("GET", "HEAD", "POST", "PUT"):
            return answer.plain(f"There is no handle {path}\n", 404)
        if refusal := self.refusal(incoming, parameters):
            return refusal
        pieces = incoming.stream()

        async def pull() -> bytes:
            """The next megabyte or so of the body; empty at its end."""
            out = bytearray()
            async for piece in pieces:
                out += piece
                if len(out) >= PIECE:
                    break
            return bytes(out)

        first = await pull()

        def body() -> Iterator[bytes]:
            piece = first
            while piece:
                yield piece
                piece = from_thread.run(pull)

        def work() -> Answer:
            try:
                return self.execute(incoming, parameters, body())
            except EngineError as error:
                return answer.failure(error, self.engine)
            except coding.CodingError as error:
                return answer.failure(EngineError.of(354, "INFLATE_FAILED", str(error)), self.engine)
            except UnicodeDecodeError:
                return answer.failure(EngineError.of(62, "SYNTAX_ERROR", "The statement is not UTF-8"), self.engine)
            except ClientDisconnect:
                raise
            except Exception:
                log.exception("a request failed in the gateway itself")
                return answer.failure(EngineError.of(1002, "UNKNOWN_EXCEPTION", "See the server's log"), self.engine)

        return await to_thread.run_sync(work, limiter=self.limiter)

    def execute(self, incoming: Request, parameters: dict[str, str], body: Iterator[bytes]) -> Answer:
        """Read the request and run its statement."""
        body = coding.decoded(body, incoming.headers.get("content-encoding", ""))
        files: dict[str, bytes] = {}
        content_type = incoming.headers.get("content-type", "")
        if content_type.lower().startswith("multipart/form-data"):
            fields, files = request.form(content_type, body, STATEMENT_LIMIT)
            parameters = parameters | fields
            body = iter(())
        query = request.read(incoming.method, incoming.headers, parameters, files)
        return execute(self.engine, query, body, incoming.headers.get("accept-encoding", ""))

    def refusal(self, incoming: Request, parameters: dict[str, str]) -> Answer | None:
        """The answer to a request that does not bring the user and the password, else None."""
        given = request.credentials(incoming.headers, parameters)
        user, password = given or ("default", "")
        if hmac.compare_digest(user.encode(), self.user) & hmac.compare_digest(password.encode(), self.password):
            return None
        message = f"{user}: Authentication failed: password is incorrect, or there is no user with such name"
        refused = answer.failure(EngineError.of(516, "AUTHENTICATION_FAILED", message), self.engine)
        if given is not None:
            return refused
        return Answer(401, refused.headers | {"WWW-Authenticate": 'Basic realm="ClickHouse server HTTP API"'}, refused.blocks)

    async def send(self, reply: Answer, receive: Receive, send: Send) -> None:
        """Send an answer; a client that goes away ends the query that was still answering it."""
        headers = {name.lower().encode(): value.encode("latin-1", "replace") for name, value in reply.headers.items()}
        if not reply.streams:
            content = b"".join(reply.blocks)
            headers[b"content-length"] = str(len(content)).encode()
            await send({"type": "http.response.start", "status": reply.status, "headers": list(headers.items())})
            await send({"type": "http.response.body", "body": content})
            return
        blocks = iter(reply.blocks)
        try:
            async with create_task_group() as tasks:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                await send({"type": "http.response.start", "status": reply.status, "headers": list(headers.items())})
                while (block := await to_thread.run_sync(next, blocks, None, limiter=self.limiter)) is not None:
                    await send({"type": "http.response.body", "body": block, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                tasks.cancel_scope.cancel()
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(reply.close)
