"""A bad week, as a person lives through it: a failed check, a killed process, late data, a changed model; and out of it again.

The workbench runs from a copy of the project, so that its dbt models can be changed. What the plan says is held against what was
done to the week, and the end against a week in which nothing went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rainbow.settings import PROJECT_ROOT
from tests.integration.homes import Home, home
from tests.integration.small_shop import DAY_1, at, open_shop, put, sell

pytestmark = pytest.mark.services

DAYS = [DAY_1 + timedelta(days=n) for n in range(5)]
RAINBOW = [sys.executable, "-c", "from rainbow.cli import main; main()"]
COMPARED = ["dim_products", "dim_customers", "fact_sales", "total_sales", "top_sellers", "top_products_by_category", "customer_order_total"]


class Week:
    """A workbench of its own, run from a copy of the project, and its shop."""

    def __init__(self, home: Home, project: Path) -> None:
        self.home, self.project = home, project
        project.mkdir()
        for name in ("rainbow", "dbt", "notebooks", "pipeline.yaml", "env.yaml"):
            source = PROJECT_ROOT / name
            if source.is_dir():
                shutil.copytree(source, project / name, ignore=shutil.ignore_patterns("target", "__pycache__", ".ipynb_checkpoints"))
            else:
                shutil.copy(source, project / name)
        (project / "dbt/tests/no_sale_is_above_1000.sql").write_text(
            "select order_detail_id, extended_sales_amount from {{ ref('fact_sales') }} where extended_sales_amount > 1000\n"
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAINBOW_")}
        own = {"PYTHONPATH": str(project), "RAINBOW_HOME": str(home.path), "RAINBOW_REPORTS_DIR": str(home.path / "reports")}
        self.options: dict[str, Any] = {"env": {**clean, **own}, "cwd": project}
        home.up()
        assert self.rainbow("seed", "--schema-only").returncode == 0

    @contextmanager
    def shop(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.home.url("postgres"), autocommit=True) as connection:
            yield connection

    def rainbow(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*RAINBOW, *words], capture_output=True, text=True, timeout=120, check=False, **self.options)

    def live(self, day: date, amount: str = "20.00") -> None:
        """A day of the shop: a product changes its price, and one order line is sold for ``amount``."""
        number = DAYS.index(day)
        with self.shop() as connection:
            if not number:
                open_shop(connection)
            put(connection, "products", 1, at(day, 8), price=f"{10 + number}.00")
            sell(connection, 10 + number, at(day), amount=amount)

    def plan(self, *words: str) -> dict[str, dict[str, str]]:
        """Of each planned partition, the assets that are there for a reason of their own, with kind and reasons."""
        answer = self.rainbow("plan", str(DAYS[0]), str(DAYS[-1]), "--json", *words)
        assert answer.returncode == 0, answer.stderr
        found: dict[str, dict[str, str]] = {}
        for one in json.loads(answer.stdout)["planned"]:
            listed = found.setdefault(one["partition"], {})
            if one["kind"] != "upstream" or not one["reasons"][0].startswith("made from"):
                listed[one["asset"]] = f"{one['kind']}: {'; '.join(one['reasons'])}"
        return found

    def backfill(self, *words: str, last: date = DAYS[-1]) -> subprocess.CompletedProcess[str]:
        return self.rainbow("backfill", str(DAYS[0]), str(last), *words)

    def states(self) -> set[str]:
        answer = json.loads(self.rainbow("partitions", "--json").stdout)
        return {status["state"] for day in answer for status in day["assets"].values()}

    def contents(self) -> dict[str, list[str]]:
        """Every row of what is compared, in the warehouse and in ClickHouse."""
        code = (
            "import json, sys; from rainbow.query import query\n"
            "asked = {name: ('warehouse', f'select * from warehouse.{name}') for name in sys.argv[1:]}\n"
            "asked['serving'] = ('olap', 'select * from serving.total_sales')\n"
            "print(json.dumps({name: sorted(query(*one).as_csv().splitlines()) for name, one in asked.items()}))"
        )
        answer = subprocess.run([sys.executable, "-c", code, *COMPARED], capture_output=True, text=True, check=True, **self.options)
        found: dict[str, list[str]] = json.loads(answer.stdout)
        return found


def late_order(week: Week) -> None:
    with week.shop() as connection:
        sell(connection, 99, at(DAYS[1], 20), amount="30.00")


def a_failed_check_is_planned_with_what_stands_behind_it(week: Week) -> None:
    for day in DAYS[:2]:
        week.live(day)
        assert week.backfill(last=day).returncode == 0
    week.live(DAYS[2], amount="5000.00")
    done = week.backfill(last=DAYS[2])
    assert done.returncode == 1
    assert "no_sale_is_above_1000" in done.stderr
    assert "2024-09-01" not in done.stderr
    plan = week.plan("--only", "failed")
    assert list(plan) == ["2024-09-03"]
    assert plan["2024-09-03"]["fact_sales"].startswith("failed: check no_sale_is_above_1000 failed: 1 rows at fault")


def only_failed_does_what_failed_and_takes_the_correction_along(week: Week) -> None:
    with week.shop() as connection:
        put(connection, "orderdetails", 12, at(DAYS[2], 21), amount="20.00")
    plan = week.plan("--only", "failed")
    assert list(plan) == ["2024-09-03"]
    assert plan["2024-09-03"]["lake/orderdetails"] == "stale: 1 late row in the source"
    done = week.backfill("--only", "failed")
    assert done.returncode == 0, done.stderr
    assert "2024-09-01" not in done.stdout.replace("2024-09-01 ..", "")
    assert week.plan("--only", "failed") == {}


def a_killed_run_is_planned_as_interrupted_and_done_by_only_failed(week: Week) -> None:
    week.live(DAYS[3])
    assert week.backfill(last=DAYS[3]).returncode == 0
    week.live(DAYS[4])
    process = subprocess.Popen([*RAINBOW, "backfill", str(DAYS[0]), str(DAYS[-1]), "--quiet"], **week.options)
    while not _step_runs(week, "transform"):
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    plan = week.plan()
    assert list(plan) == ["2024-09-05"]
    assert plan["2024-09-05"]["fact_sales"] == "failed: interrupted in transform: its process ended"
    assert plan["2024-09-05"]["olap/total_sales"] == "missing: never made"
    assert "raw/orders" not in plan["2024-09-05"]
    done = week.backfill("--only", "failed")
    assert done.returncode == 0, done.stderr
    assert week.states() == {"done"}


def _step_runs(week: Week, step: str) -> bool:
    import sqlite3

    with sqlite3.connect(f"file:{week.home.path / 'ledger.sqlite'}?mode=ro", uri=True) as ledger:
        return bool(ledger.execute("select 1 from steps where step = ? and status = 'running'", [step]).fetchone())


def late_data_are_planned_with_the_later_days_that_show_them(week: Week) -> None:
    late_order(week)
    plan = week.plan()
    assert plan["2024-09-02"] == {"lake/orders": "stale: 1 late row in the source", "lake/orderdetails": "stale: 1 late row in the source"}
    later = {"report/sales": "upstream: shows 2024-09-02"}
    assert {day: listed for day, listed in plan.items() if day != "2024-09-02"} == dict.fromkeys(map(str, DAYS[2:]), later)
    done = week.backfill("--only", "stale")
    assert done.returncode == 0, done.stderr
    assert "2024-09-02          2 rows" in done.stdout
    assert week.states() == {"done"}
    assert week.plan() == {}


def a_changed_model_is_made_anew_for_all_days_and_nothing_else_is(week: Week) -> None:
    model = week.project / "dbt/models/batch_views/total_sales.sql"
    model.write_text(model.read_text().replace("count(distinct order_id) as orders", "count(distinct order_id) + 0 as orders"))
    plan = week.plan("--only", "stale")
    assert plan == {str(day): {"batch/total_sales": "stale: code changed"} for day in DAYS}
    done = week.backfill("--only", "stale")
    assert done.returncode == 0, done.stderr
    assert "extract" not in done.stdout
    assert week.plan() == {}


def a_week_in_which_nothing_goes_wrong(week: Week) -> None:
    for day in DAYS:
        week.live(day)
        if day == DAYS[1]:
            late_order(week)
        if day == DAYS[2]:
            with week.shop() as connection:
                put(connection, "orderdetails", 12, at(day, 21), amount="20.00")
        assert week.rainbow("run", str(day)).returncode == 0


def test_a_bad_week_is_planned_and_mended_step_by_step_and_ends_as_a_good_one(tmp_path: Path) -> None:
    with home() as own:
        bad = Week(own, tmp_path / "bad")
        a_failed_check_is_planned_with_what_stands_behind_it(bad)
        only_failed_does_what_failed_and_takes_the_correction_along(bad)
        a_killed_run_is_planned_as_interrupted_and_done_by_only_failed(bad)
        late_data_are_planned_with_the_later_days_that_show_them(bad)
        a_changed_model_is_made_anew_for_all_days_and_nothing_else_is(bad)
        found = bad.contents()
    with home() as own:
        good = Week(own, tmp_path / "good")
        a_week_in_which_nothing_goes_wrong(good)
        assert found == good.contents()
    assert all(len(listed) > 1 for listed in found.values())
