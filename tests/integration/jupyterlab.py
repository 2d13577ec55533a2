"""A JupyterLab with the project's configuration, as `make lab` starts it, without a browser and with a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rainbow.settings import PROJECT_ROOT

CONFIG = PROJECT_ROOT / ".jupyter"


@contextmanager
def serving_lab(files: Path, **environment: str) -> Iterator[str]:
    """The address of a JupyterLab over these files, to be asked with the token ``lab``; its kernels have this environment."""
    with tempfile.TemporaryDirectory(prefix="rainbow-lab-") as folder:
        home = Path(folder)
        own = {"HOME": folder, "JUPYTER_CONFIG_PATH": str(CONFIG), "JUPYTER_RUNTIME_DIR": str(home / "runtime")}
        options = ["--no-browser", "--allow-root", "--IdentityProvider.token=lab", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1"]
        command = [str(Path(sys.executable).parent / "jupyter"), "lab", *options]
        clean = {name: value for name, value in os.environ.items() if not environment or not name.startswith("RAINBOW_")}
        with (home / "log").open("w") as log:
            server = subprocess.Popen(
                command, cwd=files, env={**clean, **environment, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            try:
                yield _url(home / "runtime", server, home / "log")
            finally:
                server.terminate()
                server.wait(30)


def _url(runtime: Path, server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            try:
                url: str = json.loads(path.read_text())["url"]
                urllib.request.urlopen(f"{url}api", timeout=5).close()
                return url
            except (OSError, ValueError):
                continue
        time.sleep(0.1)
    raise AssertionError(log.read_text())
