"""The validate notebook shows a person the invariants with counts, the rows at fault, and the history of changed products."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from rainbow import batch, reports
from rainbow.charts.elements import Chart, Fragment
from rainbow.checks import Check
from rainbow.errors import CheckError
from rainbow.settings import PROJECT_ROOT
from rainbow.warehouse.sql import rows
from rainbow.warehouse.transform import run_tests
from tests.integration.history import History
from tests.integration.small_shop import BEFORE, DAY_1, DAY_2, DAY_3, at, days

pytestmark = pytest.mark.services

LONG = "Trà ô long hảo hạng " * 20


@pytest.fixture
def history(warehouse: Any) -> History:
    return History(warehouse)


def lived(history: History) -> History:
    """Two products that change on the second day, one of them twice in an instant, and one that goes; sales of both days."""
    history.members(BEFORE).see("products", 2, BEFORE, name=LONG).see("products", 3, BEFORE).see("products", 4, BEFORE)
    history.sale(1, at(DAY_1)).sale(2, at(DAY_2)).sale(3, at(DAY_2), product_id=99)
    history.see("products", 1, at(DAY_2), price="12.25").see("categories", 1, at(DAY_2), name="Coffee")
    history.see("products", 3, at(DAY_2, 13), deleted=True).run()
    history.see("products", 2, at(DAY_2), name=LONG, review_count=3).run()
    return history.see("products", 2, at(DAY_2), name="<script>", review_count=4).run().check()


def execute(folder: Path, day: date) -> dict[str, Any]:
    """The notebook as a run executes it; its path is in ``folder``."""
    from ploomber_engine.execute import execute_notebook

    source = PROJECT_ROOT / "notebooks" / "batch" / "validate.ipynb"
    try:
        execute_notebook(str(source), str(folder / source.name), parameters={"partition_date": str(day)}, progress_bar=False)
    finally:
        made: dict[str, Any] = json.loads((folder / source.name).read_text())
    return made


def shown(made: dict[str, Any], mime: str = "text/plain") -> str:
    outputs = [out for cell in made["cells"] for out in cell.get("outputs", ())]
    return "\n".join("".join(out["data"].get(mime, "")) for out in outputs if "data" in out)


def test_the_notebook_shows_counts_sums_and_what_changed(history: History, tmp_path: Path) -> None:
    lived(history)
    text = shown(execute(tmp_path, DAY_2))
    assert "dim_products\t4\t9\t3\t1\t0\t0" in text
    assert "fact_sales\t2\t4\t42.00\t2.00\t1\t0\t1\t0\t0" in text
    assert "the source\t2\t4\t42.00\t2.00" in text
    assert "Oolong\t2 Sep 2024 12:00:00\tprice\t10.5\t12.25" in text
    assert "category\tTea\tCoffee" in text
    page = reports.render_notebook(tmp_path / "validate.ipynb")
    assert "Products that changed on 2 Sep 2024" in page
    assert "<bdi>&lt;script&gt;" in page or "&lt;script&gt;</bdi>" in page


def test_a_failed_check_shows_its_rows_and_the_invariants_and_then_stops(history: History, tmp_path: Path) -> None:
    lived(history)
    rows(history.client, "delete from warehouse.dim_customers where customer_id = 1")
    rows(history.client, "update warehouse.fact_sales set sales_quantity = 7 where order_detail_id = 2")
    with pytest.raises(Exception, match=r"check .* failed: "):
        execute(tmp_path, DAY_2)
    made = json.loads((tmp_path / "validate.ipynb").read_text())
    text = shown(made)
    html = shown(made, "text/html")
    assert "dim_customers: one_current_row_dim_customers_customer_id: 1 row at fault" in html
    assert "1\t0\tlives, and has no current version" in text
    assert "fact_sales: equal_sums" in html
    assert "dim_customers\t0\t0\t0\t0\t1\t1" in text
    assert "fact_sales\t2\t9" in text
    assert "one_current_row" in reports.render_notebook(tmp_path / "validate.ipynb")


def test_the_error_of_a_failed_check_carries_all_checks(history: History) -> None:
    lived(history)
    rows(history.client, "delete from warehouse.dim_customers where customer_id = 1")
    with pytest.raises(CheckError) as error:
        batch.validate(DAY_2)
    assert len(error.value.checks) == len(run_tests(client=history.client))


def evidence_of(history: History, first: date, last: date | None = None, checks: list[Check] | None = None) -> batch.Evidence:
    return batch.evidence(days(first, last), checks or [], client=history.client)


def svg(chart: Chart | Fragment) -> str:
    assert isinstance(chart, Chart)
    drawn: str = vl_convert.vegalite_to_svg({**chart.spec, "title": chart.title}, vl_version="6.4")
    return drawn


def test_each_version_is_a_bar_up_to_the_end_of_the_partition(history: History) -> None:
    chart = evidence_of(lived(history), DAY_2).timeline()
    assert isinstance(chart, Chart)
    bars = chart.spec["datasets"]["rows"]
    assert [(bar["rank"], bar["from"][:10], bar["to"][:10], bar["role"]) for bar in bars if bar["rank"] == 3] == [
        (3, "2024-01-01", "2024-09-02", "base"),
        (3, "2024-09-02", "2024-09-03", "accent"),
    ]
    assert [row["label"] for row in chart.spec["datasets"]["names"]] == ["3 versions", "2 versions", "2 versions", "2 versions"]
    assert "3 versions" in svg(chart)
    assert LONG.strip() not in svg(chart)


def test_versions_that_lasted_no_time_have_a_mark_and_say_what_changed(history: History) -> None:
    bars = evidence_of(lived(history), DAY_2).timeline().spec["datasets"]["rows"]
    instants = [bar for bar in bars if bar["from"] == bar["to"]]
    assert instants
    assert {"reviews – → 3", "first version shown"} <= {part for bar in bars for part in bar["changed"].split("; ")}


def test_a_product_deleted_on_the_day_ends_there(history: History) -> None:
    bars = evidence_of(lived(history), DAY_2).timeline().spec["datasets"]["rows"]
    assert ("2024-09-02T13:00:00.000Z", "2 Sep 2024 13:00:00") in {(bar["to"], bar["ends"]) for bar in bars}


def test_a_day_without_changes_says_so(history: History) -> None:
    found = evidence_of(lived(history), DAY_3)
    assert isinstance(found.timeline(), Fragment)
    assert found.timeline().text == "No product changed on 3 Sep 2024: no history to draw."
    assert found.changes().text == "Nothing to list."
    assert "fact_sales\t0\t–" in found.lines().text


def test_an_empty_warehouse_shows_zeros(history: History) -> None:
    found = evidence_of(history.run(DAY_1), DAY_1)
    assert "dim_products\t0\t0\t0\t0" in found.dimensions().text
    assert isinstance(found.timeline(), Fragment)


def test_of_a_long_history_the_latest_versions_are_drawn_and_of_many_products_the_most_changed(history: History) -> None:
    for key in range(1, 12):
        for n in range(60 if key == 7 else 2):
            history.see("products", key, at(DAY_1) + timedelta(minutes=n), review_count=n)
    found = evidence_of(history.members(BEFORE).run(), DAY_1)
    names = found.timeline().spec["datasets"]["names"]
    assert [name["label"] for name in names] == ["60 versions", "3 versions", *["2 versions"] * 4]
    assert len([bar for bar in found.timeline().spec["datasets"]["rows"] if bar["rank"] == 1]) == 40


def test_a_range_of_partitions_is_named_as_one(history: History) -> None:
    found = evidence_of(lived(history), DAY_1, DAY_2)
    assert "from 1 Sep 2024 to 2 Sep 2024" in found.lines().text or "fact_sales\t3" in found.lines().text
    assert found.timeline().title == "Products that changed from 1 Sep 2024 to 2 Sep 2024"
