"""What surrounds every call: its id, its line in the log, its count in the metrics, the token, and the last net for errors.

Plain ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html), since it is on the path of every order.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import random
import re
import time

import psycopg
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.controllers import of_database
from api.dashboard import PAGE
from api.metrics import Metrics
from api.problems import ProblemError

REQUEST_ID = b"x-request-id"
OPEN_TO_ALL = ("/ping",)
TO_BROWSERS = PAGE

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Surrounding:
    """Around the application: no call leaves without an id, a log line and a count, and none with a stack trace."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics
        self.log = structlog.get_logger("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID, request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            self.log.exception("failed", request_id=request_id, error=type(error).__name__)
            if not status:
                problem = of_database(error) if isinstance(error, psycopg.Error) else _INTERNAL
                await problem.response(request_id)(scope, receive, sending)
        finally:
            self._note(scope, request_id, status or 499, time.perf_counter() - began)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = scope.get("route")
        template = getattr(route, "path", None) or "unmatched"
        self.metrics.count(scope["method"] if template != "unmatched" else "any", template, status, seconds)
        client = scope.get("client")
        self.log.info(
            "call",
            request_id=request_id,
            method=scope["method"][:16],
            path=scope["path"][:200],
            status=status,
            ms=round(seconds * 1000, 2),
            client=client[0] if client else None,
        )


class Token:
    """Lets nobody in without ``Authorization: Bearer`` and the token (RFC 6750), but for ``/ping``; compared in constant time.

    A browser is asked for it as a password (RFC 7617) by the pages of ``TO_BROWSERS``, with any user's name.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or answer 401."""
        to_browser = scope["type"] == "http" and scope["path"].startswith(TO_BROWSERS)
        if scope["type"] != "http" or scope["path"] in OPEN_TO_ALL or hmac.compare_digest(_token(scope, to_browser), self.token):
            await self.app(scope, receive, send)
            return
        asked = 'Basic realm="Rainbow: the token is the password", charset="UTF-8"' if to_browser else "Bearer"
        problem = ProblemError(
            401, "unauthorized", "send the service's token as Authorization: Bearer", headers={"WWW-Authenticate": asked}
        )
        await problem.response(scope["state"]["request_id"])(scope, receive, send)


_INTERNAL = ProblemError(500, "internal", "something went wrong here; the request id finds it in the service's log")


def _id_of(scope: Scope) -> str:
    """The id that the caller gave, if it is one, else a new one."""
    given = _header(scope, REQUEST_ID)
    return given.decode() if _ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _token(scope: Scope, from_browser: bool) -> bytes:
    """The token that a call brings; empty when it brings none."""
    scheme, _, given = _header(scope, b"authorization").partition(b" ")
    if scheme == b"Bearer":
        return given
    if from_browser and scheme.lower() == b"basic":
        try:
            return base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
