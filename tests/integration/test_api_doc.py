"""docs/api.md: each curl line answers what the page says."""

from __future__ import annotations

import re
import shlex
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from api.app import create_app
from rainbow.settings import PROJECT_ROOT
from tests.integration.orders_api import fill, with_client
from tests.integration.small_shop import DAY_1, at, sell

pytestmark = pytest.mark.services

PAGE = (PROJECT_ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def as_request(line: str) -> tuple[httpx.Request, int]:
    """What a curl line sends, and the status that stands behind it."""
    words = shlex.split(line, comments=True)[1:]
    headers, url, body = {}, "", None
    while words:
        word = words.pop(0)
        if word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = words.pop(0)
        else:
            url = word
    parts = urlsplit(url)
    assert parts.netloc == "127.0.0.1:8000"
    return httpx.Request("POST" if body else "GET", url, headers=headers, content=body), int(line.rpartition("# ")[2])


def test_each_curl_line_answers_what_the_page_says(small_shop: psycopg.Connection[Any]) -> None:
    fill(small_shop)
    sell(small_shop, 1, at(DAY_1))
    small_shop.execute(
        "select setval(pg_get_serial_sequence('orders', 'id'), 10), setval(pg_get_serial_sequence('orderdetails', 'id'), 10)"
    )
    lines = re.findall(r"^curl .*$", PAGE, flags=re.MULTILINE)
    assert len(lines) > 5

    async def send(http: httpx.AsyncClient) -> list[int]:
        return [(await http.send(as_request(line)[0])).status_code for line in lines]

    assert with_client(send) == [as_request(line)[1] for line in lines]


def test_every_call_of_the_document_stands_on_the_page(small_shop: psycopg.Connection[Any]) -> None:
    for path, calls in create_app().openapi()["paths"].items():
        for method in calls:
            assert f"| `{method.upper()} {path}` |" in PAGE


def test_every_kind_of_problem_stands_on_the_page() -> None:
    kinds = set()
    for module in (PROJECT_ROOT / "api").glob("*.py"):
        text = module.read_text(encoding="utf-8")
        kinds |= set(re.findall(r'ProblemError\(\s*\d+,\s*"([a-z-]+)"', text)) | set(re.findall(r'\d{3}: \("([a-z-]+)", ', text))
    assert len(kinds) > 8
    for kind in kinds | {"unavailable"}:
        assert f"`{kind}`" in PAGE, kind
