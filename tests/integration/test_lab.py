"""`make lab`: JupyterLab opens the project's files, although an extension that comes with Ploomber breaks that by default."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from rainbow.settings import PROJECT_ROOT
from tests.integration.jupyterlab import serving_lab

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def lab() -> Iterator[Callable[[str], Any]]:
    """Asks a JupyterLab of the project for a path of its API."""
    with serving_lab(PROJECT_ROOT) as url:
        yield lambda path: _first_page(url) if path == "start" else _asked(url, path)


def _asked(url: str, path: str) -> Any:
    return json.load(urllib.request.urlopen(f"{url}api/{path}{'&' if '?' in path else '?'}token=lab", timeout=30))


def _first_page(url: str) -> str:
    return urlsplit(urllib.request.urlopen(f"{url}?token=lab", timeout=30).geturl()).path


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
