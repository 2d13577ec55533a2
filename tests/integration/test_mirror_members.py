"""What the mirror notes of members: which of them were renamed or are new, when products moved, and what a publish says of them besides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from rainbow.olap.client import connect
from rainbow.olap.mirror import members, placements
from rainbow.olap.mirror.kept import create_all
from rainbow.settings import Settings
from rainbow.source.tables import TABLES
from tests.integration.small_shop import DAY_1, at
from tests.integration.test_mirror_days import Version, arrive, version

pytestmark = pytest.mark.services

EARLIEST, LATEST = datetime(1900, 1, 1), datetime(2299, 12, 31)


@pytest.fixture
def mirror(stack: Settings) -> Iterator[Any]:
    """A client for a ClickHouse whose mirror has no rows, and that has no batch views."""
    with connect() as client:
        for database in ("mirror", "batch"):
            client.command(f"drop database if exists {database} sync")
        create_all(client, TABLES)
        client.command("create database batch")
        yield client
        for database in ("mirror", "batch"):
            client.command(f"drop database {database} sync")


def product(txid: int, key: int = 1, **values: Any) -> Version:
    return version("products", key, DAY_1, txid, **values)


def noted(client: Any) -> dict[str, set[Any]]:
    """The notes: the products that moved, the members that were renamed, and those that appeared, with their transactions."""
    return {
        "moved": {id_ for (id_,) in client.query("select product_id from mirror._moves").result_rows},
        "renamed": set(client.query("select table, id from mirror._renamed").result_rows),
        "appeared": set(client.query("select table, id, txid from mirror._appeared").result_rows),
    }


def moves(client: Any, key: int = 1) -> list[tuple[datetime, int]]:
    """From when on a product had which category."""
    return client.query(
        "select moment, category_id from mirror._moves final where product_id = %(key)s order by moment", {"key": key}
    ).result_rows  # type: ignore[no-any-return]


def restated(client: Any) -> set[tuple[int, datetime, datetime]]:
    return set(client.query("select product_id, from_at, until_at from mirror._restated").result_rows)


def test_members_of_the_snapshot_that_stay_as_they_are_are_not_noted(mirror: Any) -> None:
    arrive(mirror, product(700, _snapshot=1), version("customers", 1, DAY_1, 700, _snapshot=1))
    arrive(mirror, product(701, sold_count=5), version("customers", 1, DAY_1, 702), product(703, _deleted=1))
    assert noted(mirror) == {"moved": set(), "renamed": set(), "appeared": set()}


@pytest.mark.parametrize("column", ["category_id", "seller_id"])
def test_a_product_that_gets_another_category_or_seller_has_moved(mirror: Any, column: str) -> None:
    arrive(mirror, *(product(700 + key, key, _snapshot=1) for key in (1, 2)))
    arrive(mirror, product(710, 1, **{column: 77}))
    assert noted(mirror)["moved"] == {1}


def test_a_member_that_gets_another_name_is_renamed_and_has_not_moved(mirror: Any) -> None:
    arrive(mirror, *(version(table, 1, DAY_1, 700, _snapshot=1) for table in members.TABLES))
    arrive(mirror, *(version(table, 1, DAY_1, 701, name="Another") for table in members.TABLES))
    assert noted(mirror) == {"moved": set(), "renamed": {(table, 1) for table in members.TABLES}, "appeared": set()}


def test_moves_have_the_moments_at_which_the_placement_changes(mirror: Any) -> None:
    one, two, three, four, five = (at(DAY_1, hour).replace(tzinfo=None) for hour in range(1, 6))

    def arrives(txid: int, moment: datetime, category: int, **values: Any) -> None:
        arrive(mirror, product(txid, category_id=category, updated_at=moment.replace(tzinfo=UTC), **values))

    arrives(700, one, 5, _snapshot=1)
    arrives(701, two, 5)
    assert moves(mirror) == []
    assert restated(mirror) == set()
    arrives(702, four, 6)
    assert moves(mirror) == [(one, 5), (four, 6)]
    assert restated(mirror) == {(1, four, LATEST)}
    arrives(703, five, 6, sold_count=9)
    assert moves(mirror) == [(one, 5), (four, 6)]
    assert restated(mirror) == {(1, four, LATEST)}
    # one that is older than what is known: from it on the product is elsewhere, until it was again where it had been
    arrives(704, three, 6)
    assert moves(mirror)[1] == (three, 6)
    arrives(705, one, 6)
    assert moves(mirror)[:2] == [(one, 6), (two, 5)]
    assert (1, EARLIEST, two) in restated(mirror)
    # what ends up as before has its note replaced
    arrives(706, four, 5)
    arrives(707, four, 6)
    assert dict(moves(mirror))[four] == 6


def test_a_member_that_is_renamed_has_its_name_of_now(mirror: Any) -> None:
    arrive(mirror, version("sellers", 1, DAY_1, 700, name="One", _snapshot=1))
    for txid, name in ((701, "Two"), (702, "One"), (703, "One"), (704, "Three"), (705, "Two")):
        arrive(mirror, version("sellers", 1, DAY_1, txid, name=name))
        assert mirror.query("select id, name from mirror._renamed final").result_rows == [(1, name)]


def test_a_member_that_came_later_has_appeared_by_its_first_transaction(mirror: Any) -> None:
    arrive(mirror, product(700, 1), product(701, 1, sold_count=2), version("payments", 4, DAY_1, 702))
    assert noted(mirror)["appeared"] == {("products", 1, 700), ("payments", 4, 702)}


def test_a_seller_or_category_that_is_new_has_its_name_on_days_that_the_batch_has_without_it(mirror: Any) -> None:
    for table in members.TABLES:
        arrive(mirror, version(table, 1, DAY_1, 700))
    assert noted(mirror)["renamed"] == {("sellers", 1), ("categories", 1)}


def test_what_was_published_may_show_another_category_or_name(mirror: Any) -> None:
    arrive(mirror, *(product(700 + key, key, _snapshot=1, category_id=5, seller_id=6) for key in (1, 2)))
    mirror.command(
        "create table batch.dim_products engine = Memory as select arrayJoin([1, 2]) as product_id, "
        "if(product_id = 1, 5, 8)::Nullable(Int64) as category_id, 6::Nullable(Int64) as seller_id, 'A'::Nullable(String) as name, "
        "0 as price, 0 as rating_average, 0 as review_count, 0 as sold_count, 0 as brand_id, "
        "toDateTime64('2024-08-01', 6, 'UTC') as valid_from_at, toDateTime64('2100-01-01', 6, 'UTC') as valid_to_at"
    )
    placements.take_published(mirror, "", "published")
    names = "select arrayJoin([1, 2, 3]) as id, if(id = 1, 'Before', (select any(name) from mirror.products)) as name"
    members.take_names(mirror, "products", names)
    assert noted(mirror) == {"moved": {2}, "renamed": {("products", 1)}, "appeared": set()}
    # a later snapshot of the mirror's may bring one that was published otherwise
    mirror.command("insert into mirror._placements values (3, 5, 6)")
    arrive(mirror, product(710, 3, _snapshot=1, category_id=5, seller_id=7))
    assert noted(mirror)["moved"] == {2, 3}


def test_tables_that_are_made_late_know_the_members_from_before(mirror: Any) -> None:
    arrive(mirror, product(700, _snapshot=1), product(701, name="Another"), product(702, category_id=9), product(703, 2))
    kept = noted(mirror)
    assert all(kept.values())
    for name in ("products_to_placements", *placements.KEPT, *members.KEPT):
        mirror.command(f"drop table mirror.{name} sync")
    create_all(mirror, TABLES)
    assert noted(mirror) == kept
    arrive(mirror, product(704, 2, seller_id=9))
    assert noted(mirror)["moved"] == {1, 2}
