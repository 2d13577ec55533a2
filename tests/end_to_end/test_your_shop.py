"""docs/your-shop.md, carried out word for word on a table that the demo does not have, in a copy of the project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rainbow.settings import PROJECT_ROOT
from tests.end_to_end.test_bad_week import DAYS, Week
from tests.integration.homes import home
from tests.integration.small_shop import at, open_shop, sell

pytestmark = pytest.mark.services

BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (PROJECT_ROOT / "docs" / "your-shop.md").read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def block(begins: str) -> str:
    """The block of the page whose first line begins so, without that line when it names a file."""
    (found,) = (text for _, text in BLOCKS if text.startswith(begins))
    first, rest = found.split("\n", 1)
    return rest if first.startswith(("# ", "-- ")) else found


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    with home() as made:
        yield follow(Week(made, tmp_path_factory.mktemp("copy") / "project"))


def follow(week: Week) -> Week:
    """Sections 3 to 5, and a brand table that is called otherwise, as section 1 has it."""
    project = week.project
    with week.shop() as connection:
        open_shop(connection)
        connection.execute("alter table brands rename to makers")
        connection.execute("alter table makers rename column id to maker_no")
        connection.execute("alter table makers rename column name to title")
        connection.execute("alter table makers rename column created_at to made_at")
        connection.execute("alter table makers rename column updated_at to changed_at")
        connection.execute(block("create view brands as"))
    add(project / "rainbow/source/tables.py", block("# rainbow/source/tables.py"), before=")\n\nBY_NAME")
    add(project / "rainbow/olap/published.py", block("# rainbow/olap/published.py"), before=")\nDIMENSIONS")
    add(project / "dbt/models/staging/sources.yml", block("# dbt/models/staging/sources.yml"), before="      - name: lake_files")
    for path in ("dbt/models/staging/stg.yml", "dbt/models/batch_views/batch_views.yml"):
        (project / path).write_text((project / path).read_text() + block(f"# {path}"))
    for path in ("dbt/models/staging/stg_reviews.sql", "dbt/models/batch_views/reviews_a_day.sql"):
        (project / path).write_text(block(f"-- {path}"))
    with week.shop() as connection:
        connection.execute(
            "create table reviews (id bigint primary key, product_id bigint not null, stars integer not null, said text,"
            " created_at timestamptz not null, updated_at timestamptz not null)"
        )
    return week


def add(path: Path, text: str, *, before: str) -> None:
    content = path.read_text()
    assert content.count(before) == 1
    path.write_text(content.replace(before, f"{text}{before}"))


def review(connection: Any, key: int, day: int, stars: int, said: str | None = None) -> None:
    connection.execute("insert into reviews values (%s, 1, %s, %s, %s, %s)", [key, stars, said, at(DAYS[day]), at(DAYS[day])])


def write_cells(notebook: Path, code: str) -> None:
    """The dashboard's cells after its first, a line a cell."""
    found = json.loads(notebook.read_text())
    head, (own, *lines) = found["cells"][:3], code.strip().splitlines()
    assert head[2]["source"][-1] == own
    shape = {key: value for key, value in head[2].items() if key not in ("id", "source")}
    found["cells"] = head + [{**shape, "id": str(n), "source": [line]} for n, line in enumerate(lines, start=3)]
    notebook.write_text(json.dumps(found))


def test_a_table_more_goes_from_the_shop_into_the_report(week: Week) -> None:
    with week.shop() as connection:
        sell(connection, 1, at(DAYS[0]))
        review(connection, 1, 0, 5, "<script>alert(1)</script>")
    first = week.rainbow("run", str(DAYS[0]))
    assert first.returncode == 0, first.stderr
    made = week.rainbow("new", "dashboard", "reviews")
    assert made.returncode == 0, made.stderr
    assert "notebooks/dashboards/reviews.ipynb is made" in made.stdout
    as_it_is = week.rainbow("report", str(DAYS[0]))
    assert as_it_is.returncode == 0, as_it_is.stderr
    assert "Sales on 1 of the days up to" in (week.home.path / "reports" / str(DAYS[0]) / "reviews.ipynb").read_text()
    write_cells(week.project / "notebooks/dashboards/reviews.ipynb", block("# the cells of the dashboard\n"))
    with week.shop() as connection:
        sell(connection, 2, at(DAYS[1]))
        review(connection, 2, 1, 3)
        review(connection, 3, 1, 4)
    second = week.rainbow("run", str(DAYS[1]))
    assert second.returncode == 0, second.stderr
    asked = week.rainbow("query", "--on", "olap", "--format", "csv", "select * from serving.reviews_a_day order by sales_date")
    assert asked.stdout == "sales_date,reviews,stars\n2024-09-01,1,5\n2024-09-02,2,7\n"
    html = (week.home.path / "reports" / str(DAYS[1]) / "sales.html").read_text()
    assert '<section class="rw-section" id="reviews"' in html
    assert "<strong><bdi>3</bdi></strong> reviews were written up to" in html
    known = week.rainbow(
        "query", "--on", "warehouse", "--format", "csv", "select distinct brand from warehouse.dim_products where product_id = 1"
    )
    assert known.stdout == "brand\nBách Hoá\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dashboard", "Best Teas"), "is no name for a dashboard"),
        (("dashboard", "../up"), "is no name for a dashboard"),
        (("dashboard", "import"), "is no name for a dashboard"),
        (("dashboard", "total_sales"), "the name total_sales is taken"),
        (("dashboard", "extract"), "the name extract is taken"),
        (("report", "teas"), "there is no new 'report'"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_in_one_line_and_changes_nothing(week: Week, words: tuple[str, ...], said: str) -> None:
    before = (week.project / "pipeline.yaml").read_text(), sorted((week.project / "notebooks/dashboards").iterdir())
    done = week.rainbow("new", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert ((week.project / "pipeline.yaml").read_text(), sorted((week.project / "notebooks/dashboards").iterdir())) == before


def test_a_dashboard_that_fails_does_not_keep_the_others_from_the_reader(week: Week) -> None:
    assert week.rainbow("new", "dashboard", "broken").returncode == 0
    write_cells(week.project / "notebooks/dashboards/broken.ipynb", "own = charts.own(partition_date)\n1 / 0")
    done = week.rainbow("report", str(DAYS[0]))
    assert done.returncode == 1
    assert "rainbow: dashboard broken: ZeroDivisionError: division by zero; all others are in" in done.stderr
    html = (week.home.path / "reports" / str(DAYS[0]) / "sales.html").read_text()
    assert "Broken: ZeroDivisionError: division by zero" in html[: html.index("<main")]
    assert 'id="customer_ranking"' in html
    plan = week.rainbow("plan", str(DAYS[0]), "--json")
    assert "dashboard broken: ZeroDivisionError" in plan.stdout


def test_the_template_is_committed_without_outputs() -> None:
    template = PROJECT_ROOT / "rainbow" / "templates" / "dashboard.ipynb"
    nbstripout = Path(sys.executable).parent / "nbstripout"
    assert subprocess.run([nbstripout, "--verify", template], check=False).returncode == 0
