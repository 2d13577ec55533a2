"""The local ClickHouse: how its server (`rainbow.stack.gateway`) is started and looked at."""

from __future__ import annotations

import sys

from rainbow.stack.endpoints import get
from rainbow.stack.place import Place
from rainbow.stack.process import Launch
from rainbow.stack.service import Service


def prepare(place: Place, new_password: bool) -> None:
    """Make the data folder; the engine checks its parts when it opens it."""
    place.data.mkdir(mode=0o700, exist_ok=True)


def launch(place: Place, port: int) -> Launch:
    """The server on a port of the loopback; it reads the password from the file, so that no process list shows it."""
    arguments = ["--port", str(port), "--data", str(place.data), "--password-file", str(place.password_file)]
    return Launch(
        command=[sys.executable, "-m", "rainbow.stack.gateway", *arguments],
        environment={"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
    )


def check(url: str) -> None:
    """Run a query; raises OSError or ServiceError when ClickHouse does not answer."""
    get(url, "/?query=select%201")


SERVICE = Service(
    name="clickhouse",
    title="ClickHouse",
    scheme="http",
    user="default",
    path="",
    prepare=prepare,
    launch=launch,
    check=check,
    mark="rainbow.stack.gateway",
)
