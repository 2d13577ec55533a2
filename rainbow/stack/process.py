"""Processes of the stack: started apart from the terminal, found again by id and start time, stopped with all they started.

A process id alone proves nothing, since the system gives it to another program later; the start time is kept beside it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from rainbow.errors import RainbowError
from rainbow.stack.place import OWN_HOME, Place, write_private

# how far two readings of one start time may lie apart when the system's clock is set in between
CLOCK_STEP = 2.0


@dataclass(frozen=True)
class Launch:
    """How to start a service: the command, its environment beyond ours, its user (None: ours) and its working folder."""

    command: Sequence[str]
    environment: dict[str, str]
    user: int | None = None
    group: int | None = None
    folder: Path | None = None


def start(launch: Launch, place: Place) -> psutil.Process:
    """Start a service in a session of its own, its output appended to the log, and note its id and start time."""
    place.turn_log()
    identity: dict[str, Any] = {} if launch.user is None else {"user": launch.user, "group": launch.group, "extra_groups": []}
    descriptor = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            cwd=launch.folder or place.folder,
            env={**os.environ, **launch.environment},
            start_new_session=True,
            **identity,
        )
    finally:
        os.close(descriptor)
    child.returncode = 0  # it outlives us; `alive` collects it if it ends before we do
    process = psutil.Process(child.pid)
    write_private(place.process_file, json.dumps({"pid": child.pid, "started": process.create_time()}))
    return process


def running(place: Place) -> psutil.Process | None:
    """The service's process, if the one that was started last still runs."""
    try:
        note = json.loads(place.process_file.read_text())
        process = psutil.Process(note["pid"])
        return process if abs(process.create_time() - note["started"]) < CLOCK_STEP and alive(process) else None
    except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    except PermissionError as error:
        raise RainbowError(f"{error.filename} belongs to another user; {OWN_HOME}") from None


def alive(process: psutil.Process) -> bool:
    """Whether the process runs; one that has ended but was not collected (a zombie) does not."""
    try:
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.is_running()
    except psutil.NoSuchProcess:
        return False
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return False


def stop(process: psutil.Process, stop_signal: signal.Signals, grace: float) -> None:
    """Ask the process to end, and after ``grace`` seconds kill it and all that it started."""
    family = [process]
    with suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    with suppress(psutil.NoSuchProcess):
        process.send_signal(stop_signal)
    end(family, grace)


def end(processes: Sequence[psutil.Process], grace: float) -> None:
    """Wait ``grace`` seconds for processes to end, and kill those that have not."""
    for left in wait_until_ended(processes, grace):
        with suppress(psutil.NoSuchProcess):
            left.kill()
    wait_until_ended(processes, 10)


def wait_until_ended(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for the processes to end; returns those that still run after ``seconds``."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while (left := [process for process in left if alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def left_behind(place: Place, mark: str) -> list[psutil.Process]:
    """What still runs of a service whose process is not known: it works in the service's folder and has ``mark`` in its command."""
    folders = {place.folder, place.data}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()) in folders and mark in " ".join(process.cmdline()) and alive(process):
                found.append(process)
    return found
