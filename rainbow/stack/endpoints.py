"""Asking an endpoint whether it is there."""

from __future__ import annotations

import base64
import socket
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener

from rainbow.errors import ServiceError

# a proxy of the environment is for the world outside, not for services that the settings name
_opener = build_opener(ProxyHandler({}))


def reach(url: str, port: int) -> None:
    """Connect to the host of a URL, at ``port`` if the URL has none; raises ServiceError when nothing answers there."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or port
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        raise ServiceError(f"nothing answers at {host}:{port} ({error.strerror or error})") from None


def get(url: str, path: str, *, seconds: float = 5) -> bytes:
    """Fetch a path of the service at ``url``, signing in with the user and password in the URL.

    Raises OSError when nothing answers in time, ServiceError when the answer is an error; the text never holds the password.
    """
    parts = urlsplit(url)
    request = Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path="", query="", fragment="")) + path)
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")
    try:
        with _opener.open(request, timeout=seconds) as answer:
            return answer.read()
    except HTTPError as error:
        lines = error.read(2000).decode(errors="replace").strip().splitlines()
        raise ServiceError(f"HTTP {error.code}: {lines[0] if lines else error.reason}") from None
