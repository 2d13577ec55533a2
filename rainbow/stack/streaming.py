"""The speed layer's own processes in the stack: capture and mirror, as the commands that anybody can run by hand.

They are commands and not imports, since nothing in ``rainbow`` but the command line imports ``streaming``. Neither has a port, a password
or data: what they must remember is in PostgreSQL, Kafka and ClickHouse. So each is started again when it crashed, by a keeper.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rainbow.stack import keeper
from rainbow.stack.place import Place
from rainbow.stack.process import Launch
from rainbow.stack.service import Service

# of Python's own library alone, without what is installed beside it
KEEPER = (sys.executable, "-I", "-S", keeper.__file__)


def prepare(place: Place, new_password: bool) -> None:
    """There is nothing to prepare."""


def check(url: str) -> None:
    """A process that lives is taken for well: it tries again by itself whatever does not answer; `rainbow stream status` says how far it is."""


def service(name: str, title: str, *uses: str) -> Service:
    """The service that runs ``rainbow stream <name>``."""

    def launch(place: Place, ports: Sequence[int]) -> Launch:
        return Launch(
            command=[*KEEPER, sys.executable, "-m", "rainbow", "stream", name],
            environment={"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
        )

    return Service(
        name=name,
        title=title,
        url=None,
        prepare=prepare,
        launch=launch,
        check=check,
        mark=f"rainbow stream {name}",
        has_password=False,
        always=False,
        uses=uses,
        settling=2,
    )


CAPTURE = service("capture", "capture of changes", "postgres", "kafka")
MIRROR = service("mirror", "mirror in ClickHouse", "clickhouse", "kafka")
