"""``mirror._days`` and ``mirror._spanning``: what a change says of days, however and whenever its rows arrive."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from rainbow.olap.client import connect
from rainbow.olap.mirror.kept import after_insert, create_all
from rainbow.olap.mirror.tables import OWN_COLUMNS
from rainbow.settings import Settings
from rainbow.source.tables import BY_NAME, TABLES
from tests.integration.small_shop import BEFORE, DAY_1, DAY_2, DAY_3, DEFAULTS, at

pytestmark = pytest.mark.services

Version = tuple[str, dict[str, Any]]


@pytest.fixture
def mirror(stack: Settings) -> Iterator[Any]:
    """A client for a ClickHouse whose mirror has no rows."""
    with connect() as client:
        client.command("drop database if exists mirror sync")
        create_all(client, TABLES)
        yield client
        client.command("drop database if exists mirror sync")


def order(day: date, txid: int, key: int = 1, **values: Any) -> Version:
    return version("orders", key, day, txid, **values)


def line(day: date, txid: int, key: int = 1, **values: Any) -> Version:
    return version("orderdetails", key, day, txid, **values)


def version(table: str, key: int, day: date, txid: int, **values: Any) -> Version:
    row = dict.fromkeys(BY_NAME[table].column_names) | {"id": key, **DEFAULTS[table], "created_at": at(day), "updated_at": at(day)}
    return table, row | {"_lsn": txid * 10, "_deleted": 0, "_txid": txid, "_committed_at": at(day), "_snapshot": 0} | values


def arrive(client: Any, *versions: Version) -> None:
    """The versions come in, one insert each, as the mirror makes them."""
    for table, row in versions:
        names = [*BY_NAME[table].column_names, *OWN_COLUMNS]
        client.insert(f"mirror.{table}", [[row[name] for name in names]], column_names=names)
        after_insert(client, table, [row["id"]])


def newest(client: Any) -> dict[date, int]:
    """Each day's newest transaction."""
    return dict(client.query("select day, max(newest_txid) from mirror._days where quarter < 4 group by day").result_rows)


def spanning(client: Any) -> set[tuple[date, int]]:
    return set(client.query("select day, order_id from mirror._spanning final").result_rows)


def test_rows_of_one_day_are_noted_there_and_nowhere_else(mirror: Any) -> None:
    arrive(mirror, order(DAY_1, 700), line(DAY_1, 701), order(DAY_2, 702, key=2), line(DAY_2, 703, key=2, order_id=2))
    assert newest(mirror) == {DAY_1: 701, DAY_2: 703}
    assert spanning(mirror) == set()


def test_a_line_and_its_order_on_different_days_count_for_both_in_whatever_order_they_come(mirror: Any) -> None:
    for versions in itertools.permutations([order(DAY_1, 700), line(DAY_3, 702), line(DAY_1, 701, key=2)]):
        create_anew(mirror)
        arrive(mirror, *versions)
        assert newest(mirror) == {DAY_1: 702, DAY_3: 702}
        assert spanning(mirror) == {(DAY_1, 1), (DAY_3, 1)}


def test_an_order_that_moves_counts_for_the_day_that_it_leaves(mirror: Any) -> None:
    arrive(mirror, order(DAY_1, 700), line(DAY_1, 701), order(DAY_1, 705, created_at=at(DAY_2)))
    assert newest(mirror) == {DAY_1: 705, DAY_2: 705}


def test_a_line_that_goes_to_another_order_counts_for_the_days_of_both(mirror: Any) -> None:
    arrive(mirror, order(DAY_1, 700), order(DAY_2, 701, key=2), line(DAY_1, 702), line(DAY_1, 703, order_id=2))
    assert newest(mirror) == {DAY_1: 703, DAY_2: 703}
    assert {order_id for _, order_id in spanning(mirror)} == {1, 2}


def test_rows_of_the_snapshot_have_no_transaction_but_their_moments(mirror: Any) -> None:
    arrive(mirror, order(DAY_1, 700, _snapshot=1, updated_at=at(DAY_3)), line(DAY_1, 701, _snapshot=1, updated_at=BEFORE))
    assert newest(mirror) == {}
    found = mirror.query(
        "select day, min(first_updated_at), max(last_updated_at) from mirror._days where quarter = 4 group by day"
    ).result_rows
    assert [(day, first.date(), last.date()) for day, first, last in found] == [(DAY_1, BEFORE.date(), DAY_3)]


def test_transactions_on_both_sides_of_the_wrap_are_both_kept(mirror: Any) -> None:
    arrive(mirror, order(DAY_1, 2**32 - 5), order(DAY_1, 3, _lsn=2**40))
    assert set(mirror.query("select quarter, newest_txid from mirror._days final").result_rows) == {(3, 2**32 - 5), (0, 3)}


def test_a_delete_says_when_it_was(mirror: Any) -> None:
    arrive(mirror, order(DAY_1, 700), order(DAY_1, 701, _deleted=1, _committed_at=at(DAY_3)))
    (found,) = mirror.query("select max(last_deleted_at) from mirror._days").result_rows[0]
    assert found.date() == DAY_3


def test_tables_that_are_made_late_know_the_rows_from_before(mirror: Any) -> None:
    arrive(mirror, order(DAY_1, 700), line(DAY_3, 702), order(DAY_2, 703, key=2))
    kept = newest(mirror), spanning(mirror)
    for name in ("orders_to_days", "orderdetails_to_days", "_days", "_spanning"):
        mirror.command(f"drop table mirror.{name} sync")
    create_all(mirror, TABLES)
    assert (newest(mirror), spanning(mirror)) == kept
    arrive(mirror, line(DAY_2, 704, key=2, order_id=2))
    assert newest(mirror)[DAY_2] == 704


def create_anew(client: Any) -> None:
    client.command("drop database mirror sync")
    create_all(client, TABLES)
