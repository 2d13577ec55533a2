"""Ports on the loopback: is one free, and which one to take."""

from __future__ import annotations

import random
import socket
import time

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


def choose(service: str, wanted: int, remembered: int | None, *, patience: float = 0) -> int:
    """The port to use: the wanted one, else (0) the remembered one if it is free, else any free one.

    A port is waited for ``patience`` seconds: a process that was killed holds its port for a moment longer than it seems to
    live. Raises ServiceError when the wanted port is taken or may not be opened.
    """
    deadline = time.monotonic() + patience
    while (wanted or remembered) and not is_free(wanted or remembered or 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    if wanted:
        if not is_free(wanted):
            raise ServiceError(f"{service}: port {wanted} is taken; set RAINBOW_{service.upper()}_PORT to a free port, or to 0 for any")
        return wanted
    if remembered and is_free(remembered):
        return remembered
    for port in random.sample(CHOICE, 200):
        if is_free(port):
            return port
    raise ServiceError(f"{service}: no free port found between {CHOICE.start} and {CHOICE.stop}; set RAINBOW_{service.upper()}_PORT to one")
