"""Ports on the loopback: is one free, and which one to take."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Collection

from rainbow.errors import ServiceError

HOST = "127.0.0.1"
# below the range from which systems take ports for outgoing connections, so that a remembered port is still free tomorrow
CHOICE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def is_free_soon(port: int, patience: float) -> bool:
    """Whether the port is free within ``patience`` seconds: a process that was killed holds its port a moment longer than it seems to live."""
    deadline = time.monotonic() + patience
    while not is_free(port):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def choose(service: str, wanted: int, remembered: int | None, *, avoid: Collection[int] = (), patience: float = 0) -> int:
    """The port to use: the wanted one, else (0) the remembered one if it is free, else any free one that is not to be avoided.

    The first two are waited for ``patience`` seconds. Raises ServiceError when the wanted port is taken or may not be opened.
    """
    if wanted:
        if not is_free_soon(wanted, patience):
            raise ServiceError(f"{service}: port {wanted} is taken; set RAINBOW_{service.upper()}_PORT to a free port, or to 0 for any")
        return wanted
    if remembered and remembered not in avoid and is_free_soon(remembered, patience):
        return remembered
    for port in random.sample(CHOICE, 200):
        if port not in avoid and is_free(port):
            return port
    raise ServiceError(f"{service}: no free port found between {CHOICE.start} and {CHOICE.stop}; set RAINBOW_{service.upper()}_PORT to one")
