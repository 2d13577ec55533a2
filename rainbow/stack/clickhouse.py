"""The local ClickHouse: how its server (`rainbow.stack.gateway`) is started and looked at."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rainbow.stack.endpoints import get
from rainbow.stack.place import Place
from rainbow.stack.process import Launch
from rainbow.stack.service import Service, url_with_password


def prepare(place: Place, new_password: bool) -> None:
    """Make the data folder; the engine checks its parts when it opens it."""
    place.data.mkdir(mode=0o700, exist_ok=True)


def launch(place: Place, ports: Sequence[int]) -> Launch:
    """The server on a port of the loopback; it reads the password from the file, so that no process list shows it."""
    arguments = ["--port", str(ports[0]), "--data", str(place.data), "--password-file", str(place.password_file)]
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
    url=url_with_password("http", "default"),
    prepare=prepare,
    launch=launch,
    check=check,
    mark="rainbow.stack.gateway",
)
