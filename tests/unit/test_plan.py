"""Plans and states: what a ledger says is to be done, for each cause by itself, and that nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.batch.materialize import settle, settle_report
from rainbow.checks import Check
from rainbow.errors import RainbowError
from rainbow.partitions import assets as catalogue
from rainbow.partitions import ledger as keeping
from rainbow.partitions import state as deciding
from rainbow.partitions.assets import REPORT, STEPS, assets, downstream, made_by, select, upstream
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.plan import Plan, make_plan
from rainbow.partitions.state import states
from rainbow.settings import settings

DAYS = PartitionRange(date(2024, 9, 1), date(2024, 9, 4))
FIRST, SECOND, THIRD, LAST = DAYS


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which dbt's project is compiled; that takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("RAINBOW_HOME", str(home))
        settings.cache_clear()
        assets()
        yield home
        patch.undo()
        settings.cache_clear()


@pytest.fixture
def ledger(compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("RAINBOW_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.sqlite")
    settings.cache_clear()
    yield Ledger()
    monkeypatch.undo()
    settings.cache_clear()


def make(ledger: Ledger, days: PartitionRange, *, steps: tuple[str, ...] = STEPS, lake: str = "") -> None:
    """What a run of these days notes when all is well; ``lake`` makes the lake's content another."""
    run = ledger.begin(days, f"run of {days}")
    for step in steps:
        with ledger.step(run, step, days):
            if step == "report":
                settle_report(run, REPORT, days)
            elif step == "publish":
                # what is published is known for all days
                content = {(one.name, day): f"{day} {lake if day in days else ''}" for one in made_by(step) for day in DAYS}
                settle(run, step, days, whole=True, content=content)
            elif step != "validate":
                content = {(one.name, day): f"{day} {lake}" for one in made_by(step) if not one.upstream for day in days}
                settle(run, step, days, whole=step == "transform", content=content)
    ledger.end(run)


def causes(plan: Plan, day: date) -> dict[str, str]:
    """What is planned for a day of its own accord, with the reasons."""
    return {one.asset: "; ".join(one.reasons) for one in plan.of(day) if one.kind != "upstream"}


def test_what_was_never_made_is_missing_and_needs_every_step(ledger: Ledger) -> None:
    plan = make_plan(DAYS)
    assert plan.days == list(DAYS)
    assert {one.kind for one in plan.planned} == {"missing"}
    assert plan.steps(FIRST) == STEPS
    assert len(plan.planned) == 4 * len(assets())


def test_what_is_done_needs_nothing(ledger: Ledger) -> None:
    for day in DAYS:
        make(ledger, PartitionRange(day, day))
    assert not make_plan(DAYS)
    assert {status.state for status in states().values()} == {"done"}


def test_one_run_for_all_days_leaves_as_little_to_do_as_a_run_a_day(ledger: Ledger) -> None:
    make(ledger, DAYS)
    assert not make_plan(DAYS)


def test_other_code_makes_all_days_stale_and_what_is_made_from_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    make(ledger, DAYS)
    changed(monkeypatch, "dim_customers")
    plan = make_plan(DAYS)
    assert [causes(plan, day) for day in DAYS] == [{"dim_customers": "code changed"}] * 4
    assert {one.asset for one in plan.of(FIRST)} == {"dim_customers"} | downstream(["dim_customers"])
    assert plan.steps(FIRST) == ("transform", "validate", "publish", "report")
    make(ledger, PartitionRange(FIRST, FIRST), steps=("transform", "validate", "publish"))
    assert not make_plan(DAYS, selection=["dim_customers+"])


def changed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Another code for an asset, wherever assets are asked for."""
    listed = {n: replace(one, code_version="another") if n == name else one for n, one in assets().items()}
    monkeypatch.setattr(catalogue, "_assets", lambda *_: listed)


def test_other_data_in_the_lake_make_what_is_made_from_them_stale_and_name_it(ledger: Ledger) -> None:
    make(ledger, DAYS)
    make(ledger, PartitionRange(SECOND, SECOND), steps=("extract",), lake="more")
    plan = make_plan(DAYS, only=["stale"])
    assert causes(plan, SECOND)["raw/orders"] == "upstream data changed: lake/orders"
    assert "lake/orders" not in causes(plan, SECOND)
    assert plan.steps(SECOND) == ("load", "transform", "validate", "publish", "report")
    assert not plan.of(FIRST)
    assert [(one.asset, one.reasons) for one in plan.of(LAST)] == [(REPORT, ("shows 2024-09-02",))]


def test_other_published_figures_make_that_days_and_later_reports_stale(ledger: Ledger) -> None:
    make(ledger, DAYS)
    make(ledger, PartitionRange(THIRD, THIRD), steps=("publish",), lake="other figures")
    found = states()
    assert [found[REPORT, day].state for day in DAYS] == ["done", "done", "stale", "stale"]
    assert "upstream data changed: olap/total_sales" in found[REPORT, LAST].reasons
    make(ledger, PartitionRange(THIRD, LAST), steps=("report",))
    assert not make_plan(DAYS)


def test_late_rows_in_the_source_are_a_reason_and_counted(ledger: Ledger) -> None:
    make(ledger, DAYS)
    plan = make_plan(DAYS, late={("lake/orders", SECOND): 1200, ("lake/brands", LAST): 1})
    assert causes(plan, SECOND) == {"lake/orders": "1,200 late rows in the source"}
    assert causes(plan, LAST) == {"lake/brands": "1 late row in the source"}


def test_a_day_that_was_run_before_it_had_ended_is_stale(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime.combine(LAST, datetime.min.time(), UTC) + timedelta(hours=12)
    monkeypatch.setattr(keeping, "_now", lambda: noon.replace(tzinfo=None))
    make(ledger, DAYS)
    monkeypatch.undo()
    found = states(ledger=ledger)
    assert found["lake/orders", THIRD].state == "done"
    assert found["lake/orders", LAST].reasons == ("made before the day had ended",)


def test_a_failed_step_is_what_failed_and_what_follows_is_missing(ledger: Ledger) -> None:
    make(ledger, PartitionRange(FIRST, FIRST))
    make(ledger, PartitionRange(SECOND, SECOND), steps=("extract",))
    run = ledger.begin(PartitionRange(SECOND, SECOND), "run")
    with pytest.raises(RainbowError), ledger.step(run, "load", PartitionRange(SECOND, SECOND)):
        raise RainbowError("the lake is dry")
    ledger.end(run, "the lake is dry")
    plan = make_plan(DAYS, only=["failed"])
    assert plan.days == [SECOND]
    assert causes(plan, SECOND)["raw/orders"] == "load failed: the lake is dry"
    assert "lake/orders" not in {one.asset for one in plan.of(SECOND)}
    make(ledger, PartitionRange(SECOND, SECOND), steps=("load",))
    assert not make_plan(DAYS, only=["failed"])


def test_a_failed_check_of_severity_error_is_a_failure_and_a_warning_is_not(ledger: Ledger) -> None:
    make(ledger, DAYS)
    run = ledger.begin(DAYS, "run")
    ledger.record_checks(
        run, SECOND, [Check("unique", "fact_sales", False, "2 rows"), Check("row_count", "lake/orders", False, severity="warning")]
    )
    ledger.end(run)
    plan = make_plan(DAYS)
    assert plan.days[:1] == [SECOND]
    assert causes(plan, SECOND) == {"fact_sales": "check unique failed: 2 rows"}
    assert plan.steps(SECOND) == ("transform", "validate", "publish", "report")


def test_only_failed_takes_along_what_stands_in_its_way(ledger: Ledger) -> None:
    make(ledger, DAYS)
    run = ledger.begin(DAYS, "run")
    ledger.record_checks(run, SECOND, [Check("unique", "fact_sales", False)])
    ledger.end(run)
    late = {("lake/orderdetails", SECOND): 1, ("lake/orderdetails", THIRD): 1}
    plan = make_plan(DAYS, only=["failed"], late=late)
    assert causes(plan, SECOND).keys() == {"lake/orderdetails", "fact_sales"}
    assert not causes(plan, THIRD)


def test_what_another_run_is_at_is_left_alone_and_said(ledger: Ledger) -> None:
    run = ledger.begin(PartitionRange(FIRST, FIRST), "run")
    with ledger.step(run, "extract", PartitionRange(FIRST, FIRST)):
        plan = make_plan(DAYS)
        assert plan.under_way == (FIRST,)
        assert "lake/orders" not in {one.asset for one in plan.of(FIRST)}
        assert states(PartitionRange(FIRST, FIRST))["lake/orders", FIRST].state == "running"
    ledger.end(run)


def test_a_selection_leaves_the_rest_out_and_force_takes_what_is_done(ledger: Ledger) -> None:
    make(ledger, DAYS)
    assert not make_plan(DAYS, selection=["olap/*"])
    plan = make_plan(PartitionRange(SECOND, SECOND), selection=["olap/total_sales"], force=True)
    assert [(one.asset, one.kind) for one in plan.planned] == [("olap/total_sales", "forced")]
    assert plan.steps(SECOND) == ("validate", "publish")


def test_selections_read_as_people_write_them(compiled: Path) -> None:
    assert select(["fact_sales"]) == {"fact_sales"}
    assert select(["raw/*"]) == {f"raw/{one.name.removeprefix('raw/')}" for one in made_by("load")}
    assert select(["+fact_sales"]) == {"fact_sales"} | upstream(["fact_sales"])
    assert {"lake/orders", "dim_products"} <= upstream(["fact_sales"])
    assert select(["dim_products+, lake/brands"]) == {"dim_products", "lake/brands"} | downstream(["dim_products"])
    for wrong, meant in (("fact_sale", "fact_sales"), ("total_sales", "batch/total_sales"), ("raw/order", "raw/orders")):
        with pytest.raises(RainbowError, match=f"there is no asset {wrong}: did you mean .*{meant.rpartition('/')[2]}"):
            select([wrong])
    with pytest.raises(RainbowError, match="no kind fresh: use missing, failed, stale"):
        make_plan(DAYS, only=["fresh"])  # type: ignore[list-item]


def test_every_asset_comes_after_what_it_is_made_from_and_belongs_to_a_step(compiled: Path) -> None:
    seen: set[str] = set()
    for one in assets().values():
        assert set(one.upstream) <= seen
        assert one.step in STEPS
        assert one.description
        seen.add(one.name)
    assert upstream([REPORT]) >= {"lake/orders", "raw/orders", "fact_sales", "batch/total_sales", "olap/total_sales"}


@given(st.lists(st.tuples(st.dates(date(2024, 1, 1), date(2024, 12, 31)), st.text("ab", min_size=1)), unique_by=lambda pair: pair[0]))
def test_a_cumulative_version_tells_any_change_of_any_day(history: list[tuple[date, str]]) -> None:
    def version(days: list[tuple[date, str]]) -> str:
        digest = deciding.CumulativeVersion()
        for day, one in sorted(days):
            digest.add(day, one)
        return digest.version

    assert version(history) == version(history[::-1])
    for n, (day, one) in enumerate(history):
        assert version([*history[:n], (day, one + "c"), *history[n + 1 :]]) != version(history)
        assert version([*history[:n], *history[n + 1 :]]) != version(history)


def test_an_asset_is_as_fresh_as_its_newest_day_that_is_done(ledger: Ledger) -> None:
    make(ledger, PartitionRange(FIRST, THIRD))
    make(ledger, PartitionRange(LAST, LAST), steps=("extract",))
    found = states()
    assert str(deciding.freshness(found, REPORT, LAST)) == "2024-09-03, up to date"
    assert str(deciding.freshness(found, REPORT, LAST + timedelta(days=1))) == "2024-09-03, 1 day behind"
    assert deciding.freshness(found, "lake/orders", LAST + timedelta(days=3)) == (LAST, 2)
    assert str(deciding.freshness({}, REPORT, LAST)) == "no partition is done"
