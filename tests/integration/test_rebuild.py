"""Rebuild: whatever happened to a model of the warehouse, raw alone brings it back, from a day on or all of it, and keys stay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.errors import DataError
from rainbow.warehouse import dbt, project, rebuild
from rainbow.warehouse.sql import rows
from rainbow.warehouse.transform import transform
from tests.integration.history import MEMBERS, VIEWS, History, contents, forget
from tests.integration.small_shop import BEFORE, DAY_1, DAY_2, DAY_3, DAY_4, at
from tests.integration.test_transform_laws import FIRST, random_history
from tests.laws import examples

pytestmark = pytest.mark.services

DIMENSIONS = {f"dim_{table}": table.removesuffix("s") for table in MEMBERS}

# what a hand can do to a table; {t}: the table, {keys}: its key, {key}: a number of it, {id}: the member's or the line's id
DAMAGES = {
    "rows deleted": "delete from {t} where {key} >= (select max({key}) from {t})",
    "all rows deleted": "delete from {t} where true",
    "rows twice": "insert into {t} select * from {t}",
    "rows twice, one of them without content": "insert into {t} ({keys}) select {keys} from {t}",
}
DAMAGES_OF_A_DIMENSION = {
    "content changed": "update {t} set name = 'x' where true",
    "ranges changed": "update {t} set valid_to_at = timestamp '2100-01-01', valid_to = date '2100-01-01', is_current = true where {id} > 0",
    "versions of another member": "update {t} set {id} = 2 where {id} = 1",
    "versions of a member that raw does not know": "update {t} set {id} = 999 where {id} = 1",
    "another key": "update {t} set {key} = {key} + 1 where {id} > 0",
    "rows of members that raw does not know": "insert into {t} ({key}, {id}, valid_from, valid_to, valid_from_at, valid_to_at, is_current) values "
    "(5, 999, date '2024-09-01', date '2100-01-01', timestamp '2024-09-01', timestamp '2100-01-01', true)",
    "rows of no member": "insert into {t} ({key}, {id}) values (6, null), (7, -7)",
    "the row for unknown lost": "delete from {t} where {id} < 0",
}


@pytest.fixture
def history(warehouse: Any) -> History:
    return History(warehouse)


def lived(history: History) -> History:
    """Four days in which every member has three versions and sales, and one of each kind is deleted."""
    history.members(BEFORE)
    for table in MEMBERS:
        history.see(table, 2, at(DAY_1))
        for key, day in ((1, DAY_2), (1, DAY_4), (2, DAY_3)):
            history.see(table, key, at(day), name=f"{table} {day.day}")
        history.see(table, 3, at(DAY_1)).see(table, 3, at(DAY_3), deleted=True)
    history.see("categories", 1, at(DAY_3), name="Coffee")
    for key, day in enumerate((DAY_1, DAY_2, DAY_3, DAY_4, DAY_4), start=1):
        history.see("orders", key, at(day, 13), customer_id=1 + key % 3)
        for line in (10 * key, 10 * key + 1):
            history.see("orderdetails", line, at(day, 13), order_id=key, product_id=1 + line % 3, promotion_id=line % 2 or None)
    return history.run().check()


def damage(history: History, statement: str, model: str) -> None:
    """Do to a model's table what a statement says."""
    (made,) = (s for s in project.statements() or () if s.name == model and s.kind == "model")
    name = DIMENSIONS.get(model, "order_detail")
    table = f"{'staging' if project.models()[model].folder == 'staging' else 'warehouse'}.{model}"
    key = next(column for column in made.key if made.columns[column] == "int64") if model not in DAYS_ALONE else "sales_quantity"
    rows(history.client, statement.format(t=table, key=key, id=f"{name}_id", keys=", ".join(made.key)))


DAYS_ALONE = ("total_sales", "day_of_week_with_most_sales")


def same_tables(history: History, before: dict[str, Any]) -> set[str]:
    """Tables that are as they were."""
    return {name for name, found in contents(history.client).items() if found == before[name]}


def made_anew(history: History, *models: str, start: date | None = None) -> History:
    rebuild.request(history.client, models, start)
    return history.transform()


def test_damaged_dimensions_are_brought_back_with_their_keys(history: History) -> None:
    before = contents(lived(history).client)
    for name, statement in (DAMAGES | DAMAGES_OF_A_DIMENSION).items():
        for dimension in DIMENSIONS:
            damage(history, statement, dimension)
        assert not same_tables(history, before) & DIMENSIONS.keys(), name
        made_anew(history, *DIMENSIONS)
        assert contents(history.client) == before, name


def test_one_dimension_is_brought_back_alone(history: History) -> None:
    lived(history)
    for dimension in ("dim_products", "dim_customers"):
        damage(history, DAMAGES["all rows deleted"], dimension)
    made_anew(history, "dim_products")
    assert history.versions("customers", 1, "name") == []
    assert history.versions("products", 1, "name") != []
    made_anew(history, "dim_customers").check()


def test_a_damaged_fact_is_brought_back(history: History) -> None:
    before = contents(lived(history).client)
    for name, statement in {
        **DAMAGES,
        "content changed": "update {t} set sales_quantity = 7, product_key = -1 where order_detail_id in (10, 30)",
        "lines on another day": "update {t} set ordered_at = timestamp '2023-01-01', date_key = 20230101 where order_detail_id = 10",
        "lines that raw does not know": "insert into {t} (order_detail_id, ordered_at, sales_quantity) values (999, timestamp '2024-09-02', 1)",
        "lines of no day": "insert into {t} (order_detail_id, sales_quantity) values (998, 1)",
    }.items():
        damage(history, statement, "fact_sales")
        assert contents(history.client) != before, name
        made_anew(history, "fact_sales")
        assert contents(history.client) == before, name


def test_damaged_lines_of_the_source_are_brought_back_with_the_fact(history: History) -> None:
    lived(history)
    before = contents(history.client)
    lines = "select * from staging.sales_lines order by order_detail_id"
    whole = rows(history.client, lines)
    for name, statement in {
        **DAMAGES,
        "content changed": "update {t} set amount = 7, quantity = 7 where order_detail_id in (10, 30)",
        "lines on another day": "update {t} set ordered_on = date '2023-01-01', ordered_at = timestamp '2023-01-01' where order_detail_id = 10",
        "lines that raw does not know": "insert into {t} (order_detail_id, ordered_on, ordered_at) values (999, date '2024-09-02', timestamp '2024-09-02')",
    }.items():
        damage(history, statement, "sales_lines")
        made_anew(history, "fact_sales")
        assert rows(history.client, lines) == whole, name
        assert contents(history.client) == before, name


def test_damaged_batch_views_are_brought_back(history: History) -> None:
    before = contents(lived(history).client)
    by_day = [view for view, key in VIEWS.items() if "sales_date" in key]
    for name, statement, views in [
        *((name, statement, list(VIEWS)) for name, statement in DAMAGES.items()),
        ("content changed", "update {t} set total_sales_amount = 1 where true", list(VIEWS)),
        ("rows of other members", "update {t} set {key} = {key} + 100 where true", list(VIEWS)),
        ("rows on another day", "update {t} set sales_date = date_add(sales_date, interval 40 day) where true", by_day),
    ]:
        for view in views:
            damage(history, statement, view)
        assert not same_tables(history, before) & set(views), name
        made_anew(history, *views)
        assert contents(history.client) == before, name


def test_a_fault_that_later_days_have_built_upon_goes_with_the_model_it_came_from(history: History) -> None:
    lived(history)
    damage(history, "delete from {t} where {id} = 1 and valid_to_at < timestamp '2100-01-01'", "dim_products")
    damage(history, "update {t} set name = 'x', valid_from_at = timestamp '2024-09-04 13:00:00' where {id} = 2", "dim_customers")
    later = at(DAY_4) + timedelta(days=1)
    for table in MEMBERS:
        history.see(table, 1, later, name="later").see(table, 2, later, name="later")
    history.see("orders", 1, later, created_at=at(DAY_3, 13)).see("orderdetails", 20, later, order_id=2, quantity=9).run()
    made_anew(history, "dim_products", "dim_customers").check()


def test_from_a_day_on_leaves_what_is_before_it(history: History) -> None:
    lived(history)
    changes = {
        "dim_customers": "update {t} set name = 'x' where {id} = 1",
        "fact_sales": "update {t} set sales_quantity = 77 where true",
        "total_sales": "update {t} set orders = 77 where true",
        "top_sellers": "update {t} set seller = 'x' where true",
    }
    for model, statement in changes.items():
        damage(history, statement, model)
    made_anew(history, *changes, start=DAY_3)
    assert [name == "x" for (name,) in history.versions("customers", 1, "name")] == [True, True, False]
    ordered = rows(history.client, "select extract(date from ordered_at) as day, sales_quantity = 77 as is_wrong from warehouse.fact_sales")
    assert {(row.day, row.is_wrong) for row in ordered} == {(DAY_1, True), (DAY_2, True), (DAY_3, False), (DAY_4, False)}
    assert [n == 77 for (n,) in history.view("total_sales", "orders")] == [True, True, False, False]
    made_anew(history, *changes).check()


def test_a_changed_version_that_was_valid_on_the_day_is_taken_as_it_stands_and_not_doubled(history: History) -> None:
    lived(history)
    damage(history, "update {t} set name = 'x' where {id} = 1", "dim_customers")
    made_anew(history, "dim_customers", start=DAY_3)
    assert history.versions("customers", 1, "name", "valid_from") == [("x", BEFORE.date()), ("x", DAY_2), ("customers 4", DAY_4)]
    made_anew(history, "dim_customers").check()


def test_rows_that_a_table_has_twice_before_the_day_are_not_lost(history: History) -> None:
    before = contents(lived(history).client)
    for model in ("dim_products", "fact_sales", "total_sales"):
        damage(history, DAMAGES["rows twice"], model)
    made_anew(history, "dim_products", "fact_sales", "total_sales", start=DAY_4)
    assert contents(history.client) == before


def test_a_rebuild_cut_short_between_any_two_statements_is_finished_by_the_next_transform(
    history: History, sized: Callable[[int, int], int]
) -> None:
    """Working tables are made from what lasts, so a cut counts where a statement has changed what lasts; all of these in soak."""
    models = [s for s in project.statements() or () if s.kind == "model" and not s.fixed]
    lasting = [number for number, model in enumerate(models) if model.sql.startswith("merge")]
    before = contents(lived(history).client)
    every = [s.name for s in models if s.name in project.versions()]
    for cut in [0, *lasting[:: sized(3, 1)], lasting[-1]]:
        for model in every:
            damage(history, DAMAGES["rows deleted"], model)
        rebuild.request(history.client, every, None)
        for model in models[:cut]:
            rows(history.client, model.sql)
        history.transform()
        assert contents(history.client) == before, models[cut].name


def test_a_finished_rebuild_is_not_done_again(history: History) -> None:
    made_anew(lived(history), "dim_products")
    assert transform(client=history.client).seconds == {}


def test_a_model_of_other_code_is_made_anew_by_itself(history: History) -> None:
    lived(history)
    versions = "select model, version from staging.model_versions order by model"
    whole = rows(history.client, versions)
    for model in ("dim_customers", "fact_sales", "total_sales"):
        damage(history, DAMAGES["rows deleted"], model)
    rows(history.client, "update staging.model_versions set version = 'older' where model in ('dim_customers', 'fact_sales')")
    rows(history.client, "delete from staging.model_versions where model = 'total_sales'")
    history.transform().check()
    assert rows(history.client, versions) == whole
    assert transform(client=history.client).seconds == {}


def test_other_tracked_columns_make_the_products_anew_by_themselves(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day, values in ((DAY_1, {}), (DAY_2, {"price": "20"}), (DAY_3, {"price": "20", "review_count": 7})):
        history.members(BEFORE).see("products", 1, at(day), **values)
    before = contents(history.run().check().client)
    copied = shutil.copytree(dbt.PROJECT, tmp_path / "dbt")
    settings = copied / "dbt_project.yml"
    settings.write_text(settings.read_text().replace("[name, price, ", "[name, "))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(dbt, "PROJECT", copied)
            history.transform()
            assert history.versions("products", 1, "review_count", "valid_from") == [(None, BEFORE.date()), (7, DAY_3)]
    finally:
        history.transform()
    assert contents(history.client) == before


def test_a_name_that_is_no_model_s_is_one_line_with_the_one_that_was_meant(made_warehouse: Any) -> None:
    assert rebuild.named(["dim_products", "batch/total_sales"]) == ["dim_products", "total_sales"]
    for wrong, hint in {"dim_product": "did you mean dim_products?", "stg_orders": "", "xyz": "there are dim_"}.items():
        with pytest.raises(DataError, match=wrong) as error:
            rebuild.named(["fact_sales", wrong])
        assert hint in str(error.value)
        assert "\n" not in str(error.value)


def test_before_anything_was_made_there_is_nothing_to_make_anew(
    made_warehouse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbt, "target_folder", lambda: tmp_path)
    with pytest.raises(DataError, match="rainbow run"):
        rebuild.named(["dim_products"])


def test_a_rebuild_from_any_day_undoes_what_was_done_from_that_day_on(made_warehouse: Any, sized: Callable[[int, int], int]) -> None:
    """Replay from a day on is the full rebuild: rows and keys of a random history come back, whatever was done to them."""
    models = [s for s in project.statements() or () if s.name in project.versions()]

    @examples(sized, 3, 200)
    @given(st.integers(0, 2**32))
    def law(number: int) -> None:
        random = Random(number)
        forget(made_warehouse, "raw", "staging", "warehouse")
        history = History(made_warehouse)
        history.put(random_history(random), FIRST, FIRST)
        before = contents(history.transform().client)
        for _ in range(2):
            start = random.choice([None, *(DAY_1 + timedelta(days=n) for n in range(6))])
            damaged = random.sample(models, random.randrange(1, 5))
            for model in damaged:
                _damage_from(history, random, model, start)
            made_anew(history, *(model.name for model in damaged), start=start)
            assert contents(made_warehouse) == before

    law()


def _damage_from(history: History, random: Random, model: project.Statement, start: date | None) -> None:
    """Delete, change and add rows of a model that belong to a day on which it is made anew."""
    dated = {"fact_sales": "ordered_at", "customer_order_total": None}.get(
        model.name, "sales_date" if model.name in VIEWS else "valid_from_at"
    )
    first = start or date(1980, 1, 1)
    column = f"extract(date from {dated})" if dated and dated.endswith("_at") else dated
    since = f"{column} >= date '{first}'" if column else "true"
    changed = next(name for name in ("sales_quantity", "name") if name in model.columns)
    value = f"'{random.random()}'" if changed == "name" else f"{changed} + 1"
    filled = {
        name: {
            "date": f"date '{first}'",
            "timestamp": f"timestamp '{max(first, DAY_1)}'",
            "bool": "true",
            "int64": str(random.randrange(500, 900)),
        }[kind]
        for name, kind in model.columns.items()
        if name in (*model.key, dated, "valid_from", "valid_to", "valid_to_at") or (name.endswith("_id") and name != "order_id")
    }
    table = f"warehouse.{model.name}"
    for statement in random.sample(
        [
            f"delete from {table} where {since} and {random.choice(['true', f'mod({len(model.name)} + length(cast({model.key[-1]} as string)), 2) = 0'])}",
            f"update {table} set {changed} = {value} where {since}",
            f"insert into {table} ({', '.join(filled)}) values ({', '.join(filled.values())})",
        ],
        2,
    ):
        rows(history.client, statement)
