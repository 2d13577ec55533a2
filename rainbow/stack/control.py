"""Starting, stopping and looking at the local services.

Only services that no setting names are ours to start; the others are used as they are. One ``up`` or ``down`` works on a
RAINBOW_HOME at a time, so two at once are harmless.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import psutil

from rainbow.errors import RainbowError, ServiceError
from rainbow.settings import ENDPOINTS, Settings, endpoint_setting, read_settings, settings
from rainbow.stack import bigquery, clickhouse, kafka, ports, postgres, streaming
from rainbow.stack.place import Place, locked, place_of, write_private
from rainbow.stack.process import alive, end, left_behind, running, start, stop
from rainbow.stack.service import Service, masked

SERVICES: dict[str, Service] = {
    service.name: service
    for service in (postgres.SERVICE, bigquery.SERVICE, clickhouse.SERVICE, kafka.SERVICE, streaming.CAPTURE, streaming.MIRROR)
}
# what `up` starts unasked, and what the speed layer needs besides
BATCH = tuple(name for name, service in SERVICES.items() if service.always)
STREAM = tuple(name for name, service in SERVICES.items() if not service.always)

HEALTH_DEADLINE = 60.0

# services that start at the same time find each other's URLs in one file
WRITING = threading.Lock()


@dataclass(frozen=True)
class Local:
    """A service that is ours to run, in its place."""

    service: Service
    place: Place
    wanted_port: int

    @property
    def members(self) -> Sequence[Place]:
        """The places of its processes."""
        return self.service.members(self.place)

    @property
    def wanted_ports(self) -> list[int]:
        """The ports that are asked for, 0 for any: of several members they follow on each other; nobody asks for an inner one."""
        if self.service.url is None:
            return []
        count = len(self.members)
        outer = [self.wanted_port + index if self.wanted_port else 0 for index in range(count)]
        return outer + [0] * self.service.inner_ports * count

    @property
    def ports(self) -> list[int]:
        """The ports of its last start, none if there was none."""
        ports = self.place.remembered_ports()
        return ports if len(ports) == len(self.wanted_ports) else []

    @property
    def url(self) -> str | None:
        """The URL it was given at its last start, if there was one."""
        if not self.ports or (self.service.has_password and not self.place.password_file.exists()):
            return None
        return self.url_at(self.ports)

    def url_at(self, ports: Sequence[int]) -> str:
        """The URL at these ports; empty for a service that nobody connects to."""
        return self.service.url(ports, self.place.password() if self.service.has_password else "") if self.service.url else ""

    @property
    def on_wanted_ports(self) -> bool:
        """Whether the ports of its last start are still those that are asked for."""
        return all(wanted in (0, port) for wanted, port in zip(self.wanted_ports, self.ports, strict=bool(self.ports)))

    @property
    def dead(self) -> list[int]:
        """Which of its members do not run."""
        return [index for index, member in enumerate(self.members) if running(member) is None]

    @property
    def was_started(self) -> bool:
        """Whether it was started and not stopped since; it may have been killed."""
        return any(member.process_file.exists() for member in self.members)

    @property
    def state(self) -> str:
        """``up``, ``down`` (no process) or ``unhealthy`` (a process is missing, or it does not answer as it should)."""
        if len(self.dead) == len(self.members) or (self.service.url and self.url is None):
            return "down"
        return "up" if not self.dead and fault(self.service, self.url or "") is None else "unhealthy"


@dataclass(frozen=True)
class Progress:
    """What ``up`` and ``down`` tell while they work: a service, what became of it, its URL without the password (or a text), and the seconds."""

    service: str
    event: str
    url: str = ""
    seconds: float | None = None


Report = Callable[[Progress], None]


def up(services: Sequence[str] | None = None, on_progress: Report | None = None) -> dict[str, dict[str, Any]]:
    """Start the services that run nowhere yet, at the same time, and return `status`.

    ``services`` are names, default `BATCH` and those of `STREAM` that were started and not stopped since; one that a setting
    names is used, not started; one that is up is left alone. Raises ServiceError when a port is taken or a service does not
    become healthy; the others are up then.
    """
    named = read_settings(with_stack=False)
    report = on_progress or _silently
    names = services or [local.service.name for local in _locals(named, None, ours_only=False) if local.service.always or local.was_started]
    for local in _locals(named, names, ours_only=False):
        if (where := elsewhere(named, local.service)) is not None:
            report(Progress(local.service.name, "not ours", masked(where)))
        else:
            local.service.provide(_telling(report, local.service.name))
    with locked(named.home):
        faults = _start_all(_locals(named, names), named, report)
    settings.cache_clear()
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
        return {local.service.name: entry for local, entry in zip(every, pool.map(look, every), strict=True)}


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
    return named.endpoint(service) if service in ENDPOINTS else None


def elsewhere(named: Settings, service: Service) -> str | None:
    """Where a service runs that is not ours to start: at the URL that the settings name, or wherever all that it uses is."""
    if service.uses and all(named_url(named, used) for used in service.uses):
        return ""
    return named_url(named, service.name)


def _start_all(locals_: Sequence[Local], named: Settings, report: Report) -> list[BaseException]:
    """Start what is not up, at the same time; a service that uses others is looked at once they are up. Returns what went wrong."""
    to_start: list[tuple[Local, list[int]]] = []
    for local in locals_:
        if local.service.uses:
            continue
        if local.state == "up" and local.on_wanted_ports:
            report(Progress(local.service.name, "is up", masked(local.url or "")))
        else:
            to_start.append((local, _make_way(local, [port for _, ports in to_start for port in ports])))
    try:
        with ThreadPoolExecutor(max_workers=len(SERVICES)) as pool:
            starts = {local.service.name: pool.submit(_start, local, ports, report) for local, ports in to_start}
            using = [local for local in locals_ if local.service.uses]
            ends = [*starts.values(), *(pool.submit(_start_after, local, starts, named, report) for local in using)]
    finally:
        _write_urls(named)
    return [error for error in (end.exception() for end in ends) if error]


def _make_way(local: Local, avoid: Sequence[int]) -> list[int]:
    """Stop what is left of a service that is to be started, and choose its ports; members that run are left alone if they can be."""
    dead, was_started = local.dead, local.was_started
    patience = 5 if was_started else 0
    if 0 < len(dead) < len(local.members) and local.ports and local.on_wanted_ports:
        for index in dead:
            _stop_member(local.service, local.members[index])
        if all(ports.is_free_soon(port, patience) for index in dead for port in _ports_of(local, local.ports, index)):
            return local.ports
    _stop(local)
    return _choose_ports(local, avoid, patience)


def _choose_ports(local: Local, avoid: Sequence[int] = (), patience: float = 0) -> list[int]:
    """The ports to start a service at: the wanted ones, else those of its last start, else any; none of those to ``avoid``."""
    chosen: list[int] = []
    for wanted, remembered in zip(local.wanted_ports, local.ports or repeat(None), strict=False):
        chosen.append(ports.choose(local.service.name, wanted, remembered, avoid=[*avoid, *chosen], patience=patience))
    return chosen


def _ports_of(local: Local, chosen: Sequence[int], index: int) -> Sequence[int]:
    """The ports of one member, of all that were chosen."""
    return chosen[index :: len(local.members)]


def _start(local: Local, chosen: Sequence[int], report: Report) -> None:
    """Start a service's members that do not run, and wait until it is healthy; a port that is lost to another meanwhile is changed."""
    service, place = local.service, local.place
    began = time.monotonic()
    place.make()
    service.prepare(place, service.has_password and place.make_password())
    for _ in range(3):
        place.remember_ports(chosen)
        url = local.url_at(chosen)
        processes = [running(member) or start(service.launch(member, chosen), member) for member in local.members]
        wrong = _wait_until_healthy(service, processes, url)
        if wrong is None:
            report(Progress(service.name, "started", masked(url), time.monotonic() - began))
            return
        ended = [index for index, process in enumerate(processes) if not alive(process)]
        lost_port = not all(ports.is_free(port) for index in ended for port in _ports_of(local, chosen, index))
        _stop(local)
        if not lost_port:
            break
        chosen = _choose_ports(local)
    log = "\n  ".join(local.members[ended[0] if ended else 0].last_lines(8))
    raise ServiceError(f"{service.name} {wrong}; see `rainbow logs {service.name}`, which ends:\n  {log}")


def _start_after(local: Local, starts: Mapping[str, Future[None]], named: Settings, report: Report) -> None:
    """Start a service when those that it uses are up; one that runs is left alone unless it was started with other URLs of theirs."""
    failed = [name for name in local.service.uses if name in starts and starts[name].exception()]
    if failed:
        raise ServiceError(f"{local.service.name} was not started, {' and '.join(failed)} did not come up")
    _write_urls(named)
    now = read_settings()
    used = hashlib.sha256(repr([now.endpoint(name) for name in local.service.uses]).encode()).hexdigest()
    if local.state == "up" and local.place.remembered_uses() == used:
        report(Progress(local.service.name, "is up"))
        return
    _stop(local)
    local.place.make()
    local.place.remember_uses(used)
    _start(local, [], report)


def _stop(local: Local) -> bool:
    """Stop a service, all members at the same time, and clear up behind it; returns whether it ran."""
    with ThreadPoolExecutor(max_workers=len(local.members)) as pool:
        ran = list(pool.map(lambda member: _stop_member(local.service, member), local.members))
    local.service.clean(local.place)
    return any(ran)


def _stop_member(service: Service, member: Place) -> bool:
    """Stop a process and what it left behind; returns whether it ran."""
    process = running(member)
    if process:
        stop(process, service.stop_signal, service.grace)
    # a killed server's children end by themselves, most of the time
    end(left_behind(member, service.mark), 5)
    member.process_file.unlink(missing_ok=True)
    return process is not None


def _wait_until_healthy(service: Service, processes: Sequence[psutil.Process], url: str) -> str | None:
    """Wait for the health check to pass; returns what is wrong when it does not."""
    deadline = time.monotonic() + HEALTH_DEADLINE
    settled = time.monotonic() + service.settling
    while all(map(alive, processes)):
        wrong = fault(service, url)
        if wrong is None and time.monotonic() >= settled:
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
        Local(service, place_of(named.home, name), getattr(named, f"{name}_port") if service.url else 0)
        for name, service in SERVICES.items()
        if (names is None or name in names) and not (ours_only and elsewhere(named, service) is not None)
    ]


def _write_urls(named: Settings) -> None:
    """Write the URLs of the running services to ``stack.env``; without any the file is removed."""
    with WRITING:
        _write_urls_now(named)


def _write_urls_now(named: Settings) -> None:
    urls = {local.service.name: local.url for local in _locals(named, None) if len(local.dead) < len(local.members)}
    lines = [f"{endpoint_setting(name)}={url}\n" for name, url in urls.items() if url]
    if lines:
        write_private(named.stack_env, "".join(lines))
    else:
        named.stack_env.unlink(missing_ok=True)


def _telling(report: Report, service: str) -> Callable[[str], None]:
    """What a service tells its progress to while it gets what it needs."""
    return lambda text: report(Progress(service, "fetches", text))


def _silently(progress: Progress) -> None:
    """Tell nobody."""
