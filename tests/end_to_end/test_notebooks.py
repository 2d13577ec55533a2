"""Every notebook runs as it is over a small shop whose names are meant to do harm, and these names are text wherever they appear."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rainbow.settings import PROJECT_ROOT
from tests.integration.homes import Home, home
from tests.integration.jupyterlab import serving_lab
from tests.integration.small_shop import DAY_1, DAY_2, at, open_shop, put, sell

pytestmark = [pytest.mark.services, pytest.mark.browser]

# the one of the speed layer has a test of its own, with Kafka
NOTEBOOKS = sorted(
    str(path.relative_to(PROJECT_ROOT))
    for path in (PROJECT_ROOT / "notebooks").rglob("*.ipynb")
    if "/." not in path.as_posix() and path.parent.name != "streaming"
)
NAMES = (
    "<script>alert(1)</script>",
    "=1+1",
    "\u202eevil\u202c \u2067turned",
    "\x1b[31mred\x1b]0;owned\x07",
    "<img src=x onerror=alert(1)>",
    "Điện thoại của Nguyễn Thị Hồng",
)
# what turns text around or steers a terminal
ACTING = ("\u202e", "\u202c", "\u2067", "\x1b", "\x07", "\x9b")

_RUN_ALL = """
import json, sys
from pathlib import Path
from ploomber_engine import execute_notebook
from rainbow.reports import render_notebook

folder, *notebooks = sys.argv[1:]
ended = {}
for name in notebooks:
    out = Path(folder, Path(name).name)
    try:
        execute_notebook(name, str(out), progress_bar=False, verbose=False)
        ended[name] = ""
        out.with_suffix(".html").write_text(render_notebook(out), encoding="utf-8")
    except Exception as error:
        ended[name] = str(error)
Path(folder, "ended.json").write_text(json.dumps(ended))
"""


_IN_FRONT = ".jp-NotebookPanel:not(.lm-mod-hidden)"
# the prompt of a cell is [ ]: before it is run, [*]: while it waits, and has a number afterwards
_ALL_RAN = f"""() => {{
    const prompts = [...document.querySelectorAll("{_IN_FRONT} .jp-CodeCell .jp-InputArea .jp-InputPrompt")].map(one => one.textContent.trim());
    return prompts.length > 4 && prompts.every(text => /^\\[[0-9]+\\]:$/.test(text));
}}"""


@dataclass
class Shop:
    """A home whose shop was run for two days, its reports, and the notebooks that were run again as a person runs them."""

    home: Home
    reports: Path
    executed: Path
    ended: dict[str, str]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    reports, executed = tmp_path_factory.mktemp("reports"), tmp_path_factory.mktemp("executed")
    with home(RAINBOW_REPORTS_DIR=str(reports)) as made:
        made.up()
        assert made.run("seed", "--schema-only").returncode == 0
        with psycopg.connect(made.url("postgres"), autocommit=True) as connection:
            for live, day in ((_first_day, DAY_1), (_second_day, DAY_2)):
                live(connection)
                done = made.run("run", str(day))
                assert done.returncode == 0, done.stderr
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAINBOW_")}
        ran = subprocess.run(
            [sys.executable, "-c", _RUN_ALL, str(executed), *NOTEBOOKS],
            env={**clean, "RAINBOW_HOME": str(made.path), **made.environment},
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        yield Shop(made, reports, executed, json.loads((executed / "ended.json").read_text()))


def _first_day(connection: psycopg.Connection[Any]) -> None:
    """Members with the hostile names, each of them with a sale."""
    open_shop(connection)
    before = at(DAY_1, 1)
    for key, name in enumerate(NAMES, start=1):
        for table in ("brands", "categories", "sellers", "customers", "payments"):
            put(connection, table, key, before, name=name)
        put(connection, "products", key, before, name=name, category_id=key, seller_id=key, brand_id=key)
        put(connection, "orders", 100 + key, at(DAY_1), customer_id=key, payment_id=key)
        put(connection, "orderdetails", 100 + key, at(DAY_1), order_id=100 + key, product_id=key)


def _second_day(connection: psycopg.Connection[Any]) -> None:
    """All products have another name and price, and one is sold."""
    for key, name in enumerate(NAMES, start=1):
        put(connection, "products", key, at(DAY_2, 9), name=f"{name} {key}", category_id=key, seller_id=key, brand_id=key, price=10 + key)
    sell(connection, 200, at(DAY_2))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom_as_it_is(shop: Shop, name: str) -> None:
    assert shop.ended[name] == ""
    cells = json.loads((shop.executed / Path(name).name).read_text(encoding="utf-8"))["cells"]
    assert any(cell.get("outputs") for cell in cells)


def test_a_click_on_run_all_cells_runs_the_start_page_and_then_a_dashboard_in_jupyterlab(shop: Shop, browser: Any, tmp_path: Path) -> None:
    for name in ("start.ipynb", "dashboards/total_sales.ipynb"):
        copy = tmp_path / "notebooks" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((PROJECT_ROOT / "notebooks" / name).read_bytes())
    with serving_lab(tmp_path, RAINBOW_HOME=str(shop.home.path), **shop.home.environment) as url:
        # high, since JupyterLab draws only the cells that are in sight
        page, faults = browser.new_page(viewport={"width": 1280, "height": 3000}), []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{url}?token=lab")
        start = run_all_cells(page, "start.ipynb")
        assert start.get_by_text(f"complete to Monday {DAY_2.day} September 2024").count() == 1
        assert start.locator("svg.marks").count() == 0
        start.get_by_role("link", name="Total sales").click()
        dashboard = run_all_cells(page, "total_sales.ipynb")
        assert dashboard.get_by_text("The shop sold").count() >= 1
        charts = dashboard.locator("svg.marks")
        charts.nth(1).wait_for()
        assert all(charts.nth(n).locator(".mark-rect path").count() >= 2 for n in range(2))
        # nothing asks the reader to share a notebook or to read news
        assert page.get_by_text("Share Notebook").count() == page.get_by_text("Jupyter news").count() == 0
        page.close()
    assert faults == []


def run_all_cells(page: Any, name: str) -> Any:
    """Run the notebook in front by the menu, once its kernel is ready; the notebook, when all cells have run without an error."""
    status = page.locator("#jp-main-statusbar")
    status.filter(has_text=name).filter(has_text="Idle").wait_for(timeout=60000)
    page.locator("#jp-MainMenu").get_by_text("Run", exact=True).click()
    page.locator(".lm-Menu-item").get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(_ALL_RAN, timeout=60000)
    notebook = page.locator(_IN_FRONT)
    assert notebook.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    return notebook


def test_the_examples_say_what_is_so(shop: Shop) -> None:
    def texts(name: str) -> str:
        return (shop.executed / name).read_text(encoding="utf-8")

    assert "Order 200 of 2 Sep 2024 is the same at every place: 1 line, 21.00 USD." in texts("an_orders_way.ipynb")
    assert "6 rows of products are in both 1 Sep 2024 and 2 Sep 2024, which have the same columns." in texts("compare_partitions.ipynb")
    assert re.search(r"has had \d versions; the last one is current", texts("product_versions.ipynb"))


def test_no_page_lets_a_name_act(shop: Shop, browser: Any) -> None:
    pages = [shop.reports / str(DAY_2) / name for name in ("sales.html", "validate.html", "extract.html")]
    pages += [shop.reports / "index.html", shop.reports / "assets" / "dim_products.html", *sorted(shop.executed.glob("*.html"))]
    assert len(pages) == 5 + len(NOTEBOOKS)
    dialogs: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: dialogs.append(str(error)))
    for path in pages:
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-charts=done]")
        scripts = page.eval_on_selector_all("script:not([type])", "all => all.map(one => one.textContent)")
        assert [one for one in scripts if "alert(1)" in one] == [], path.name
        assert page.locator("img").count() == 0, path.name
        assert [c for c in ACTING if c in page.locator("body").inner_text() and path.name in ("sales.html", "index.html")] == []
    context.close()
    assert dialogs == []


def test_a_report_shows_the_names_as_they_are_each_for_itself(shop: Shop, opened: Any) -> None:
    page = opened(shop.reports / str(DAY_2) / "sales.html")
    shown = page.locator("#customer_ranking bdi").all_text_contents()
    assert {"<script>alert(1)</script>", "=1+1", "<img src=x onerror=alert(1)>", "Điện thoại của Nguyễn Thị Hồng"} <= set(shown)
    assert {"evil turned", "[31mred ]0;owned"} <= set(shown)
    isolated = page.eval_on_selector_all("#customer_ranking bdi", "all => all.map(one => getComputedStyle(one).unicodeBidi)")
    assert set(isolated) == {"isolate"}
    bars = page.locator("#top_sellers svg .mark-rect path")
    for n in range(bars.count()):
        bars.nth(n).hover()
        assert page.locator("#vg-tooltip-element script, #vg-tooltip-element img").count() == 0
        assert any(name in page.locator("#vg-tooltip-element").inner_text() for name in shown)


@pytest.mark.parametrize(
    "words",
    [
        ("query", "--on", "source", "select id, name from products order by id"),
        ("query", "--on", "lake", "select id, name from products order by id"),
        ("query", "--on", "warehouse", "select product_id, name from warehouse.dim_products order by product_id"),
        ("query", "--on", "olap", "select product_id, name from serving.dim_products order by product_id"),
        ("query", "--on", "olap", "select \x1b[31m\u202e"),
    ],
    ids=["source", "lake", "warehouse", "olap", "an error"],
)
def test_a_terminal_gets_nothing_that_acts(shop: Shop, words: tuple[str, ...]) -> None:
    done = shop.home.run(*words, COLUMNS="200")
    said = done.stdout + done.stderr
    assert [c for c in ACTING if c in said] == []
    if done.returncode == 0:
        assert "<script>alert(1)</script>" in said
        assert "\\x1b[31mred" in said


def test_a_report_is_drawn_again_by_a_command(shop: Shop) -> None:
    done = shop.home.run("report")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(shop.reports / str(DAY_2) / "sales.html"), str(shop.reports / "index.html")]
    assert f"{DAY_2}/sales.html" in (shop.reports / "index.html").read_text(encoding="utf-8")


def test_a_report_of_a_day_that_was_never_run_is_refused(shop: Shop) -> None:
    done = shop.home.run("report", "2024-08-01")
    assert done.returncode == 1
    assert done.stderr == "rainbow: partition 2024-08-01 was never run: `rainbow run 2024-08-01` runs it and draws its report\n"
