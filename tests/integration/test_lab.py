"""`make lab`: JupyterLab opens the project's files, although an extension that comes with Ploomber breaks that by default."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rainbow.settings import PROJECT_ROOT

pytestmark = pytest.mark.services

CONFIG = PROJECT_ROOT / ".jupyter"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Asks a JupyterLab of the project, which has a home of its own, for a path of its API."""
    home = tmp_path_factory.mktemp("lab")
    runtime = home / "runtime"
    environment = {**os.environ, "HOME": str(home), "JUPYTER_CONFIG_PATH": str(CONFIG), "JUPYTER_RUNTIME_DIR": str(runtime)}
    options = ["--no-browser", "--allow-root", "--ServerApp.token=lab", "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1"]
    command = [str(Path(sys.executable).parent / "jupyter"), "lab", *options]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            url = _url(runtime, server, home / "log")
            yield lambda path: _first_page(url) if path == "start" else _asked(url, path)
        finally:
            server.terminate()
            server.wait(30)


def _asked(url: str, path: str) -> Any:
    return json.load(urllib.request.urlopen(f"{url}api/{path}{'&' if '?' in path else '?'}token=lab", timeout=30))


def _first_page(url: str) -> str:
    return urlsplit(urllib.request.urlopen(f"{url}?token=lab", timeout=30).geturl()).path


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


def test_the_files_are_listed(lab: Callable[[str], Any]) -> None:
    names = {entry["name"] for entry in lab("contents/notebooks/batch")["content"]}
    assert {"extract.ipynb", "load.ipynb", "transform.ipynb", "validate.ipynb", "publish.ipynb"} <= names


def test_a_notebook_opens(lab: Callable[[str], Any]) -> None:
    opened = lab("contents/notebooks/batch/extract.ipynb")
    assert opened["content"]["cells"][0]["cell_type"] == "markdown"
    assert opened["writable"]


def test_a_text_file_opens(lab: Callable[[str], Any]) -> None:
    assert "extract" in lab("contents/pipeline.yaml?type=file&format=text")["content"]


def test_it_begins_with_the_start_page(lab: Callable[[str], Any]) -> None:
    assert lab("start") == "/lab/tree/notebooks/start.ipynb"


def test_make_lab_uses_this_configuration() -> None:
    recipe = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"JUPYTER_CONFIG_PATH=\$\(CURDIR\)/\.jupyter \$\(BIN\)/jupyter lab", recipe)
