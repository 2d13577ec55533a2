"""What the catalogue gathers from a ledger, how it brings states down to what needs attention, and which pages it writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from rainbow.checks import Check
from rainbow.errors import CheckError, DataError
from rainbow.partitions.assets import assets
from rainbow.partitions.catalogue import Catalogue, Finding, Freshness, gather
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.state import Status
from rainbow.reports import catalogue as pages
from rainbow.reports.catalogue import words
from rainbow.reports.catalogue.places import Places
from rainbow.settings import settings
from tests.ledger_rows import Days

FIRST = date(2026, 3, 1)
ROWS = tuple({"order_detail_id": n, "name": "<script>alert(1)</script>"} for n in range(3))
BROKEN = Check("joins_the_version_of_the_day", "fact_sales", False, "Got 3 results", "error", 3, ROWS)
BAND = Check("row_count", "lake/orders", False, "12 rows; the band is 190 .. 940 rows", "warning", 1)


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # dbt compiles the models once for all tests of this home
    monkeypatch.setenv("RAINBOW_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def _days(count: int, start: date = FIRST) -> list[date]:
    return [start + timedelta(days=n) for n in range(count)]


def _told(catalogue: Catalogue) -> list[tuple[str, str, int, int]]:
    return [(one.state, one.reason, len(one.assets), len(one.days)) for one in catalogue.troubles]


def test_days_that_went_well_need_no_attention(ledger: Ledger) -> None:
    Days(ledger).live(_days(3))
    found = gather(ledger)
    assert found.troubles == ()
    assert found.following == 0
    assert words.verdict(found) == "All 3 days are done"
    assert {one.whole for one in found.freshness} == {FIRST + timedelta(days=2)}
    assert [one.group for one in found.freshness] == ["Lake", "Raw", "Dimensions", "Facts", "Batch views", "ClickHouse", "Report"]


def test_a_check_that_fails_is_told_once_and_what_waits_for_it_is_counted(ledger: Ledger) -> None:
    days = Days(ledger)
    days.live(_days(2))
    days.fail(FIRST + timedelta(days=2), "validate", CheckError("check failed"), checks=[BROKEN])
    found = gather(ledger)
    assert _told(found) == [("failed", "check joins_the_version_of_the_day failed: Got 3 results", 1, 1)]
    not_done = sum(status.state != "done" for status in found.statuses.values())
    assert found.following == not_done - 1 > 10
    assert [(one.asset, one.check.sample) for one in found.failures] == [("fact_sales", ROWS)]
    assert words.verdict(found) == "Of 3 days, 1 has failed; a check fails"


def test_a_warning_stands_apart_and_makes_nothing_fail(ledger: Ledger) -> None:
    Days(ledger).live(_days(1), checks=[BAND])
    found = gather(ledger)
    assert found.troubles == ()
    assert found.failures == ()
    assert [one.check.name for one in found.warnings] == ["row_count"]
    counted = found.partitions[FIRST]
    assert (counted.rows, counted.passed, counted.failed, counted.warned) == (10_010, 0, 0, 1)


def test_a_report_that_is_drawn_again_leaves_the_day_its_checks(ledger: Ledger) -> None:
    Days(ledger).live([FIRST], checks=[BAND, replace(BAND, passed=True)])
    partition = PartitionRange(FIRST, FIRST)
    drawn = ledger.begin(partition, f"report of {partition}")
    ledger.end(drawn)
    (found,) = gather(ledger).partitions.values()
    assert (found.passed, found.warned, found.rows > 0) == (1, 1, True)


def test_a_step_that_failed_is_told_for_all_that_it_makes(ledger: Ledger) -> None:
    days = Days(ledger)
    days.fail(FIRST, "load", DataError("rate limit"))
    days.fail(FIRST + timedelta(days=1), "load", DataError("rate limit"))
    assert _told(gather(ledger)) == [("failed", "load failed: rate limit", 10, 2)]


def test_a_day_that_no_run_has_had_is_missing_between_others(ledger: Ledger) -> None:
    days = Days(ledger)
    days.live([FIRST, FIRST + timedelta(days=3)])
    found = gather(ledger)
    assert found.days == tuple(_days(4))
    assert _told(found) == [("missing", "never run", len(assets()), 2)]
    assert found.status("fact_sales", FIRST + timedelta(days=1)).state == "missing"
    assert words.verdict(found) == "Of 4 days, 2 are missing"


def test_changed_code_is_one_trouble_for_all_its_days_and_not_for_what_follows(ledger: Ledger) -> None:
    Days(
        ledger,
        code=lambda asset, day: "of then" if asset.name == "dim_products" and day < FIRST + timedelta(days=3) else asset.code_version,
    ).live(_days(5))
    found = gather(ledger)
    assert _told(found) == [("stale", "code changed", 1, 3)]
    assert words.span(found.troubles[0].days) == "3 days, 1 Mar to 3 Mar 2026"
    assert words.command(found.troubles[0]) == "rainbow backfill 2026-03-01 2026-03-03 --only stale"


def test_the_columns_are_those_of_the_tables_and_of_the_models(ledger: Ledger) -> None:
    found = gather(ledger).assets
    assert {c.name: c.type for c in found["lake/products"].columns}["price"] == "numeric(18,4)"
    assert {c.name: c.description for c in found["raw/orders"].columns}["customer_id"] == "Key of customers."
    assert found["olap/total_sales"].columns == found["batch/total_sales"].columns
    assert {c.name: c.type for c in found["fact_sales"].columns}["ordered_at"] == "timestamp"
    assert "fact_sales" in found["dim_products"].downstream


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        (None, "no whole partition yet"),
        (date(2026, 3, 9), "up to yesterday"),
        (date(2026, 3, 8), "a day behind yesterday"),
        (date(2023, 3, 9), "1,096 days behind yesterday"),
    ],
)
def test_freshness_in_words(whole: date | None, said: str) -> None:
    assert words.behind(Freshness("Lake", 10, "done", whole), date(2026, 3, 9)) == said


def test_a_cell_leads_to_the_notebook_that_made_it_and_else_to_the_asset(ledger: Ledger, tmp_path: Path) -> None:
    Days(ledger).live(_days(2))
    folder = tmp_path / "reports"
    (folder / str(FIRST)).mkdir(parents=True)
    for name in ("transform.html", "publish.ipynb", "sales.html"):
        (folder / str(FIRST) / name).touch()
    found = gather(ledger)
    places = Places(folder, found)
    failing = Places(folder, replace(found, failures=(Finding("fact_sales", FIRST, BROKEN),)))
    assert failing.cell("fact_sales", FIRST, Status("failed", ("check",))) == "assets/fact_sales.html#failing"

    def leads(name: str, day: date) -> str:
        return places.cell(name, day, found.status(name, day))

    assert leads("fact_sales", FIRST) == "2026-03-01/transform.html"
    assert leads("olap/total_sales", FIRST) == "2026-03-01/publish.ipynb"
    assert leads("report/sales", FIRST) == "2026-03-01/sales.html"
    assert leads("lake/orders", FIRST) == "assets/lake-orders.html"
    assert leads("fact_sales", FIRST + timedelta(days=1)) == "assets/fact_sales.html"
    assert places.within().report(FIRST) == "../2026-03-01/sales.html"


def test_days_before_the_newest_have_a_page_a_month(ledger: Ledger, tmp_path: Path) -> None:
    Days(ledger).live(_days(40, date(2026, 2, 1)))
    found = replace(gather(ledger), recent=5)
    index = pages.write(found, tmp_path).read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "months").iterdir()) == ["2026-02.html", "2026-03.html"]
    assert 'href="months/2026-02.html"' in index
    assert 'id="2026-03-12"' in index
    assert 'id="2026-03-07"' not in index
    assert 'id="2026-03-07"' in (tmp_path / "months" / "2026-03.html").read_text(encoding="utf-8")


def test_only_pages_that_say_something_else_are_written_again(ledger: Ledger, tmp_path: Path) -> None:
    days = Days(ledger)
    days.live(_days(2))
    pages.write(replace(gather(ledger), recent=1), tmp_path)
    before = _inodes(tmp_path)
    assert "months/2026-03.html" in before
    pages.write(replace(gather(ledger), recent=1), tmp_path)
    assert {path for path, inode in _inodes(tmp_path).items() if inode != before[path]} <= {"index.html"}
    days.ledger.record_checks(ledger.runs(1)[0].run, FIRST, [BROKEN])
    pages.write(replace(gather(ledger), recent=1), tmp_path)
    changed = {path for path, inode in _inodes(tmp_path).items() if inode != before[path]}
    assert {"assets/fact_sales.html", "months/2026-03.html"} <= changed
    assert "assets/lake-orders.html" not in changed


@pytest.mark.soak
def test_three_years_of_days_are_written_fast_and_small(ledger: Ledger, tmp_path: Path) -> None:
    Days(ledger).live(_days(1095, date(2023, 3, 1)))
    pages.write(gather(ledger), tmp_path)
    began = process_time()
    index = pages.write(gather(ledger), tmp_path)
    assert process_time() - began < 3
    assert index.stat().st_size < 1_000_000


def _inodes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_ino for path in folder.rglob("*.html")}


def test_before_any_run_the_page_says_what_to_do(ledger: Ledger, tmp_path: Path) -> None:
    html = pages.write(gather(ledger), tmp_path).read_text(encoding="utf-8")
    assert "Nothing has been run yet" in html
    assert "rainbow run DAY" in html
    assert html.count('<a class="rw-node') == len(assets())


def test_what_the_ledger_says_is_text_on_every_page(ledger: Ledger, tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    days = Days(ledger)
    days.fail(FIRST, "validate", CheckError(script), checks=[replace(BROKEN, name=script, detail=f'"{script}')])
    days.fail(FIRST + timedelta(days=1), "extract", DataError(f"'\">{script}"))
    pages.write(replace(gather(ledger), recent=1), tmp_path)
    written = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")]
    assert len(written) == 1 + len(assets()) + 1
    assert all(script not in html for html in written)
    assert any("&lt;script&gt;alert(1)" in html for html in written)


def test_a_page_names_no_other_place_and_lets_only_its_own_scripts_run(ledger: Ledger, tmp_path: Path) -> None:
    Days(ledger).live(_days(1))
    html = pages.write(gather(ledger), tmp_path).read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", html)
    policy: Any = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy[1].count("sha256-") == 2
    assert "unsafe-inline&#39; &#39;" not in policy[1]
