"""Schemathesis over the API's own OpenAPI document: whatever it makes up is answered, and as the document says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.orders_api import fill, served

pytestmark = pytest.mark.services

# an order of customers that are not there is a 400 although its body is well formed
CONFIGURATION = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409]
negative_data_rejection.expected-statuses = [400, 401, 404, 405, 409, 413, 415]
"""


@pytest.fixture
def address(small_shop: psycopg.Connection[Any]) -> Iterator[str]:
    """Where the API is served, as a process of its own."""
    fill(small_shop)
    small_shop.execute("update inventories set quantity = 1000000")
    with served() as server:
        yield server.url


def test_a_thousand_calls_that_schemathesis_makes_up_are_answered_as_the_document_says(
    address: str, tmp_path: Path, sized: Callable[[int, int], int]
) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    report = tmp_path / "calls.har"
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", tmp_path / "schemathesis.toml", "run"]
    options = ["--phases", "examples,coverage,fuzzing", "--checks", "all", "--max-examples", str(sized(400, 3000)), "--seed", "1"]
    asked = subprocess.run(
        [*command, f"{address}/openapi.json", *options, "--no-color", "--workers", "2", "--report", "har", "--report-har-path", report],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=sized(120, 900),
        check=False,
    )
    assert asked.returncode == 0, asked.stdout[-6000:] + asked.stderr[-2000:]
    statuses = [entry["response"]["status"] for entry in json.loads(report.read_text())["log"]["entries"]]
    assert len(statuses) >= 1000
    assert 201 in statuses
    assert max(statuses) < 500
