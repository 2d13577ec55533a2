"""Starting, stopping and looking at the local services.

Only services that no setting names are ours to start; the others are used as they are. One ``up`` or ``down`` works on a
RAINBOW_HOME at a time, so two at once are harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil

from rainbow.errors import RainbowError, ServiceError
from rainbow.settings import Settings, read_settings, settings
from rainbow.stack import bigquery, clickhouse, ports, postgres
from rainbow.stack.endpoints import reach
from rainbow.stack.place import Place, locked, place_of, write_private
from rainbow.stack.process import alive, end, left_behind, running, start, stop
from rainbow.stack.service import Service, masked

SERVICES: dict[str, Service] = {service.name: service for service in (postgres.SERVICE, bigquery.SERVICE, clickhouse.SERVICE)}

HEALTH_DEADLINE = 60.0


@dataclass(frozen=True)
class Local:
    """A service that is ours to run, in its place."""

    service: Service
    place: Place
    wanted_port: int

    @property
    def url(self) -> str | None:
        """The URL it was given at its last start, if there was one."""
        port = self.place.remembered_port()
        return self.service.url(port, self.place.password()) if port and self.place.password_file.exists() else None

    @property
    def on_wanted_port(self) -> bool:
        """Whether the port of its last start is still the one that is asked for."""
        return self.wanted_port in (0, self.place.remembered_port())

    @property
    def state(self) -> str:
        """``up``, ``down`` or ``unhealthy``."""
        if running(self.place) is None or self.url is None:
            return "down"
        return "up" if fault(self.service, self.url) is None else "unhealthy"


@dataclass(frozen=True)
class Progress:
    """What ``up`` and ``down`` tell while they work: a service, what became of it, its URL without the password, and the seconds."""

    service: str
    event: str
    url: str = ""
    seconds: float | None = None


Report = Callable[[Progress], None]


def up(services: Sequence[str] | None = None, on_progress: Report | None = None) -> dict[str, dict[str, Any]]:
    """Start the services that run nowhere yet, at the same time, and return `status`.

    ``services`` are names, default all; one that a setting names is used, not started; one that is up is left alone. Raises
    ServiceError when a port is taken or a service does not become healthy; the others are up then.
    """
    named = read_settings(with_stack=False)
    report = on_progress or _silently
    for local in _locals(named, services, ours_only=False):
        if url := named_url(named, local.service.name):
            report(Progress(local.service.name, "not ours", masked(url)))
    with locked(named.home):
        to_start, killed = [], []
        for local in _locals(named, services):
            if local.state == "up" and local.on_wanted_port:
                report(Progress(local.service.name, "is up", masked(local.url or "")))
            else:
                if local.place.process_file.exists():
                    killed.append(local)
                _stop(local)
                to_start.append(local)
        chosen_ports = [
            ports.choose(local.service.name, local.wanted_port, local.place.remembered_port(), patience=5 if local in killed else 0)
            for local in to_start
        ]
        try:
            with ThreadPoolExecutor(max_workers=len(SERVICES)) as pool:
                starts = [pool.submit(_start, local, port, report) for local, port in zip(to_start, chosen_ports, strict=True)]
        finally:
            _write_urls(named)
    settings.cache_clear()
    faults = [error for error in (start.exception() for start in starts) if error]
    if len(faults) == 1 or not all(isinstance(error, RainbowError) for error in faults):
        raise faults[0]
    if faults:
        raise ServiceError("\n".join(map(str, faults)))
    return status()


def down(services: Sequence[str] | None = None, on_progress: Report | None = None) -> None:
    """Stop the services that `up` started, the last one first, and all their processes; one that is down is left alone."""
    named = read_settings(with_stack=False)
    report = on_progress or _silently
    with locked(named.home):
        for local in reversed(_locals(named, services, ours_only=False)):
            began = time.monotonic()
            if _stop(local):
                report(Progress(local.service.name, "stopped", seconds=time.monotonic() - began))
        _write_urls(named)
    settings.cache_clear()


def status() -> dict[str, dict[str, Any]]:
    """State and URL (password included, None when there is none) of each service that the settings can name.

    ``up``: answers. ``unhealthy``: its process runs and does not answer as it should. ``down``: no process, or, for a service
    that a setting names, no answer.
    """
    named = read_settings(with_stack=False)

    def look(local: Local) -> dict[str, Any]:
        if url := named_url(named, local.service.name):
            return {"state": "up" if fault(local.service, url) is None else "down", "url": url}
        state = local.state
        return {"state": state, "url": None if state == "down" else local.url}

    every = _locals(named, None, ours_only=False)
    with ThreadPoolExecutor(max_workers=len(every)) as pool:
        states = {local.service.name: entry for local, entry in zip(every, pool.map(look, every), strict=True)}
    return states | {"kafka": _kafka(named)}


def fault(service: Service, url: str) -> str | None:
    """What the service's check finds wrong at a URL, in one line, or None."""
    try:
        service.check(url)
    except Exception as error:  # whatever a check raises, the service is not healthy
        lines = str(error).strip().splitlines()
        return lines[-1] if lines else type(error).__name__
    return None


def named_url(named: Settings, service: str) -> str | None:
    """The URL that the user's own settings name for a service, if they do."""
    url = getattr(named, f"{service}_url")
    return None if url is None else url.get_secret_value()


def _kafka(named: Settings) -> dict[str, Any]:
    """Kafka's entry of `status`; the stack does not start it, the settings can name it."""
    if not named.kafka_servers:
        return {"state": "down", "url": None}
    try:
        for server in named.kafka_servers.split(","):
            reach(f"kafka://{server.strip()}", 9092)
    except ServiceError:
        return {"state": "down", "url": named.kafka_servers}
    return {"state": "up", "url": named.kafka_servers}


def _start(local: Local, port: int, report: Report) -> None:
    """Start one service and wait until it is healthy; a port that nobody asked for is changed if another takes it meanwhile."""
    service, place = local.service, local.place
    began = time.monotonic()
    place.make()
    service.prepare(place, place.make_password())
    for _ in range(3):
        place.remember_port(port)
        url = service.url(port, place.password())
        process = start(service.launch(place, port), place)
        wrong = _wait_until_healthy(service, process, url)
        if wrong is None:
            report(Progress(service.name, "started", masked(url), time.monotonic() - began))
            return
        lost_port = not alive(process) and not ports.is_free(port)
        _stop(local)
        if local.wanted_port or not lost_port:
            break
        port = ports.choose(service.name, 0, None)
    log = "\n  ".join(place.last_lines(8))
    raise ServiceError(f"{service.name} {wrong}; see `rainbow logs {service.name}`, which ends:\n  {log}")


def _stop(local: Local) -> bool:
    """Stop a service and clear up behind it; returns whether it ran."""
    process = running(local.place)
    if process:
        stop(process, local.service.stop_signal, local.service.grace)
    # a killed server's children end by themselves, most of the time
    end(left_behind(local.place, local.service.mark), 5)
    local.place.process_file.unlink(missing_ok=True)
    local.service.clean(local.place)
    return process is not None


def _wait_until_healthy(service: Service, process: psutil.Process, url: str) -> str | None:
    """Wait for the health check to pass; returns what is wrong when it does not."""
    deadline = time.monotonic() + HEALTH_DEADLINE
    while alive(process):
        wrong = fault(service, url)
        if wrong is None:
            return None
        if time.monotonic() > deadline:
            return f"was not healthy after {HEALTH_DEADLINE:.0f} s ({wrong})"
        time.sleep(0.03)
    return "ended while it was starting"


def _locals(named: Settings, names: Sequence[str] | None, *, ours_only: bool = True) -> list[Local]:
    """The services of these names (default all), in the order they start; ``ours_only`` leaves out those that a setting names.

    Raises RainbowError for a name that is none.
    """
    unknown = set(names or ()) - set(SERVICES)
    if unknown:
        raise RainbowError(f"no local service is called {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}")
    return [
        Local(service, place_of(named.home, name), getattr(named, f"{name}_port"))
        for name, service in SERVICES.items()
        if (not names or name in names) and not (ours_only and named_url(named, name))
    ]


def _write_urls(named: Settings) -> None:
    """Write the URLs of the running services to ``stack.env``; without any the file is removed."""
    urls = {local.service.name: local.url for local in _locals(named, None) if running(local.place)}
    lines = [f"RAINBOW_{name.upper()}_URL={url}\n" for name, url in urls.items() if url]
    if lines:
        write_private(named.stack_env, "".join(lines))
    else:
        named.stack_env.unlink(missing_ok=True)


def _silently(progress: Progress) -> None:
    """Tell nobody."""
