"""The catalogue in a browser without a network: all is drawn, leads where it says, can be reached by keys, and hostile text is inert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from rainbow.checks import Check
from rainbow.errors import CheckError, DataError
from rainbow.partitions.assets import assets
from rainbow.partitions.catalogue import Catalogue, gather
from rainbow.partitions.ledger import Ledger
from rainbow.reports import catalogue as pages_of
from rainbow.settings import settings
from tests import serving_rows
from tests.ledger_rows import Days

pytestmark = pytest.mark.browser

LAST = date(2026, 3, 20)
RECENT, ALL = 30, 45
HOSTILE = serving_rows.HOSTILE_NAMES
LOOKS = [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Catalogue]]:
    """The pages of a bad month: days that failed in a check and in a step, late code, days without a run; with hostile texts."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAINBOW_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        settings.cache_clear()
        ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.sqlite'}")
        days = [LAST - timedelta(days=n) for n in reversed(range(ALL))]
        lived = Days(ledger, code=lambda a, day: "of then" if a.name == "dim_products" and day < days[20] else a.code_version)
        passed = [Check(f"not_null_{name}", name, True) for name in assets()]
        lived.live([day for day in days[:-3] if day != days[25]], checks=passed)
        broken = [Check(name, "fact_sales", False, name, "error", 40, tuple({name: text} for text in HOSTILE)) for name in HOSTILE]
        lived.fail(days[-3], "validate", CheckError(HOSTILE[0]), checks=broken)
        lived.live([days[-2]], checks=[Check("row_count", "lake/orders", False, HOSTILE[0], "warning", 1)])
        lived.fail(days[-1], "load", DataError(" ".join(HOSTILE)))
        for day in days:
            (folder / str(day)).mkdir()
            for name in ("extract", "load", "transform", "validate", "publish", "sales"):
                (folder / str(day) / f"{name}.html").write_text(f"<title>{name} of {day}</title>", encoding="utf-8")
        found = replace(gather(ledger), recent=RECENT)
        pages_of.write(found, folder)
        yield folder, found
    settings.cache_clear()


def test_the_grid_has_a_cell_for_each_day_and_asset_in_the_colour_of_its_state(shown: tuple[Path, Catalogue], opened: Any) -> None:
    folder, catalogue = shown
    page = opened(folder / "index.html")
    grid = "[aria-label='The grid of dates by assets'] td a"
    assert page.locator(grid).count() == RECENT * (len(assets()) + 1)
    classes = page.eval_on_selector_all(
        "[aria-label='The grid of dates by assets'] tr:not(.rw-all) td a", "all => all.map(a => a.className)"
    )
    wanted = Counter(f"rw-{catalogue.status(name, day).state}" for name in assets() for day in catalogue.days[-RECENT:])
    assert Counter(classes) == wanted
    assert set(wanted) == {"rw-done", "rw-failed", "rw-stale", "rw-missing"}
    marks = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.rw-grid td a')].map(a => [a.className, getComputedStyle(a, '::before').content]))"
    )
    assert len(set(marks.values())) == len(marks) == 4


def test_every_link_leads_to_a_file_that_is_there(shown: tuple[Path, Catalogue], opened: Any) -> None:
    folder, _ = shown
    for path in (folder / "index.html", folder / "assets" / "fact_sales.html", next((folder / "months").iterdir())):
        page = opened(path)
        urls = page.eval_on_selector_all(
            "a[href]", "all => all.map(a => (a.href.baseVal ? new URL(a.href.baseVal, location).href : a.href))"
        )
        places = {url.partition("#")[0].removeprefix("file://") for url in urls}
        assert len(places) > 10
        assert [place for place in places if not Path(place).exists()] == []


def test_the_lineage_has_every_asset_and_a_click_opens_its_page(shown: tuple[Path, Catalogue], opened: Any) -> None:
    folder, catalogue = shown
    page = opened(folder / "index.html")
    assert page.locator("svg.rw-lineage a.rw-node").count() == len(assets())
    page.locator("svg.rw-lineage a.rw-node", has_text="fact_sales").hover()
    assert page.locator(".rw-edge.rw-on").count() > 15
    page.locator("svg.rw-lineage a.rw-node", has_text="fact_sales").click()
    page.wait_for_selector("html[data-charts=done]")
    assert page.locator("h1").inner_text() == "fact_sales"
    text = page.locator("main").inner_text()
    for told in ("order_detail_id", "raw/orderdetails", "batch/top_sellers", "rows at fault", "transform notebook"):
        assert told in text
    assert page.locator("#columns ~ div tbody tr").count() == len(catalogue.assets["fact_sales"].columns)
    page.get_by_role("link", name="Rainbow Workbench").click()
    assert f"Of {ALL} days, 2 have failed" in page.locator("h1").inner_text()


def test_hostile_texts_are_shown_as_they_are_and_do_nothing(shown: tuple[Path, Catalogue], opened: Any) -> None:
    folder, _ = shown
    for name in ("index.html", "assets/fact_sales.html", "assets/raw-orders.html"):
        page = opened(folder / name)
        assert page.title().endswith("· Rainbow Workbench")
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 2
        assert "<script>" in page.locator("main").inner_text()


def test_hostile_names_of_assets_and_columns_are_text(shown: tuple[Path, Catalogue], opened: Any, tmp_path: Path) -> None:
    _, catalogue = shown
    entry = catalogue.assets["lake/orders"]
    names = [f"{text}/{text}" for text in HOSTILE]
    hostile = {
        name: replace(
            entry,
            name=name,
            group=name,
            description=name,
            upstream=tuple(names[:n]),
            columns=(replace(entry.columns[0], name=name, type=name, description=name),),
        )
        for n, name in enumerate(names)
    }
    pages_of.write(replace(catalogue, assets=hostile, troubles=(), failures=(), warnings=()), tmp_path)
    page = opened(tmp_path / "index.html")
    assert page.locator("svg.rw-lineage a.rw-node").count() == len(names)
    page.locator("svg.rw-lineage a.rw-node").nth(2).click()
    page.wait_for_selector("html[data-charts=done]")
    assert page.locator("h1").inner_text().split() == names[2].split()
    assert page.locator("img").count() == 0


def test_keys_reach_everything(shown: tuple[Path, Catalogue], opened: Any) -> None:
    folder, _ = shown
    page = opened(folder / "index.html")
    page.locator("[aria-label='The grid of dates by assets'] tr:not(.rw-all) td a.rw-failed").first.focus()
    focused = "document.activeElement.title"
    assert page.evaluate(focused).startswith(f"raw/brands {LAST} failed")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) == f"raw/brands {LAST - timedelta(days=1)} done"
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == f"lake/orderdetails {LAST - timedelta(days=1)} done"
    page.keyboard.press("Enter")
    page.wait_for_url("**/extract.html")


def test_no_page_is_wider_than_its_screen(shown: tuple[Path, Catalogue], opened: Any) -> None:
    folder, _ = shown
    for name in ("index.html", "assets/fact_sales.html", "assets/report-sales.html", "months/2026-02.html"):
        page = opened(folder / name)
        for width in (1440, 1280, 768, 390, 320):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") == width
        page.emulate_media(media="print")
        assert page.locator("main").is_visible()


def test_the_grid_begins_at_its_newest_day(shown: tuple[Path, Catalogue], opened: Any) -> None:
    page = opened(shown[0] / "index.html", viewport={"width": 390, "height": 844})
    newest = page.locator("[aria-label='The grid of dates by assets'] tbody tr:first-child td:last-child").first.bounding_box()
    assert 0 < newest["x"] < 390


@pytest.mark.parametrize("name", ["index.html", "assets/fact_sales.html", "months/2026-02.html"])
def test_axe_finds_no_fault(shown: tuple[Path, Catalogue], opened: Any, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for look in LOOKS:
        found = Axe().run(opened(shown[0] / name, **look)).response["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"], fault["nodes"][0]["failureSummary"]) for fault in found] == []


def test_the_pages_are_small(shown: tuple[Path, Catalogue]) -> None:
    assert max(path.stat().st_size for path in shown[0].rglob("*.html")) < 500_000
