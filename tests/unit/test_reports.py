"""rainbow/reports from notebooks made by hand: what is escaped, what stands at the top, what is linked."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rainbow.charts.elements import FRAGMENT_MIME, Chart, answer
from rainbow.checks import Check
from rainbow.errors import DataError
from rainbow.reports import render_notebook, render_report
from rainbow.reports.markup import harmless
from rainbow.settings import settings

DAY = date(2024, 9, 6)
SCRIPT = "<script>alert(1)</script>"
ABOUT = {"partition_date": "2024-09-06", "first_day": "2024-08-01", "watermark": "2024-09-05", "provisional": True, "currency": "USD"}


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("RAINBOW_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def _notebook(path: Path, *outputs: dict[str, Any], title: str = "Total sales") -> Path:
    cells = [
        {"cell_type": "markdown", "source": [f"# {title}\n", "\n", f"What it shows, {SCRIPT}"]},
        {"cell_type": "code", "source": "secret_code()", "outputs": list(outputs), "metadata": {}},
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}), encoding="utf-8")
    return path


def _shown(part: Any) -> dict[str, Any]:
    bundle = part._repr_mimebundle_()
    return {"output_type": "execute_result", "data": bundle[0] if isinstance(bundle, tuple) else bundle}


def test_a_report_shows_the_results_and_hides_the_code(tmp_path: Path) -> None:
    said = _shown(answer("{} sold most.", about=ABOUT, parts=["Nguyễn"]))
    html = render_report(DAY, [_notebook(tmp_path / "D/total_sales.ipynb", said)], [], tmp_path / "D/sales.html").read_text(
        encoding="utf-8"
    )
    assert "<strong><bdi>Nguyễn</bdi></strong> sold most." in html
    assert "secret_code" not in html
    assert 'href="#total_sales"' in html
    assert 'href="total_sales.ipynb"' in html
    assert "Complete to 5 Sep 2024" in html
    assert "provisional" in html


def test_nothing_from_a_notebook_becomes_markup(tmp_path: Path) -> None:
    chart = Chart({"datasets": {"rows": [{"name": f"</script>{SCRIPT}"}]}}, SCRIPT, f'"{SCRIPT}', note=SCRIPT)
    outputs = [
        _shown(chart),
        {"output_type": "stream", "name": "stdout", "text": SCRIPT},
        {"output_type": "execute_result", "data": {"text/html": f"<b onclick=x()>bold</b>{SCRIPT}<img src=x onerror=alert(1)>"}},
        {"output_type": "error", "ename": "ValueError", "evalue": SCRIPT, "traceback": [f"\x1b[31m{SCRIPT}\x1b[0m"]},
    ]
    notebook = _notebook(tmp_path / "total_sales.ipynb", *outputs, title=SCRIPT)
    checks = [Check(SCRIPT, SCRIPT, False, SCRIPT)]
    pages = [render_report(DAY, [notebook], checks, tmp_path / "sales.html").read_text(encoding="utf-8"), render_notebook(notebook)]
    for html in pages:
        assert SCRIPT not in html
        assert "<img src=x" not in html
        assert "onclick=x" not in html
        assert "<b>bold</b>" in html
        assert "\x1b" not in html


def test_what_failed_stands_before_the_results(tmp_path: Path) -> None:
    stopped = _notebook(
        tmp_path / "top_sellers.ipynb",
        {"output_type": "error", "ename": "DataError", "evalue": "no rows", "traceback": []},
        title="Top sellers",
    )
    checks = [
        Check("totals_equal_source", "fact_sales", False, "off by 1.00"),
        Check("names", "dim_sellers", False, severity="warning"),
        Check("keys", "dim_sellers", True),
    ]
    html = render_report(DAY, [stopped, tmp_path / "gone.ipynb"], checks, tmp_path / "sales.html").read_text(encoding="utf-8")
    top = html[: html.index("<main")]
    assert "Top sellers: DataError: no rows" in top
    assert "gone.ipynb cannot be read" in top
    assert "totals_equal_source" in top
    assert top.index("totals_equal_source") < top.index("Warnings") < top.index("names")
    assert "1 of 3 passed" in html


def test_a_page_names_no_other_place_and_lets_only_its_own_scripts_run(tmp_path: Path) -> None:
    chart = _shown(Chart({"datasets": {"rows": []}}, "Title", "In words"))
    html = render_report(DAY, [_notebook(tmp_path / "a.ipynb", chart)], [], tmp_path / "sales.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", html)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    assert len(html.encode()) < 2_000_000


def test_a_page_of_a_notebook_shows_its_code(tmp_path: Path) -> None:
    assert "secret_code()" in render_notebook(_notebook(tmp_path / "a.ipynb"))


def test_a_file_that_is_no_notebook_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.ipynb"):
        render_notebook(tmp_path / "a.ipynb")


def test_html_from_elsewhere_keeps_its_table_and_nothing_that_acts() -> None:
    html = (
        '<style>x</style><div><table border="1" onload=x><tr><td colspan=2><a href="javascript:x">1 &lt; 2</a></td></tr></table></section>'
    )
    assert harmless(html) == '<div><table><tr><td colspan="2">1 &lt; 2</td></tr></table></div>'


def test_a_page_is_replaced_whole(tmp_path: Path) -> None:
    destination = tmp_path / "sales.html"
    render_report(DAY, [], [], destination)
    render_report(DAY, [], [Check("keys", "dim_sellers", True)], destination)
    assert [path.name for path in tmp_path.iterdir()] == ["sales.html"]
    assert "dim_sellers" in destination.read_text(encoding="utf-8")


def test_a_fragment_is_known_by_its_mark() -> None:
    assert _shown(answer("Yes.", about=ABOUT))["data"][FRAGMENT_MIME]["watermark"] == "2024-09-05"
