"""The live page in a browser: all is drawn, nothing but its own server is asked, names stay text; test_both_layers.py has it move."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from rainbow.settings import Settings
from tests import serving_rows
from tests.integration.orders_api import served

pytestmark = [pytest.mark.services, pytest.mark.browser]


@pytest.fixture
def views(stack: Settings) -> Iterator[Any]:
    """The serving views of a small shop, as tables that a test can add to."""
    from rainbow.olap.client import connect

    client = connect()
    client.command("drop database if exists serving sync")
    serving_rows.create(client)
    serving_rows.fill(client)
    yield client
    client.command("drop database if exists serving sync")


@pytest.fixture
def watched(browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page, and what went wrong on it: errors of its console and requests to other places."""
    page, faults = browser.new_page(), []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if "://127.0.0.1:" not in request.url else None)
    yield page, faults
    page.close()


def test_every_chart_is_drawn_and_names_stay_text(views: Any, watched: tuple[Any, list[str]]) -> None:
    page, faults = watched
    with served(path="/ping") as server:
        page.goto(f"{server.url}/dashboard")
        page.wait_for_selector("html[data-live]")
        assert page.inner_text("h1") == "Friday 6 September 2024"
        drawn = page.eval_on_selector_all(
            "figure[data-chart]", "all => all.map(f => [f.dataset.drawn, f.querySelectorAll('.mark-rect path').length])"
        )
        assert len(drawn) == 1 + 1 + 1 + 1 + 1 + 4
        assert all(state == "yes" and marks for state, marks in drawn)
        assert page.title() == "Sales now · Rainbow Workbench"
        assert not page.query_selector("main script:not([type='application/json']), main img")
    assert faults == []


def test_a_new_day_becomes_the_day(views: Any, watched: tuple[Any, list[str]]) -> None:
    page, _ = watched
    with served(path="/ping") as server:
        page.goto(f"{server.url}/dashboard")
        page.wait_for_selector("html[data-live]")
        tomorrow = serving_rows.LAST_DAY + timedelta(days=1)
        views.command(f"insert into serving.total_sales values ('{tomorrow}', 1, 1, 10, 0, 10)")
        page.wait_for_function("() => document.querySelector('h1').textContent === 'Saturday 7 September 2024'", timeout=15000)
        assert "provisional" in page.inner_text("#total_sales")


def test_a_clickhouse_that_has_no_views_yet_is_said_and_asked_again(views: Any, watched: tuple[Any, list[str]]) -> None:
    page, _ = watched
    views.command("drop database serving sync")
    with served(path="/ping") as server:
        page.goto(f"{server.url}/dashboard")
        page.wait_for_function("() => !document.getElementById('fault').hidden")
        assert "no serving views yet" in page.inner_text("#fault")
        serving_rows.create(views)
        serving_rows.fill(views)
        page.wait_for_selector("html[data-live]", timeout=15000)
        assert page.is_hidden("#fault")


def test_an_unchanged_state_is_not_sent_again(views: Any) -> None:
    with served(path="/ping") as server:
        first = httpx.get(f"{server.url}/dashboard/state")
        again = httpx.get(f"{server.url}/dashboard/state", headers={"If-None-Match": first.headers["etag"]})
    assert first.json()["facts"][0] == "Complete to 6 Sep 2024"
    assert (again.status_code, again.content) == (304, b"")


def test_the_page_lets_only_its_own_scripts_run(views: Any) -> None:
    with served(path="/ping") as server:
        page = httpx.get(f"{server.url}/dashboard").text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    allowed = html.unescape(policy[1])
    assert allowed.startswith("default-src 'none'; connect-src 'self'; script-src 'sha256-")
    assert "unsafe-inline" not in allowed.split("style-src")[0]
