"""The dashboards' notebooks on a real ClickHouse engine, run as a backfill runs them: in one process, one after another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rainbow import pipeline
from rainbow.charts import serving
from rainbow.charts.elements import FRAGMENT_MIME, VEGALITE_MIME
from rainbow.charts.formats import plain
from rainbow.checks import Check
from rainbow.partitions.ledger import Ledger
from rainbow.reports import render_report
from rainbow.settings import PROJECT_ROOT, settings
from tests import serving_rows
from tests.ledger_rows import Days

NOTEBOOKS = PROJECT_ROOT / "notebooks" / "dashboards"
SALES = ("total_sales", "day_of_week", "top_sellers", "top_products_by_category", "payment_methods", "customer_ranking")
NAMES = pipeline.dashboards()
VIEWS = {"day_of_week": "day_of_week_with_most_sales", "product_history": "dim_products", "operations": "total_sales"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with serving_rows.engine(tmp_path_factory.mktemp("clickhouse")) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "client", lambda: client)
        patch.setenv("RAINBOW_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("RAINBOW_CURRENCY", "VND")
        settings.cache_clear()
        lived = Days(Ledger())
        days = [serving_rows.LAST_DAY - timedelta(days=n) for n in reversed(range(6))]
        lived.live(days[:-1], checks=[Check("not_null", "fact_sales", True)])
        lived.live(days[-1:], checks=[Check("not_null", "fact_sales", True), Check("row_count", "lake/orders", False, "few", "warning", 1)])
        yield client
    settings.cache_clear()


@pytest.fixture
def shop(engine: Any) -> Any:
    """A month of sales up to the watermark, 6 September 2024."""
    if not serving_rows.is_filled(engine):
        serving_rows.create(engine)
        serving_rows.fill(engine)
    serving_rows.set_watermark(engine, serving_rows.LAST_DAY)
    return engine


@pytest.fixture
def empty_shop(engine: Any) -> Any:
    serving_rows.create(engine)
    return engine


def _run(name: str, folder: Path, day: date | None) -> Path:
    from ploomber_engine import execute_notebook

    parameters = {"partition_date": day.isoformat() if day else None, "product": None}
    execute_notebook(NOTEBOOKS / f"{name}.ipynb", folder / f"{name}.ipynb", parameters=parameters, progress_bar=False)
    return folder / f"{name}.ipynb"


def _outputs(path: Path) -> list[dict[str, Any]]:
    """The outputs by MIME type; the text of a file's multi-line strings joined."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output["data"] for cell in cells for output in cell.get("outputs", ())]
    return [{mime: "".join(data) if isinstance(data, list) else data for mime, data in output.items()} for output in outputs]


def _html(outputs: list[dict[str, Any]], kind: str) -> str:
    return next(output["text/html"] for output in outputs if output.get(FRAGMENT_MIME, {}).get("kind") == kind)


def _sum(shop: Any, day: date, what: str = "sum(total_sales_amount)", view: str = "total_sales", condition: str = "") -> Any:
    sql = f"select {what} from serving.{view} where sales_date <= {{day:Date}} {condition}"
    return shop.query(sql, parameters={"day": day}).first_row[0]


def test_every_subject_has_a_notebook_without_outputs() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(NAMES)
    for path in NOTEBOOKS.glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_answers_draws_and_shows_its_evidence(shop: Any, tmp_path: Path, name: str) -> None:
    outputs = _outputs(_run(name, tmp_path, serving_rows.LAST_DAY))
    assert outputs[0][FRAGMENT_MIME] == {
        "kind": "answer",
        "view": VIEWS.get(name, name),
        "partition_date": "2024-09-06",
        "first_day": "2024-08-01",
        "watermark": "2024-09-06",
        "published_at": "2024-09-07T00:04:11+00:00",
        "provisional": False,
        "currency": "VND",
    }
    assert any(VEGALITE_MIME in output for output in outputs)
    assert any(output.get(FRAGMENT_MIME, {}).get("kind") == "table" for output in outputs)


def test_the_headline_figures_are_the_sums_of_the_views(shop: Any, tmp_path: Path) -> None:
    day = serving_rows.LAST_DAY
    outputs = _outputs(_run("total_sales", tmp_path, day))
    of_day, to_date = (output["text/html"] for output in outputs if output.get(FRAGMENT_MIME, {}).get("kind") == "headline")
    for html, condition in ((of_day, f"and sales_date = '{day}'"), (to_date, "")):
        shown = [Decimal(value) for value in re.findall(r'<data value="([^"]+)"', html)]
        columns = ("total_sales_amount", "net_sales_amount", "total_discount_amount", "sales_quantity", "orders")
        assert shown == [_sum(shop, day, f"sum({column})", condition=condition) for column in columns]


def test_a_report_of_an_earlier_day_knows_nothing_later(shop: Any, tmp_path: Path) -> None:
    day = date(2024, 8, 10)
    outputs = _outputs(_run("total_sales", tmp_path, day))
    chart = next(output[VEGALITE_MIME] for output in outputs if VEGALITE_MIME in output)
    assert [row["date"] for row in chart["datasets"]["days"]] == [str(date(2024, 8, 1) + timedelta(days=i)) for i in range(10)]
    assert [row["date"] for row in chart["datasets"]["days"] if row["role"] == "accent"] == ["2024-08-10"]
    weekdays = _outputs(_run("day_of_week", tmp_path, day))
    assert f"{_sum(shop, day):,.0f}" in _html(weekdays, "table")


def test_without_a_date_the_last_complete_partition_is_taken(shop: Any, tmp_path: Path) -> None:
    serving_rows.set_watermark(shop, date(2024, 9, 4))
    assert _outputs(_run("top_sellers", tmp_path, None))[0][FRAGMENT_MIME]["partition_date"] == "2024-09-04"


def test_days_after_the_watermark_are_provisional(shop: Any, tmp_path: Path) -> None:
    serving_rows.set_watermark(shop, date(2024, 9, 4))
    outputs = _outputs(_run("total_sales", tmp_path, serving_rows.LAST_DAY))
    assert outputs[0][FRAGMENT_MIME]["provisional"] is True
    assert "provisional" in _html(outputs, "headline")
    chart = next(output[VEGALITE_MIME] for output in outputs if VEGALITE_MIME in output)
    assert [row["date"] for row in chart["datasets"]["days"] if row["role"] == "provisional"] == ["2024-09-05"]
    assert chart["datasets"]["watermark"] == [{"at": "2024-09-05", "label": "complete to 4 Sep 2024", "right": True}]


def test_a_day_without_sales_is_a_zero_not_a_gap(shop: Any, tmp_path: Path) -> None:
    day = serving_rows.DAY_WITHOUT_SALES
    outputs = _outputs(_run("total_sales", tmp_path, day))
    assert outputs[0]["text/plain"] == "No sales on Tuesday 20 August 2024."
    chart = next(output[VEGALITE_MIME] for output in outputs if VEGALITE_MIME in output)
    assert chart["datasets"]["days"][-1]["date"] == "2024-08-20"
    assert chart["datasets"]["days"][-1]["value"] == 0
    assert "−100\xa0%" in _html(outputs, "headline")


@pytest.mark.parametrize("name", SALES)
def test_a_shop_without_sales_has_a_report_that_says_so(empty_shop: Any, tmp_path: Path, name: str) -> None:
    outputs = _outputs(_run(name, tmp_path, serving_rows.LAST_DAY))
    assert outputs[0]["text/plain"].startswith("No sales ")
    assert not any(VEGALITE_MIME in output for output in outputs)


def test_rankings_are_in_order_and_their_sums_exact(shop: Any, tmp_path: Path) -> None:
    outputs = _outputs(_run("customer_ranking", tmp_path, serving_rows.LAST_DAY))
    rows = next(output[VEGALITE_MIME] for output in outputs if VEGALITE_MIME in output)["datasets"]["rows"]
    values = [row["value"] for row in rows]
    assert values == sorted(values, reverse=True)
    best = shop.query(
        "select customer, sum(total_sales_amount) as sales from serving.customer_ranking group by customer_id, customer order by sales desc limit 1"
    ).first_row
    assert rows[0]["name"] == plain(best[0])
    assert rows[0]["sales"].replace(",", "") == f"{best[1].normalize():f} VND"


def test_a_category_shows_its_five_best_by_net_sales(shop: Any, tmp_path: Path) -> None:
    outputs = _outputs(_run("top_products_by_category", tmp_path, serving_rows.LAST_DAY))
    charts = [output[VEGALITE_MIME] for output in outputs if VEGALITE_MIME in output]
    assert [chart["usermeta"]["title"] for chart in charts] == [
        row[0]
        for row in shop.query(
            "select category from serving.top_products_by_category group by category_id, category order by sum(net_sales_amount) desc"
        ).result_rows
    ]
    best = shop.query(
        "select product from serving.top_products_by_category where category = {category:String} "
        "group by product_id, product order by sum(net_sales_amount) desc limit 5",
        parameters={"category": charts[0]["usermeta"]["title"]},
    ).result_rows
    assert [row["name"] for row in charts[0]["datasets"]["rows"]] == [row[0] for row in best]


def test_payment_shares_are_of_the_orders(shop: Any, tmp_path: Path) -> None:
    outputs = _outputs(_run("payment_methods", tmp_path, serving_rows.LAST_DAY))
    rows = next(output[VEGALITE_MIME] for output in outputs if VEGALITE_MIME in output)["datasets"]["rows"]
    orders = shop.query("select sum(orders) from serving.payment_methods group by payment_id order by 1 desc").result_rows
    assert [row["value"] for row in rows] == [row[0] for row in orders]
    assert abs(sum(Decimal(row["share"].split("\xa0")[0]) for row in rows) - 100) < Decimal("0.01")


def test_a_shop_that_was_never_published_is_told_what_to_do(engine: Any, tmp_path: Path) -> None:
    engine.command("drop database if exists serving")
    with pytest.raises(Exception, match="no serving views yet"):
        _run("total_sales", tmp_path, serving_rows.LAST_DAY)


def test_one_report_of_all_notebooks_stays_small_and_holds_no_name_as_markup(shop: Any, tmp_path: Path) -> None:
    notebooks = [_run(name, tmp_path, serving_rows.LAST_DAY) for name in NAMES]
    report = render_report(serving_rows.LAST_DAY, notebooks, [], tmp_path / "sales.html")
    html = report.read_text(encoding="utf-8")
    assert report.stat().st_size < 2_000_000
    assert "Cửa hàng" in html
    for name in serving_rows.HOSTILE_NAMES:
        assert not name.startswith("<") or name not in html
    assert "\u202e" not in html


def test_the_history_shows_what_changed_of_the_products_on_the_day_and_nothing_later(shop: Any, tmp_path: Path) -> None:
    outputs = _outputs(_run("product_history", tmp_path, serving_rows.LAST_DAY))
    # five with another name and price, one that lost its category, one deleted, and twenty sold, of which two are among the five
    assert (
        outputs[0]["text/plain"] == "25 products changed on Friday 6 September 2024, 7 of them in more than what they are rated and sold."
    )
    chart = next(output[VEGALITE_MIME] for output in outputs if VEGALITE_MIME in output)
    bars = chart["datasets"]["rows"]
    assert max(bar["to"] for bar in bars) == "2024-09-07T00:00:00.000Z"
    assert {bar["role"] for bar in bars} == {"accent", "grey", "teal"}
    assert "of tomorrow" not in json.dumps(outputs)
    assert "category\tNhà cửa" not in _html(outputs, "table")
    assert "Điện thoại - Máy tính bảng" in _html(outputs, "table")


def test_a_day_on_which_no_product_changed_says_so(shop: Any, tmp_path: Path) -> None:
    outputs = _outputs(_run("product_history", tmp_path, date(2024, 8, 10)))
    assert outputs[0]["text/plain"] == "No product changed on Saturday 10 August 2024."
    assert not any(VEGALITE_MIME in output for output in outputs)


def test_operations_show_the_states_the_checks_and_how_fresh_all_is(shop: Any, tmp_path: Path) -> None:
    outputs = _outputs(_run("operations", tmp_path, serving_rows.LAST_DAY))
    assert outputs[0]["text/plain"] == "1 warning on Friday 6 September 2024, and no check failed."
    grid, durations = (output[VEGALITE_MIME] for output in outputs if VEGALITE_MIME in output)
    assert {row["state"] for row in grid["datasets"]["rows"]} == {"done"}
    assert len({row["date"] for row in grid["datasets"]["rows"]}) == 6
    assert {row["step"] for row in durations["datasets"]["rows"]} == {"extract", "load", "transform", "validate", "publish", "report"}
    assert "Charts: 7 published tables\t6 Sep 2024\t0\t7 Sep 2024 00:04" in [line for o in outputs for line in o["text/plain"].splitlines()]
    assert any("row_count\tlake/orders\twarning\t1\tfew" in output["text/plain"] for output in outputs)
    assert outputs[-1]["text/plain"].startswith("No speed layer runs here")


def test_operations_of_days_that_no_run_has_had_say_so(shop: Any, tmp_path: Path) -> None:
    outputs = _outputs(_run("operations", tmp_path, date(2024, 8, 5)))
    assert outputs[0]["text/plain"] == "No run of Monday 5 August 2024 is in the ledger."
