"""dbt's generic tests of our own: each passes over a sound history, fails on a planted fault, and shows the rows at fault."""

from __future__ import annotations

from typing import Any

import pytest

from rainbow.warehouse import dbt, project, rebuild
from rainbow.warehouse.sql import rows
from rainbow.warehouse.transform import run_tests, transform
from tests.integration.history import MEMBERS, History, forget
from tests.integration.small_shop import BEFORE, DAY_1, DAY_2, DAY_3, DAY_4, at

pytestmark = pytest.mark.services

OF = {f"dim_{table}": f"{table.removesuffix('s')}_id" for table in MEMBERS}


@pytest.fixture(scope="module")
def sound(made_warehouse: Any) -> History:
    """A warehouse whose members come, change, go, return, and change within an instant; each test leaves it as it was."""
    forget(made_warehouse, "raw", "staging", "warehouse")
    history = History(made_warehouse)
    history.members(BEFORE).sale(1, at(DAY_1)).sale(2, at(DAY_2), promotion_id=1)
    for table in MEMBERS:
        history.see(table, 1, at(DAY_2), name="changed")
        # 2 is deleted for good, 3 returns, 4 returns in the instant of its delete, 5 is deleted in the instant in which it changes
        for key in (2, 3, 4, 5):
            history.see(table, key, at(DAY_1)).see(table, key, at(DAY_3), deleted=True)
    history.run()
    for table in MEMBERS:
        history.see(table, 3, at(DAY_4)).see(table, 4, at(DAY_3)).see(table, 5, at(DAY_3), name="last words")
    history.run()
    for table in MEMBERS:
        history.see(table, 5, at(DAY_3), deleted=True).see(table, 5, at(DAY_3, 13), deleted=True)
    return history.run().check()


def faults(history: History, test: str, model: str) -> list[dict[str, Any]]:
    """The rows that a test of a model returns."""
    (found,) = (s for s in project.statements() or () if s.kind == "test" and s.asset == model and s.name.startswith(test))
    return [dict(row.items()) for row in rows(history.client, found.sql)]


def test_a_sound_history_passes(sound: History) -> None:
    assert [check for check in run_tests(client=sound.client) if not check.passed] == []


@pytest.mark.parametrize(
    ("test", "damage", "at_fault"),
    [
        ("no_gaps", "delete from {t} where {id} = 1 and not is_current", [(1, "does not begin when the member was first seen")]),
        ("no_gaps", "delete from {t} where {id} = 1", [(1, "has no version")]),
        ("no_gaps", "delete from {t} where {id} = 2", [(2, "has no version")]),
        ("no_gaps", "delete from {t} where {id} = 1 and is_current", [(1, "ends and nothing was deleted")]),
        ("no_gaps", "delete from {t} where {id} = 3 and is_current", [(3, "ends though the member was seen again")]),
        (
            "no_gaps",
            "update {t} set valid_to_at = timestamp_sub(valid_to_at, interval 1 microsecond) where {id} = 1 and not is_current",
            [(1, "ends and nothing was deleted")],
        ),
        (
            "no_gaps",
            "update {t} set valid_to_at = timestamp_add(valid_to_at, interval 1 microsecond) where {id} = 1 and not is_current",
            [(1, "overlaps the next")],
        ),
        (
            "no_gaps",
            "update {t} set valid_from_at = timestamp_sub(valid_from_at, interval 1 hour) where {id} = 2",
            [(2, "does not begin when the member was first seen")],
        ),
        ("no_gaps", "update {t} set is_current = false where {id} = 1", [(1, "is_current does not say whether it ends")]),
        ("one_current", "insert into {t} select * from {t} where {id} = 1", [(1, "more than one current version")]),
        ("one_current", "update {t} set is_current = false where {id} = 1", [(1, "lives, and has no current version")]),
        ("one_current", "delete from {t} where {id} in (1, 4)", [(1, "lives, and has no current version"), (4, "lives, and has no current version")]),
        ("one_current", "update {t} set is_current = true where {id} = 2", [(2, "current, and deleted")]),
        ("one_current", "update {t} set {id} = 999 where {id} = 1 and is_current", [(1, "lives, and has no current version"), (999, "current, and never seen")]),
        ("one_current", "insert into {t} select * from {t} where {id} = -1", [(-1, "more than one current version")]),
    ],
)  # fmt: skip
def test_a_fault_in_a_dimension_is_found_and_its_rows_shown(sound: History, test: str, damage: str, at_fault: list[Any]) -> None:
    for model, member in OF.items():
        rows(sound.client, damage.format(t=f"warehouse.{model}", id=member))
    try:
        for model, member in OF.items():
            found = faults(sound, test, model)
            assert sorted({(row[member], row["fault"]) for row in found}) == at_fault, model
    finally:
        rebuild.request(sound.client, list(OF))
        transform(client=sound.client)


@pytest.mark.parametrize(
    ("damage", "here", "there"),
    [
        ("delete from warehouse.fact_sales where order_detail_id = 2", 21, 42),
        ("insert into warehouse.fact_sales select * from warehouse.fact_sales", 84, 42),
        ("update warehouse.fact_sales set extended_sales_amount = 21.01 where order_detail_id = 1", 42.01, 42),
        ("delete from warehouse.fact_sales where true", None, 42),
    ],
)
def test_sums_that_differ_are_shown_side_by_side(sound: History, damage: str, here: float | None, there: float) -> None:
    rows(sound.client, damage)
    try:
        (row,) = faults(sound, "equal_sums", "fact_sales")
        assert (row["extended_sales_amount"] and float(row["extended_sales_amount"]), float(row["expected_extended_sales_amount"])) == (
            here,
            there,
        )
    finally:
        rebuild.request(sound.client, ["fact_sales"])
        transform(client=sound.client)


@pytest.mark.parametrize("test", ["no_gaps_or_overlaps", "one_current_row"])
def test_without_observations_only_the_versions_are_looked_at(sound: History, test: str) -> None:
    made = dbt.invoke("compile", "--inline", f"{{{{ test_{test}(ref('dim_products'), 'product_id') }}}}")
    sql = made.result.results[0].node.compiled_code
    assert "stg_products" not in sql
    assert rows(sound.client, sql) == []


def test_a_failing_check_names_the_first_row_at_fault(sound: History) -> None:
    rows(sound.client, "update warehouse.dim_products set is_current = true where product_id = 2")
    try:
        failed = {check.name.partition("_dim_")[0]: check for check in run_tests(client=sound.client) if not check.passed}
        assert failed.keys() == {"no_gaps_or_overlaps", "one_current_row"}
        assert failed["one_current_row"].failing == 1
        assert failed["one_current_row"].sample == ({"product_id": 2, "current_rows": 1, "fault": "current, and deleted"},)
        assert "product_id 2, current_rows 1, fault current, and deleted" in failed["one_current_row"].detail
    finally:
        rebuild.request(sound.client, ["dim_products"])
        transform(client=sound.client)
