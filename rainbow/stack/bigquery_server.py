"""The process of the BigQuery stand-in: bqemulator over a DuckDB file, behind a password.

What is changed in bqemulator itself stands in `bigquery_mends`; `Guard` asks for the password. The gRPC interface knows no
password and is therefore not opened; large results leave by EXPORT DATA.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import hmac
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from rainbow.stack import bigquery_mends
from rainbow.stack.ports import HOST

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATHS = ("/healthz",)
REFUSAL = b'{"error": {"code": 401, "message": "wrong or missing password; see RAINBOW_BIGQUERY_URL", "status": "UNAUTHENTICATED"}}'


class Guard:
    """Lets a request through that brings the password, as HTTP Basic (any user) or as a bearer token; 401 otherwise.

    Google's client sends what stands in the endpoint's URL as Basic; dbt sends a token. The chunks of a resumable upload
    carry neither: as with Google, the address that the upload's start gave is their credential, a random number of 128 bits.
    """

    def __init__(self, app: ASGIApp, password: str) -> None:
        self.app = app
        self.password = password.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or hand the request on."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_upload_chunk(scope) or self._is_let_in(scope):
            await self.app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b'Basic realm="bigquery"')]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": REFUSAL})

    def _is_let_in(self, scope: Scope) -> bool:
        scheme, _, credentials = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            return hmac.compare_digest(credentials.strip(), self.password)
        if scheme.lower() == b"basic":
            try:
                return hmac.compare_digest(base64.b64decode(credentials, validate=True).partition(b":")[2], self.password)
            except binascii.Error:
                return False
        return False

    def _is_upload_chunk(self, scope: Scope) -> bool:
        return scope["method"] == "PUT" and scope["path"].startswith("/upload/") and b"upload_id=" in scope["query_string"]


def guard(password: str) -> None:
    """Put the password before the REST interface, and leave the gRPC interface closed."""
    from bqemulator import server

    create_app = server.create_app
    vars(server)["create_app"] = lambda context: Guard(create_app(context), password)
    vars(server)["build_grpc_server"] = lambda context: (_NoGrpc(), 0)


class _NoGrpc:
    """Stands where bqemulator keeps its gRPC server."""

    async def start(self) -> None: ...

    async def stop(self, grace: float) -> None: ...


def quiet() -> None:
    """Log warnings and errors only; statements, and what they hold, are not logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    logging.basicConfig(level=logging.WARNING)


def main() -> None:
    """Serve until SIGTERM or SIGINT; DuckDB's file is closed cleanly then."""
    parser = argparse.ArgumentParser(description="The BigQuery stand-in of the local stack.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--project", required=True)
    arguments = parser.parse_args()
    os.umask(0o077)
    quiet()
    bigquery_mends.mend()
    guard(arguments.password_file.read_text().strip())
    asyncio.run(serve(arguments))


async def serve(arguments: argparse.Namespace) -> None:
    """Run the server; ends when a signal says so, or when the port cannot be opened."""
    from bqemulator.config import LogLevel, PersistenceMode, Settings
    from bqemulator.server import EmulatorServer

    uploads: Path = arguments.data / "uploads"
    options: dict[str, Any] = {
        "rest_port": arguments.port,
        "persistence_mode": PersistenceMode.PERSISTENT,
        "data_dir": arguments.data,
        "upload_staging_dir": uploads,
        "gcs_local_root": arguments.data / "gcs",
        "default_project_id": arguments.project,
        "log_level": LogLevel.WARNING,
        "metrics_enabled": False,
    }
    for leftover in uploads.glob("*"):
        leftover.unlink()
    print(f"The BigQuery stand-in listens at {HOST}:{arguments.port}", flush=True)
    await EmulatorServer(Settings(**options))._run_forever_async()


if __name__ == "__main__":
    main()
