"""Both layers at once, as `rainbow up --stream` and `rainbow api` run them: orders are posted, and followed to the live page and the trace."""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import typer
from typer.testing import CliRunner

from rainbow import charts
from rainbow import stack as services
from rainbow.charts import formats
from rainbow.cli import data
from rainbow.cli import trace as trace_command
from rainbow.lake.extract import extract
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.publish import publish
from rainbow.reports import render_evidence
from rainbow.settings import Settings, settings
from rainbow.trace import trace
from rainbow.warehouse.load import load
from rainbow.warehouse.transform import transform
from streaming.progress import wait_until_caught_up
from tests.integration.history import forget
from tests.integration.orders_api import ORDERS, Server, order, served
from tests.integration.small_shop import at, days, put, sell
from tests.integration.unfollowed_shop import unfollowed_shop

pytestmark = [pytest.mark.services, pytest.mark.browser]

TODAY = datetime.now(UTC).date()
# the day that is published first, and the one after it
DAY, NEXT = TODAY - timedelta(days=2), TODAY - timedelta(days=1)
TILES = ("total_sales_amount", "net_sales_amount", "total_discount_amount", "sales_quantity", "orders")
_VALUES = "() => [...document.querySelectorAll('#total_sales .rw-tile data')].map(data => data.value)"


@dataclass
class Shop:
    """A shop whose changes are followed, its orders API, and what has been posted there."""

    connection: psycopg.Connection[Any]
    server: Server

    def post(self, *lines: tuple[int, int]) -> Counter[str]:
        """Order products; what the answer says that it adds to the day."""
        answer = httpx.post(self.server.url + ORDERS, json=order(*lines), headers={"Idempotency-Key": str(uuid.uuid4())}, trust_env=False)
        assert answer.status_code == 201, answer.text
        found = answer.json()
        sums = {"total_sales_amount": "amount", "net_sales_amount": "total", "total_discount_amount": "discount"}
        pieces = sum(line["quantity"] for line in found["products"])
        return Counter({**{name: Decimal(found[key]) for name, key in sums.items()}, "sales_quantity": pieces, "orders": 1})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shop(stack: Settings, made_warehouse: Any, kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A day of it is published, and its changes are in the mirror within a second."""
    forget(made_warehouse, "raw", "staging", "warehouse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAINBOW_LAKE_URL", f"file://{tmp_path_factory.mktemp('lake')}")
        patch.setenv("RAINBOW_KAFKA_JARS", str(kafka_jars))
        settings.cache_clear()
        try:
            services.up(["kafka"])
            with unfollowed_shop() as connection:
                sell(connection, 1001, at(DAY), lines=[1001, 1002])
                services.up(["capture", "mirror"])
                wait_until_caught_up(60)
                run(DAY)
                with served() as server:
                    yield Shop(connection, server)
                services.down(["mirror", "capture"])
        finally:
            services.down(["mirror", "capture", "kafka"])
            with connect_clickhouse() as client:
                for database in ("batch", "mirror", "serving"):
                    client.command(f"drop database if exists {database} sync")
    settings.cache_clear()


def run(day: date) -> None:
    """What the batch does for a day, to what charts read."""
    extract(days(day))
    load()
    transform()
    publish()


def test_the_page_moves_by_what_is_posted_within_seconds(shop: Shop, browser: Any) -> None:
    before = shop.post((1, 2), (2, 1))
    page, faults = browser.new_page(), []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(shop.server.url) else None)
    wait_until_caught_up(60)
    page.goto(f"{shop.server.url}/dashboard")
    page.wait_for_selector("html[data-live]")
    assert page.inner_text("h1") == f"{TODAY:%A} {TODAY.day} {TODAY:%B %Y}"
    assert shown(page) == before
    for lines in ([(1, 1)], [(3, 4), (1, 2)]):
        after = before + shop.post(*lines)
        page.wait_for_function(f"sold => ({_VALUES})()[0] === sold", arg=str(after["total_sales_amount"]), timeout=15000)
        assert shown(page) == after
        before = after
    drawn = page.eval_on_selector_all("figure[data-chart]", "all => all.map(figure => figure.dataset.drawn)")
    assert len(drawn) >= 6
    assert set(drawn) == {"yes"}
    page.close()
    assert faults == []


def shown(page: Any) -> Counter[str]:
    """The headline figures of the page."""
    return Counter(dict(zip(TILES, map(Decimal, page.evaluate(_VALUES)), strict=True)))  # type: ignore[arg-type]


def test_a_day_is_from_the_batch_then_from_the_mirror_and_from_the_batch_again(shop: Shop, tmp_path: Path) -> None:
    assert side(DAY, tmp_path) == "batch"
    put(shop.connection, "orderdetails", 1002, at(NEXT), order_id=1001, amount="1.25")
    wait_until_caught_up(60)
    assert side(DAY, tmp_path) == "mirror"
    (changed,) = trace(DAY)
    assert [place.name for place in changed.first_difference or ()] == ["source", "lake"]
    assert not changed.places[-1].differs_from(changed.places[0])
    run(NEXT)
    shop.post((1, 1))
    wait_until_caught_up(60)
    assert (side(DAY, tmp_path), side(TODAY, tmp_path)) == ("batch", "mirror")
    (settled,) = trace(DAY)
    assert settled.first_difference is None


def side(day: date, folder: Path) -> str:
    """Where the printed trace, its JSON and the evidence page say that the day is from."""
    said = re.findall(r"^serving.total_sales takes the day from the (\w+)\.$", printed("total_sales", "--day", str(day)), re.MULTILINE)
    said.append(json.loads(printed("total_sales", "--day", str(day), "--json"))["side"])
    total = charts.total_sales(day)
    page = render_evidence(day, trace(day), total.rows, total.scope.watermark, "USD", folder / str(day) / "evidence.html")
    text = page.read_text(encoding="utf-8")
    said += re.findall(r"<span>From the (batch|mirror)", text) + re.findall(r"takes the day from the (\w+)\.", text)
    said += re.findall(rf"{formats.short_date(day)}(?:</a>)?</th><td class=\"rw-text\">(\w+)</td>", text)
    assert len(said) == 5
    (one,) = set(said)
    return one


def printed(*words: str) -> str:
    """What `rainbow trace` prints."""
    line = typer.Typer()
    for module in (trace_command, data):
        module.add_to(line)
    return CliRunner().invoke(line, ["trace", *words]).output
