"""A network that can fail: a relay between a client and a server on the loopback, which stops, cuts or forgets its connections."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

HOST = "127.0.0.1"
_AT_ONCE = 1 << 16
# a close that is a reset
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Passes bytes on to a port of this machine. ``port`` is its own.

    A broker's answers name the broker's own port, where its clients would go from then on; with ``of_broker`` they are told the relay's.
    """

    def __init__(self, to: int, *, of_broker: bool = False) -> None:
        self._to, self._of_broker = to, of_broker
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._passing = threading.Event()
        self._passing.set()
        self._refusing = False
        # bytes that passed
        self.passed = 0
        self._links: list[_Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Pass nothing on, and close nothing."""
        self._passing.clear()

    def cut(self) -> None:
        """Reset all connections, and each new one."""
        self._refusing = True
        for link in self._links:
            link.close()

    def go_on(self) -> None:
        """Let bytes and connections pass again."""
        self._refusing = False
        self._passing.set()

    def forget(self) -> None:
        """Never pass anything on again over the connections that there are, nor tell either end; new ones work."""
        for link in self._links:
            link.forgotten = True

    def close(self) -> None:
        """End all."""
        self.cut()
        self._passing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket()
                link = _Link(client, server)
                self._links = [*(one for one in self._links if not one.closed), link]
                threading.Thread(target=self._connect, args=(link,), daemon=True).start()

    def _connect(self, link: _Link) -> None:
        self._passing.wait()
        try:
            if self._refusing:
                raise ConnectionRefusedError
            link.server.connect((HOST, self._to))
        except OSError:
            link.close()
            return
        threading.Thread(target=self._pump, args=(link, _chunks(link.client), link.server), daemon=True).start()
        self._pump(link, self._answers(link.server) if self._of_broker else _chunks(link.server), link.client)

    def _answers(self, server: socket.socket) -> Iterator[bytes]:
        """A broker's answers, each after its length, with another port of the same length."""
        theirs, ours = (HOST.encode() + struct.pack(">i", port) for port in (self._to, self.port))
        with server.makefile("rb") as stream:
            while size := stream.read(4):
                yield size + stream.read(*struct.unpack(">i", size)).replace(theirs, ours)

    def _pump(self, link: _Link, data: Iterator[bytes], target: socket.socket) -> None:
        with suppress(OSError, struct.error):
            for part in data:
                self._passing.wait()
                if link.forgotten:
                    return
                target.sendall(part)
                self.passed += len(part)
        self._passing.wait()
        if not link.forgotten:
            link.close()


class _Link:
    """A client's connection and the server's."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.forgotten = self.closed = False

    def close(self) -> None:
        self.closed = True
        for end in (self.client, self.server):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _chunks(source: Any) -> Iterator[bytes]:
    while data := source.recv(_AT_ONCE):
        yield data
