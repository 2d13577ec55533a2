"""Reconcile: a difference between PostgreSQL and the mirror is found, named and repaired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rainbow.olap.client import connect as connect_clickhouse
from rainbow.reconcile import mirrored, reconcile, remedy
from tests.integration.mirroring import Mirrored, watch
from tests.integration.small_shop import DAY_1, DAY_2, at, days, delete, open_shop, put, sell

pytestmark = pytest.mark.services


@pytest.fixture
def mirror(small_shop: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrored]:
    """A mirror of a shop with two days of sales, and nothing published."""
    monkeypatch.setattr(mirrored, "GRACE", 0)
    client = connect_clickhouse()
    for database in ("batch", "mirror", "serving"):
        client.command(f"drop database if exists {database} sync")
    watch(small_shop)
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1), lines=[1, 2])
    sell(small_shop, 3, at(DAY_2))
    yield Mirrored(small_shop, client).begin()
    for database in ("batch", "mirror", "serving"):
        client.command(f"drop database if exists {database} sync")
    client.close()


def test_nothing_differs_in_a_mirror_that_is_caught_up(mirror: Mirrored) -> None:
    put(mirror.shop, "customers", 1, at(DAY_2), name="Mai Ánh")
    mirror.catch_up()
    done = reconcile()
    assert done.differing == ()
    assert {day.what for day in done.days} >= {"orders", "orderdetails", "products", "sales"}


def test_a_lost_change_and_a_lost_delete_are_named_and_repaired(mirror: Mirrored) -> None:
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="5.00")
    delete(mirror.shop, "orderdetails", 2, at(DAY_2))
    done = reconcile(days(DAY_1))
    assert done.keys == {"orderdetails": [1, 2]}
    assert {(day.what, day.first_that_differs) for day in done.differing} == {("orderdetails", "mirror"), ("sales", "mirror")}
    assert remedy(done.differing) == ["rainbow reconcile --repair"]
    assert reconcile(days(DAY_2)).differing == ()
    repaired = reconcile(repair=True)
    assert (repaired.repaired, repaired.differing) == (2, ())


def test_a_change_after_a_repair_wins(mirror: Mirrored) -> None:
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="5.00")
    reconcile(repair=True)
    put(mirror.shop, "orderdetails", 1, at(DAY_2), amount="6.00")
    mirror.catch_up()
    assert reconcile().differing == ()
