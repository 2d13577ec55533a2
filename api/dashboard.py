"""The live page, ``/dashboard``: the shop's figures of now, from the unified views, asked for again every few seconds.

However many look at it, ClickHouse is asked once for all of them, in a thread, so that no order waits for a chart.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

import orjson
from fastapi import FastAPI, Request, Response

from api.problems import unavailable
from rainbow.errors import RainbowError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from rainbow.reports.live import Part

PAGE = "/dashboard"
STATE = f"{PAGE}/state"
SECONDS = 2.0

# the trend shows the newest days; all of them are in the reports
DAYS = 31


class Dashboard:
    """What the page shows, made anew when somebody asks and what is there is older than ``SECONDS``."""

    def __init__(self) -> None:
        self._making = asyncio.Lock()
        self._made = float("-inf")
        self._state = b""
        self._tag = ""

    async def state(self) -> tuple[bytes, str]:
        """The page's state as JSON, and its entity tag. Raises RainbowError when ClickHouse does not answer or has no views."""
        async with self._making:
            if monotonic() - self._made > SECONDS / 2:
                self._state = await asyncio.to_thread(_state)
                self._tag = f'"{hashlib.sha256(self._state).hexdigest()[:32]}"'
                self._made = monotonic()
            return self._state, self._tag


def add_dashboard_routes(app: FastAPI) -> None:
    """``/dashboard`` and what it asks for; for browsers, so not in the OpenAPI document."""
    dashboard = Dashboard()

    @app.get(PAGE, include_in_schema=False)
    async def page() -> Response:
        from rainbow.reports import live_page

        html = await asyncio.to_thread(live_page, STATE.removeprefix("/"), SECONDS)
        return Response(html, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @app.get(STATE, include_in_schema=False)
    async def state(request: Request) -> Response:
        try:
            body, tag = await dashboard.state()
        except (RainbowError, OSError) as error:
            raise unavailable(str(error), 5) from None
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)


def _state() -> bytes:
    from rainbow import charts
    from rainbow.charts import formats, serving
    from rainbow.reports import live_section

    day = _day()
    sales = charts.total_sales(day)
    first = max(day - timedelta(days=DAYS - 1), sales.scope.first_day or date.min)
    newest = replace(sales, scope=replace(sales.scope, first_day=first), rows=[row for row in sales.rows if row["sales_date"] >= first])
    weekdays, products = charts.day_of_week(day), charts.top_products_by_category(day)
    rankings = (
        ("top_sellers", "Top sellers", charts.top_sellers(day)),
        ("payment_methods", "Payment methods", charts.payment_methods(day)),
        ("customer_ranking", "Customers", charts.customer_ranking(day)),
    )
    drawn: Sequence[tuple[str, str, Sequence[Callable[[], Part]]]] = (
        ("total_sales", "Total sales", (lambda: sales.headline(evidence=""), newest.trend)),
        *((name, title, (ranking.answer, ranking.bars)) for name, title, ranking in rankings),
        ("day_of_week", "Day of week with most sales", (weekdays.answer, weekdays.bars)),
        ("top_products_by_category", "Top products by category", (products.answer, products.bars)),
    )
    sections = [asdict(live_section(name, title, [make() for make in makers])) for name, title, makers in drawn]
    watermark = sales.scope.watermark
    facts = [
        f"Complete to {formats.short_date(watermark)}" if watermark else "No batch published yet",
        *([f"First day {formats.short_date(sales.scope.first_day)}"] if sales.scope.first_day else []),
        *_last_change(serving.client()),
    ]
    return orjson.dumps({"day": formats.long_date(day), "facts": facts, "sections": sections})


def _day() -> date:
    """The newest day with sales, today at the latest; today when there are none."""
    from rainbow.charts import serving

    today = datetime.now(UTC).date()
    (row,) = serving.query("select maxOrNull(sales_date) as last from serving.total_sales where sales_date <= {day:Date}", {"day": today})
    return row["last"] or today


def _last_change(client: Client) -> list[str]:
    """When the newest change that the speed layer has brought was committed; nothing without a speed layer."""
    if client.query("exists table mirror.orders").result_rows != [(1,)]:
        return []
    ((newest,),) = client.query("select maxOrNull(_committed_at) from mirror.orders").result_rows
    return [f"Last change seen {newest:%Y-%m-%d %H:%M:%S} UTC"] if newest else ["No change seen yet"]
