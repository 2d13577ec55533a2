"""Reading the services' logs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from rainbow.errors import RainbowError
from rainbow.settings import read_settings
from rainbow.stack.control import SERVICES
from rainbow.stack.place import Place, place_of


def last(services: Sequence[str] | None, count: int) -> Iterator[tuple[str, str]]:
    """The last ``count`` lines of each service's log, as (service, line)."""
    for name, place in places(services).items():
        for line in place.last_lines(count):
            yield name, line


def follow(services: Sequence[str] | None, *, pause: float = 0.2) -> Iterator[tuple[str, str]]:
    """The lines that are written from now on, as (service, line), without end; a log that starts anew is read from its start."""
    watched = places(services)
    files: dict[str, BinaryIO] = {}
    for name, place in watched.items():
        if place.log.exists():
            files[name] = place.log.open("rb")
            files[name].seek(0, 2)
    try:
        while True:
            for name, place in watched.items():
                if name in files and _is_another(files[name], place.log):
                    files.pop(name).close()
                if name not in files and place.log.exists():
                    files[name] = place.log.open("rb")
                for line in files[name].readlines() if name in files else ():
                    yield name, line.decode(errors="replace").rstrip("\n")
            time.sleep(pause)
    finally:
        for file in files.values():
            file.close()


def _is_another(file: BinaryIO, path: Path) -> bool:
    """Whether the path now names another file than the one that is open."""
    return not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino


def places(services: Sequence[str] | None) -> dict[str, Place]:
    """Where each of these services (default all) writes its log; the brokers of several have a name each, ``kafka-1``."""
    unknown = set(services or ()) - set(SERVICES)
    if unknown:
        raise RainbowError(f"no local service is called {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}")
    home = read_settings(with_stack=False).home
    found: dict[str, Place] = {}
    for name, service in SERVICES.items():
        if not services or name in services:
            members = service.members(place_of(home, name))
            found |= {name if len(members) == 1 else f"{name}-{number}": member for number, member in enumerate(members, start=1)}
    return found
