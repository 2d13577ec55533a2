"""What the stack needs to know of a service; each service's module makes one `Service`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from rainbow.stack.place import Place
from rainbow.stack.ports import HOST
from rainbow.stack.process import Launch


@dataclass(frozen=True)
class Service:
    """A local service: one process, or several that belong together (``members``), each in a place of its own.

    ``provide`` fetches what the service needs from elsewhere, once, and is given where to tell its progress; ``prepare``
    makes the data folders ready, also after a kill, and is told whether the password is new; ``launch`` says how to start a
    member; ``check`` takes the URL of any such service, local or not, and raises when it does not answer as it should;
    ``clean`` removes what only a running service needs. ``mark`` is a word in the command of each of its processes.

    The ports are those of the URL, one a member, then ``inner_ports`` more a member, which only the members know. ``url``
    makes the URL of all ports and the password; a service that nobody connects to has neither. A service that is not
    ``always`` started is one that `up` must be asked for. ``uses`` names the services that have to be up before it, and
    whose URLs it reads when it starts; a member is taken for started when it has lived for ``settling`` seconds.
    """

    name: str
    title: str
    url: Callable[[Sequence[int], str], str] | None
    prepare: Callable[[Place, bool], None]
    launch: Callable[[Place, Sequence[int]], Launch]
    check: Callable[[str], None]
    mark: str
    provide: Callable[[Callable[[str], None]], None] = lambda tell: None
    members: Callable[[Place], Sequence[Place]] = lambda place: (place,)
    inner_ports: int = 0
    has_password: bool = True
    always: bool = True
    uses: tuple[str, ...] = ()
    settling: float = 0
    clean: Callable[[Place], None] = lambda place: None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 15


def url_with_password(scheme: str, user: str, path: str = "") -> Callable[[Sequence[int], str], str]:
    """What makes the URL, password included, of a service of one process."""
    return lambda ports, password: f"{scheme}://{user}:{quote(password, safe='')}@{HOST}:{ports[0]}{path}"


def masked(url: str) -> str:
    """The URL as people and logs may see it: the password is three stars."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))
