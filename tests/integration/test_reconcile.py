"""Reconcile: the first place that differs from the source is named, by table and day; the mirror's keys too, and they are repaired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from typer.testing import CliRunner

from rainbow.cli import app as command_line
from rainbow.cli import reconcile as command
from rainbow.cli import stack
from rainbow.errors import DataError
from rainbow.lake.extract import extract
from rainbow.lake.files import Lake
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.publish import publish
from rainbow.partitions.dates import PartitionRange
from rainbow.reconcile import Reconciled, reconcile
from rainbow.settings import settings
from rainbow.warehouse.load import load
from rainbow.warehouse.sql import change
from rainbow.warehouse.transform import transform
from streaming.repairing import repair
from tests.integration.mirroring import Mirrored, watch
from tests.integration.small_shop import DAY_1, DAY_2, at, days, delete, open_shop, put, sell

pytestmark = pytest.mark.services

DATABASES = ("batch", "mirror", "serving")


@pytest.fixture
def mirror(small_shop: psycopg.Connection[Any], lake: Lake) -> Iterator[Mirrored]:
    """A mirror of a shop with two days of sales, and nothing extracted."""
    client = connect_clickhouse()
    for database in DATABASES:
        client.command(f"drop database if exists {database} sync")
    watch(small_shop)
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1), lines=[1, 2])
    sell(small_shop, 3, at(DAY_2))
    yield Mirrored(small_shop, client).begin()
    for database in DATABASES:
        client.command(f"drop database if exists {database} sync")
    client.close()


@pytest.fixture
def everywhere(mirror: Mirrored, warehouse: Any) -> Mirrored:
    """The same with both days published."""
    run(PartitionRange(DAY_1, DAY_2))
    return mirror


def run(partitions: PartitionRange) -> None:
    extract(partitions)
    load()
    transform()
    publish()


def told(found: Reconciled) -> set[tuple[str, str, str]]:
    return {(one.table, str(one.day), one.place) for one in found.differences}


def test_every_place_agrees_on_a_shop_that_is_published_and_mirrored(everywhere: Mirrored) -> None:
    put(everywhere.shop, "brands", 9, at(DAY_2), name="Trà 'Ô Long' \U0001f375")
    everywhere.catch_up()
    run(days(DAY_2))
    found = reconcile()
    assert found.places == ["source", "lake", "raw", "fact_sales", "batch.total_sales", "mirror", "serving.total_sales"]
    assert (found.differences, found.behind, found.skipped) == ([], {}, {})
    assert found.days["orderdetails"] == 2


def test_what_was_changed_since_the_extract_is_behind_and_not_wrong(everywhere: Mirrored) -> None:
    put(everywhere.shop, "orderdetails", 1, at(DAY_2), amount="5.00")
    delete(everywhere.shop, "orderdetails", 2, at(DAY_2))
    everywhere.catch_up()
    found = reconcile()
    assert found.differences == []
    assert found.behind["orderdetails"] == 1
    assert found.behind["sales"] == 1


@pytest.mark.parametrize(
    ("place", "statement"),
    [
        ("raw", "delete from raw.orderdetails where id = 1"),
        ("fact_sales", "update warehouse.fact_sales set net_sales_amount = 0 where order_detail_id = 1"),
    ],
)
def test_the_first_place_of_the_batch_that_differs_is_named(everywhere: Mirrored, warehouse: Any, place: str, statement: str) -> None:
    change(warehouse, statement)
    table = "orderdetails" if place == "raw" else "sales"
    assert told(reconcile()) == {(table, str(DAY_1), place)}
    assert reconcile(days(DAY_2)).differences == []


def test_a_file_that_is_gone_from_the_lake_is_named(everywhere: Mirrored, lake: Lake) -> None:
    (path,) = lake.partition("orderdetails", DAY_2)
    lake.remove(path)
    assert told(reconcile()) == {("orderdetails", str(DAY_2), "lake")}


def test_a_lost_change_and_a_lost_delete_are_named_by_key_and_repaired(mirror: Mirrored) -> None:
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="5.00")
    delete(mirror.shop, "orderdetails", 2, at(DAY_2))
    found = reconcile()
    assert [(one.table, one.day, one.place, one.keys) for one in found.differences] == [("orderdetails", DAY_1, "mirror", (1, 2))]
    assert reconcile(days(DAY_2)).differences == []
    assert repair(found) == {"orderdetails": 2}
    assert reconcile().differences == []
    assert "lake" in found.skipped


def test_a_repaired_row_has_the_columns_that_nobody_declared(mirror: Mirrored) -> None:
    mirror.shop.execute("alter table orderdetails add gift boolean, add seen timestamptz, add note text, add unknown text")
    for column, kind in {"gift": "Bool", "seen": "String", "note": "String"}.items():
        for table in ("orderdetails_history", "orderdetails"):
            mirror.client.command(f"alter table mirror.{table} add column {column} Nullable({kind})")
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="5.00", gift=True, seen=at(DAY_1), note='Trà "%s"\n', unknown="?")
    assert repair(reconcile()) == {"orderdetails": 1}
    row = mirror.client.query("select gift, seen, note, _deleted from mirror.orderdetails final where id = 1").first_row
    assert row == (True, "2024-09-01T12:00:00Z", 'Trà "%s"\n', 0)


def test_a_user_that_may_not_lock_rows_is_told_what_repairing_needs(mirror: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="5.00")
    mirror.shop.execute("drop role if exists looker")
    mirror.shop.execute("create role looker login password 'look'")
    mirror.shop.execute("grant select on all tables in schema public to looker")
    found = reconcile()
    url = urlsplit(settings().url_of("postgres"))
    try:
        with monkeypatch.context() as patched:
            patched.setenv("RAINBOW_POSTGRES_URL", url._replace(netloc=f"looker:look@{url.hostname}:{url.port}").geturl())
            settings.cache_clear()
            with pytest.raises(
                DataError, match=r"orderdetails cannot be repaired: .* \(permission denied for table orderdetails\); grant it UPDATE"
            ):
                repair(found)
    finally:
        settings.cache_clear()
        mirror.shop.execute("drop owned by looker")
        mirror.shop.execute("drop role looker")


@pytest.mark.parametrize(
    ("values", "shown_on"),
    [({"amount": "NaN"}, DAY_1), ({"discount": "Infinity"}, DAY_1), ({"created_at": "infinity"}, date(9999, 12, 30))],
)
def test_a_value_that_only_postgresql_can_hold_differs(mirror: Mirrored, values: dict[str, str], shown_on: date) -> None:
    mirror.shop.execute("alter table orderdetails drop constraint orderdetails_discount_check, alter discount type numeric")
    put(mirror.shop, "orderdetails", 1, at(DAY_2), **values)
    differences = [(one.table, one.day, one.place) for one in reconcile().differences]
    assert ("orderdetails", shown_on, "mirror") in differences


def test_a_row_that_the_mirror_cannot_hold_is_named_and_the_others_are_repaired(mirror: Mirrored) -> None:
    put(mirror.shop, "products", 1, at(DAY_2), price="NaN")
    put(mirror.shop, "products", 2, at(DAY_2), price="7.00")
    with pytest.raises(DataError, match=r"1 rows could not be repaired: products 1: column price: "):
        repair(reconcile())
    assert [(one.table, one.keys) for one in reconcile().differences] == [("products", (1,))]


def test_a_day_of_rows_that_the_source_does_not_have_is_repaired(mirror: Mirrored) -> None:
    mirror.client.command(
        "insert into mirror.orderdetails select * except number replace (100 + 2 * number as id) "
        "from (select * from mirror.orderdetails final where id = 1) as line cross join numbers(50000) as n"
    )
    # one that the source has lies between them
    put(mirror.shop, "orderdetails", 50_001, at(DAY_1), order_id=1)
    mirror.catch_up()
    assert repair(reconcile(days(DAY_1))) == {"orderdetails": 50_000}
    assert reconcile().differences == []


def test_a_change_after_a_repair_wins(mirror: Mirrored) -> None:
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="5.00")
    repair(reconcile())
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="6.00")
    mirror.catch_up()
    assert reconcile().differences == []


def test_a_row_that_comes_back_after_a_repair_of_its_delete_is_there(mirror: Mirrored) -> None:
    delete(mirror.shop, "orderdetails", 2, at(DAY_2))
    repair(reconcile())
    put(mirror.shop, "orderdetails", 2, at(DAY_2), order_id=1, product_id=1)
    mirror.catch_up()
    assert reconcile().differences == []


def test_what_is_on_its_way_does_not_differ(mirror: Mirrored) -> None:
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="5.00")
    assert reconcile(settle=mirror.catch_up).differences == []


def test_a_place_that_cannot_be_compared_is_left_out_in_one_line(mirror: Mirrored) -> None:
    assert reconcile().skipped["batch.total_sales"] == "nothing was published yet"
    mirror.client.command("create database batch")
    mirror.client.command("create view batch.total_sales as select 1 as nothing")
    said = reconcile().skipped["batch.total_sales"]
    assert "UNKNOWN_IDENTIFIER" in said
    assert not any(part in said for part in ("\n", "http://", "(version"))


@pytest.mark.parametrize(
    ("table", "values"), [("products", {"rating_average": "0"}), ("products", {"original_price": None}), ("brands", {"name": ""})]
)
def test_each_kind_of_value_counts(mirror: Mirrored, table: str, values: dict[str, Any]) -> None:
    put(mirror.shop, table, 1, at(DAY_2), **values)
    assert [(one.table, one.keys) for one in reconcile().differences] == [(table, (1,))]


def test_the_command_names_keys_repairs_and_tells_by_its_exit(mirror: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_settle", lambda: None)
    for module in (command, stack):
        module.add_to(command_line)
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="5.00")
    differing = CliRunner().invoke(command_line, ["reconcile"])
    assert differing.exit_code == 1
    assert "mirror" in differing.output
    repaired = CliRunner().invoke(command_line, ["reconcile", "--day", str(DAY_1), "--repair"])
    assert repaired.exit_code == 0, repaired.output
    assert "orderdetails: 1 rows of the mirror read again" in repaired.output
    assert "agree" in repaired.output
