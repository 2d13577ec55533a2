"""A Maven repository of this machine: it gives out the jars of a folder, in the layout that Maven's repositories have."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Repository:
    """What it was asked for, and how it answers: how long it takes in the middle of a jar, and which jars come spoilt."""

    url: str = ""
    asked_for: list[str] = field(default_factory=list)
    seconds: float = 0
    spoilt: str = "none"


@contextmanager
def repository(jars: Path) -> Iterator[Repository]:
    """Serve the jars while the block runs."""
    made = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # /group/of/dots/artifact/version/artifact-version.jar
            path = jars / self.path.rsplit("/", 1)[1]
            if not path.exists():
                self.send_error(404)
                return
            made.asked_for.append(path.name)
            content = path.read_bytes()
            if made.spoilt in path.name:
                content = content[:-1] + b"?"
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            time.sleep(made.seconds)
            self.wfile.write(content[len(content) // 2 :])

        def log_message(self, *words: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *about: object) -> None:
            # a client that was killed
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}/maven"
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            yield made
        finally:
            server.shutdown()
            serving.join()
