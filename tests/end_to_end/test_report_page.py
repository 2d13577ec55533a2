"""A report in a browser without a network: everything is drawn, nothing is asked for, and names from the data stay text."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from rainbow import pipeline
from rainbow.charts import serving
from rainbow.checks import Check
from rainbow.partitions.ledger import Ledger
from rainbow.reports import render_notebook, render_report
from rainbow.reports.pdf import print_page
from rainbow.settings import PROJECT_ROOT, settings
from tests import serving_rows
from tests.ledger_rows import Days

pytestmark = pytest.mark.browser

NAMES = pipeline.dashboards()

PHONE = {"width": 390, "height": 844}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE},
    "phone-dark": {"viewport": PHONE, "color_scheme": "dark"},
}
# what is drawn of data; a selection's own rectangle is not
BARS = ".mark-rect:not([class*=span]) path"

_LABELS_OUTSIDE = """() => [...document.querySelectorAll('figure svg')].flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(text => {
        const box = text.getBoundingClientRect();
        return box.width && getComputedStyle(text).opacity > 0 && (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
    }).map(text => text.textContent);
})"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report of a shop with hostile names, and the page of one of its notebooks."""
    from ploomber_engine import execute_notebook

    folder = tmp_path_factory.mktemp("reports")
    with serving_rows.engine(tmp_path_factory.mktemp("clickhouse")) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "client", lambda: client)
        patch.setenv("RAINBOW_HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        serving_rows.create(client)
        serving_rows.fill(client)
        Days(Ledger()).live(serving_rows.LAST_DAY - timedelta(days=n) for n in reversed(range(6)))
        for name in NAMES:
            source = PROJECT_ROOT / "notebooks" / "dashboards" / f"{name}.ipynb"
            execute_notebook(source, folder / f"{name}.ipynb", parameters={"partition_date": "2024-09-06"}, progress_bar=False)
        notebooks = [folder / f"{name}.ipynb" for name in NAMES]
        checks = [Check(name, name, False, name) for name in serving_rows.HOSTILE_NAMES]
        render_report(serving_rows.LAST_DAY, notebooks, checks, folder / "sales.html")
        (folder / "notebook.html").write_text(render_notebook(folder / "top_sellers.ipynb"), encoding="utf-8")
    settings.cache_clear()
    return folder


def test_every_chart_of_a_report_is_drawn_without_a_network(pages: Path, opened: Any) -> None:
    page = opened(pages / "sales.html")
    drawn = page.eval_on_selector_all(
        "figure[data-chart]", f"all => all.map(figure => [figure.dataset.drawn, figure.querySelectorAll('{BARS}').length])"
    )
    assert len(drawn) == 2 + 1 + 1 + 4 + 1 + 1 + 1 + 2
    assert all(state == "yes" for state, _ in drawn)
    days, pieces, weekdays, *rankings, history, states, durations = (marks for _, marks in drawn)
    assert (days, pieces, weekdays) == (2 * 37, 2 * 37, 7)
    assert rankings == [10, 5, 5, 5, 5, 4, 15]
    # a bar and a tick each of 20 versions; a cell a group of assets and day; a part a step and day
    assert (history, states, durations) == (2 * 20, 6 * 6, 6 * 6)


def _middle(mark: Any) -> tuple[float, float]:
    box = mark.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_days_chosen_in_one_chart_are_summed_there_and_in_the_other(pages: Path, opened: Any) -> None:
    page = opened(pages / "sales.html")
    days = page.locator("#total_sales figure").first.locator(BARS)
    days.nth(5).scroll_into_view_if_needed()
    (first, _), (last, y) = (_middle(days.nth(n)) for n in (5, 11))
    page.mouse.move(first, y)
    page.mouse.down()
    page.mouse.move((first + last) / 2, y)
    page.mouse.move(last, y)
    page.mouse.up()
    chosen = page.locator("#total_sales svg text", has_text="6 Aug to 12 Aug: ")
    chosen.nth(1).wait_for()
    assert chosen.count() == 2
    page.mouse.dblclick(*_middle(days.nth(20)))
    chosen.first.wait_for(state="detached")
    assert chosen.count() == 0


def test_a_hostile_name_is_shown_as_it_is_and_does_nothing(pages: Path, opened: Any) -> None:
    page = opened(pages / "sales.html")
    assert page.title() == "Sales on 6 Sep 2024 · Rainbow Workbench"
    assert page.locator("svg text", has_text="<script>document.title").count() >= 2
    assert page.locator("#customer_ranking bdi", has_text="{{ 7*7 }}").count() >= 1
    assert page.locator("img").count() == 0
    page.locator("#top_sellers svg .mark-rect path").nth(7).hover()
    assert "<script>" in page.locator("#vg-tooltip-element").inner_text()
    assert page.title() == "Sales on 6 Sep 2024 · Rainbow Workbench"


def test_a_page_is_never_wider_than_its_screen_and_cuts_no_label(pages: Path, opened: Any) -> None:
    page = opened(pages / "sales.html")
    for width in (1280, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(
            "[...document.querySelectorAll('figure svg')].every(svg => svg.clientWidth >= svg.parentElement.clientWidth - 24)"
        )
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(_LABELS_OUTSIDE) == []


def test_light_and_dark_follow_the_reader_and_the_button(pages: Path, opened: Any) -> None:
    page = opened(pages / "sales.html", color_scheme="dark")
    ground, bar = "getComputedStyle(document.body).backgroundColor", f"getComputedStyle(document.querySelector('{BARS}')).fill"
    dark = page.evaluate(f"[{ground}, {bar}]")
    page.get_by_role("button", name="Switch between light and dark").click()
    light = page.evaluate(f"[{ground}, {bar}]")
    assert dark == ["rgb(15, 20, 27)", "rgb(86, 180, 233)"]
    assert light == ["rgb(245, 246, 248)", "rgb(0, 114, 178)"]


def test_the_contents_lead_to_every_section(pages: Path, opened: Any) -> None:
    page = opened(pages / "sales.html")
    links = page.eval_on_selector_all("nav a", "all => all.map(link => link.getAttribute('href'))")
    assert links == [f"#{name}" for name in (*NAMES, "checks")]
    assert all(page.locator(f"section{link}").count() == 1 for link in links)


def test_no_serious_accessibility_fault_is_found(pages: Path, opened: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # both widths and both grounds
    for name, look in product(("sales.html", "notebook.html"), ("light", "phone-dark")):
        page = opened(pages / name, bypass_csp=True, **LOOKS[look])
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("look", LOOKS)
def test_a_picture_of_each_look_is_kept(pages: Path, opened: Any, look: str) -> None:
    picture = pages / "pictures" / f"sales-{look}.png"
    opened(pages / "sales.html", **LOOKS[look]).screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 100_000


def test_a_page_is_printed_whole(pages: Path, browser: Any) -> None:
    pdf = print_page(pages / "sales.html")
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF-")
    assert 100_000 < len(content) < 3_000_000
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") + content.count(b"/Type /Page/") > 4


def test_a_notebooks_page_draws_its_chart_beside_its_code(pages: Path, opened: Any) -> None:
    page = opened(pages / "notebook.html")
    assert page.locator("figure[data-drawn=yes]").count() == 1
    assert "charts.top_sellers(partition_date)" in page.locator("main").inner_text()
