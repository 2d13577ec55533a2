"""What the stack needs to know of a service; each service's module makes one `Service`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from rainbow.stack.place import Place
from rainbow.stack.ports import HOST
from rainbow.stack.process import Launch


@dataclass(frozen=True)
class Service:
    """A local service.

    ``prepare`` makes the data folder ready, also after a kill, and is told whether the password is new; ``launch`` says how to start it on a port; ``check`` takes the
    URL of any such service, local or not, and raises when it does not answer as it should; ``clean`` removes what only a
    running service needs. ``mark`` is a word in the command of each of its processes.
    """

    name: str
    title: str
    scheme: str
    user: str
    path: str
    prepare: Callable[[Place, bool], None]
    launch: Callable[[Place, int], Launch]
    check: Callable[[str], None]
    mark: str
    clean: Callable[[Place], None] = lambda place: None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 15

    def url(self, port: int, password: str) -> str:
        """The local service's URL, password included."""
        return f"{self.scheme}://{self.user}:{quote(password, safe='')}@{HOST}:{port}{self.path}"


def masked(url: str) -> str:
    """The URL as people and logs may see it: the password is three stars."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))
