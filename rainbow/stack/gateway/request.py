"""A request as ClickHouse reads it from HTTP: who asks, the statement's beginning, and what else its parameters say.

https://clickhouse.com/docs/interfaces/http
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rainbow.stack.gateway.errors import EngineError

# parameters that are for the HTTP interface; every other one is a setting of the query
TRANSPORT = frozenset(
    [
        "query",
        "database",
        "default_format",
        "user",
        "password",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "query_id",
        "quota_key",
        "role",
        "compress",
        "decompress",
        "wait_end_of_query",
        "buffer_size",
        "stacktrace",
        "client_protocol_version",
        "enable_http_compression",
        "http_zlib_compression_level",
        "http_native_compression_disable_checksumming_on_decompress",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "http_response_buffer_size",
    ]
)


@dataclass(frozen=True)
class External:
    """A table that comes with the request and lives as long as it."""

    name: str
    structure: str
    format: str
    data: bytes


@dataclass(frozen=True)
class Query:
    """What a request asks for, its body apart."""

    beginning: bytes
    settings: dict[str, str]
    parameters: dict[str, str]
    database: str | None
    default_format: str | None
    query_id: str | None
    session_id: str | None
    session_timeout: float
    session_check: bool
    close_session: bool
    waits_for_end: bool
    compresses: bool
    externals: list[External] = field(default_factory=list)


def credentials(headers: Mapping[str, str], parameters: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password, from the ClickHouse headers, HTTP Basic or the parameters; None when the request has none."""
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    if "user" in parameters or "password" in parameters:
        return parameters.get("user", "default"), parameters.get("password", "")
    return None


def read(method: str, headers: Mapping[str, str], parameters: Mapping[str, str], files: Mapping[str, bytes] | None = None) -> Query:
    """Read a request's parameters; ``files`` are the parts of a form that are tables."""
    files = files or {}
    about = {name: _external(name, parameters, data) for name, data in files.items()}
    mine = {f"{name}_{part}" for name in files for part in ("structure", "types", "format")}
    settings = {
        name: value for name, value in parameters.items() if name not in TRANSPORT and name not in mine and not name.startswith("param_")
    }
    if method in ("GET", "HEAD") and settings.get("readonly", "0") == "0":
        settings["readonly"] = "2"
    return Query(
        beginning=parameters.get("query", "").encode(),
        settings=settings,
        parameters=_named(parameters),
        database=parameters.get("database") or headers.get("x-clickhouse-database"),
        default_format=parameters.get("default_format") or headers.get("x-clickhouse-format"),
        query_id=parameters.get("query_id"),
        session_id=parameters.get("session_id"),
        session_timeout=min(float(parameters.get("session_timeout", "60")), 3600),
        session_check=parameters.get("session_check") == "1",
        close_session=parameters.get("close_session") == "1",
        waits_for_end=parameters.get("wait_end_of_query") == "1",
        compresses=parameters.get("enable_http_compression") == "1",
        externals=list(about.values()),
    )


def form(content_type: str, body: Iterable[bytes], limit: int) -> tuple[dict[str, str], dict[str, bytes]]:
    """The fields and the files of a multipart form of at most ``limit`` bytes; raises EngineError."""
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    if boundary is None:
        raise EngineError.of(36, "BAD_ARGUMENTS", "The form has no boundary")
    content = bytearray()
    for piece in body:
        content += piece
        if len(content) > limit:
            raise EngineError.of(307, "TOO_MANY_BYTES", f"The form is larger than {limit} bytes")
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for part in (b"\r\n" + content).split(b"\r\n--" + boundary.group(1).encode())[1:-1]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        disposition = head.decode(errors="replace")
        name = re.search(r'[; ]name="([^"]*)"', disposition)
        if name is None:
            continue
        if re.search(r'[; ]filename="', disposition):
            files[name.group(1)] = value
        else:
            fields[name.group(1)] = value.decode()
    return fields, files


def _named(parameters: Mapping[str, str]) -> dict[str, str]:
    """The values of what the statement names in braces."""
    named = {name[6:]: value for name, value in parameters.items() if name.startswith("param_")}
    for name in named:
        if not re.fullmatch(r"\w+", name):
            raise EngineError.of(36, "BAD_ARGUMENTS", f"A parameter cannot be called {name}")
    return named


def _external(name: str, parameters: Mapping[str, str], data: bytes) -> External:
    structure = parameters.get(f"{name}_structure")
    if structure is None:
        structure = numbered(parameters.get(f"{name}_types", "String").split(","))
    return External(name, structure, parameters.get(f"{name}_format", "TabSeparated"), data)


def numbered(types: Sequence[str]) -> str:
    """The structure of a table whose columns have types and no names: ``_1``, ``_2`` and so on."""
    return ", ".join(f"_{number} {name}" for number, name in enumerate(types, 1))
