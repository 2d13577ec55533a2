"""Local stacks of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from rainbow import stack
from rainbow.settings import settings
from tests.stack_keeper import keep

ENVIRONMENT = threading.RLock()


@dataclass
class Home:
    """A RAINBOW_HOME, and the environment of the commands that are run for it."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAINBOW_")}
        return subprocess.run(
            [sys.executable, "-c", "from rainbow.cli import main; main()", *words],
            env={**clean, "RAINBOW_HOME": str(self.path), **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def up(self, *services: str) -> None:
        """What ``rainbow up`` does, without the cost of a command."""
        with self._here():
            stack.up(services or None)

    def down(self) -> None:
        with self._here():
            stack.down()

    def status(self) -> dict[str, dict[str, Any]]:
        with self._here():
            return stack.status()

    def states(self) -> dict[str, str]:
        return {name: entry["state"] for name, entry in self.status().items()}

    def url(self, service: str) -> str:
        return self.status()[service]["url"]

    def process(self, service: str) -> psutil.Process:
        return psutil.Process(json.loads((self.path / "stack" / service / "process").read_text())["pid"])

    def kill(self, service: str) -> None:
        """kill -9, and wait until the process is gone."""
        process = self.process(service)
        process.kill()
        process.wait(20)

    def password(self, service: str) -> str:
        return (self.path / "stack" / service / "password").read_text()

    @contextmanager
    def _here(self) -> Iterator[None]:
        """Make this the home of the process; one at a time, since there is one environment."""
        with ENVIRONMENT, pytest.MonkeyPatch.context() as patch:
            for name in os.environ:
                if name.startswith("RAINBOW_"):
                    patch.delenv(name)
            for name, value in {"RAINBOW_HOME": str(self.path), **self.environment}.items():
                patch.setenv(name, value)
            settings.cache_clear()
            try:
                yield
            finally:
                settings.cache_clear()

    def processes(self) -> list[psutil.Process]:
        """Every process that works in this home, found by its folder and its command."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.path) in process.cwd() or str(self.path) in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def home(**environment: str) -> Iterator[Home]:
    """A home of its own; whatever it started is stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="rainbow-home-") as folder:
        made = Home(Path(folder).resolve(), environment)
        keep(made.path)
        try:
            yield made
        finally:
            made.down()
