"""Serving an ASGI application that is given by its name, with uvicorn: one process, or several that share a port.

The application is looked up by name in each process, so nothing of it is imported here.
"""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import signal
import socket
import sys
import tempfile

import uvicorn
from uvicorn.supervisors import Multiprocess

from rainbow import interrupts, terminal
from rainbow.errors import ServiceError

# how long calls under way may take to end when the server is told to stop
GRACE = 15

_BACKLOG = 2048


def serve(factory: str, *, host: str, port: int, workers: int) -> None:
    """Serve what the function ``factory`` (``module:name``) makes, until SIGTERM or Ctrl-C; calls under way are answered first.

    Raises ServiceError when the address cannot be listened on.
    """
    config = uvicorn.Config(
        factory,
        factory=True,
        workers=workers,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        backlog=_BACKLOG,
    )
    signal.signal(signal.SIGTERM, _stopped)
    with listening(host, port) as listener, tempfile.TemporaryDirectory(prefix="rainbow-metrics-") as folder:
        address, number = listener.getsockname()[:2]
        at = f"[{address}]" if ":" in address else address
        console = terminal.console(stderr=True)
        console.print(f"http://{at}:{number}/docs, {workers} {'process' if workers == 1 else 'processes'}")
        if workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            Multiprocess(config, sockets=[listener]).run()


def _stopped(*_: object) -> None:
    """uvicorn ends by the signal that ended it; to be asked to stop is no failure."""
    interrupts.ended()
    sys.exit(0)


async def end_with_parent() -> None:
    """In one of several processes: stop as soon as the one that started them is gone, since it holds the port otherwise."""
    parent = multiprocessing.parent_process()
    while parent is not None:
        await asyncio.sleep(0.5)
        if not parent.is_alive():
            signal.raise_signal(signal.SIGTERM)
            return


def listening(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 is any free one.

    Raises ServiceError, in one line, when the port is taken or the address is not this machine's.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServiceError(f"port {port} is taken: choose another one with --port, or set RAINBOW_API_PORT") from None
        raise ServiceError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
    listener.set_inheritable(True)
    return listener
