"""The schema holds what the declaration says, and PostgreSQL refuses what it forbids."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import errors

from rainbow.errors import DataError
from rainbow.source.connection import connect
from rainbow.source.schema import (
    create_keys,
    create_schema,
    drop_keys,
    drop_schema,
    empty_schema,
    first_filled,
    set_clock,
    set_sequences,
)
from rainbow.source.tables import TABLES

Connection = psycopg.Connection[Any]
AT = datetime(2024, 9, 1, 12, tzinfo=UTC)

ROWS: dict[str, dict[str, Any]] = {
    "brands": {"name": "Sao Việt"},
    "categories": {"name": "Điện thoại"},
    "sellers": {"name": "Cửa hàng Lan"},
    "customers": {"name": "Nguyễn Văn An"},
    "payments": {"name": "Cash"},
    "promotions": {"name": "10%", "coupon_type": "Percentage", "price_treatment": 10},
    "products": {"name": "M10", "price": 5, "sold_count": 0, "category_id": 1, "seller_id": 1, "brand_id": 1, "promotion_id": 1},
    "inventories": {"product_id": 1, "quantity": 7},
    "orders": {"customer_id": 1, "payment_id": 1},
    "orderdetails": {"order_id": 1, "product_id": 1, "promotion_id": 1, "quantity": 2, "price": 5, "amount": 10, "discount": 1},
}


def insert(connection: Connection, table: str, **values: Any) -> None:
    row = {**ROWS[table], "created_at": AT, "updated_at": AT, **values}
    connection.execute(f"insert into {table} ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})", list(row.values()))


@pytest.fixture
def filled(made_database: str) -> Iterator[Connection]:
    """A shop with one row a table, each with id 1; what a test does to it is rolled back."""
    with psycopg.connect(made_database) as connection:
        for table in ROWS:
            insert(connection, table, id=1)
        set_sequences(connection)
        yield connection
        connection.rollback()


def test_an_id_is_given_by_the_database_and_goes_on_after_the_largest(filled: Connection) -> None:
    insert(filled, "brands", id=50)
    set_sequences(filled, {"sellers": 900})
    insert(filled, "brands")
    insert(filled, "sellers")
    assert filled.execute("select max(id) from brands").fetchone() == (51,)
    assert filled.execute("select max(id) from sellers").fetchone() == (901,)


@pytest.mark.parametrize(
    ("table", "column"), [(table.name, column.name) for table in TABLES for column in table.columns if column.references]
)
def test_a_row_that_references_nothing_is_refused(filled: Connection, table: str, column: str) -> None:
    with pytest.raises(errors.ForeignKeyViolation):
        insert(filled, table, **{column: 999})


@pytest.mark.parametrize("table", [t.name for t in TABLES if any(t.name in other.references for other in TABLES)])
def test_a_row_that_others_reference_cannot_be_deleted(filled: Connection, table: str) -> None:
    with pytest.raises(errors.ForeignKeyViolation):
        filled.execute(f"delete from {table} where id = 1")


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("promotions", {"coupon_type": "Bogus"}),
        ("promotions", {"price_treatment": -1}),
        ("products", {"price": -1}),
        ("products", {"original_price": -1}),
        ("products", {"rating_average": 5.01}),
        ("products", {"review_count": -1}),
        ("inventories", {"quantity": -1}),
        ("orderdetails", {"quantity": -1}),
        ("orderdetails", {"price": -1}),
        ("orderdetails", {"amount": -1}),
        ("orderdetails", {"discount": -1}),
    ],
    ids=str,
)
def test_a_value_outside_its_check_is_refused(filled: Connection, table: str, values: dict[str, Any]) -> None:
    with pytest.raises(errors.CheckViolation):
        insert(filled, table, **values)


@pytest.mark.parametrize(
    ("table", "column"),
    [(table.name, column.name) for table in TABLES for column in table.columns if not column.nullable and column.name != table.key],
)
def test_a_missing_value_is_refused(filled: Connection, table: str, column: str) -> None:
    with pytest.raises(errors.NotNullViolation):
        insert(filled, table, **{column: None})


def test_nullable_columns_take_null(filled: Connection) -> None:
    insert(filled, "products", brand_id=None, promotion_id=None, original_price=None, rating_average=None, review_count=None)
    insert(filled, "orderdetails", promotion_id=None)


def test_a_delete_is_noted_at_the_transactions_time(filled: Connection) -> None:
    (now,) = filled.execute("select transaction_timestamp()").fetchone() or (None,)
    filled.execute("delete from orderdetails")
    assert filled.execute("select * from deletions").fetchall() == [("orderdetails", 1, now)]


def test_a_delete_is_noted_at_the_sessions_clock_for_one_transaction(shop: Connection) -> None:
    create_schema(shop)
    insert(shop, "brands")
    insert(shop, "sellers")
    shop.commit()
    moment = datetime(2017, 11, 24, 3, 4, 5, 600_000, tzinfo=UTC)
    set_clock(shop, moment)
    shop.execute("delete from brands")
    shop.commit()
    shop.execute("delete from sellers")
    noted = dict(shop.execute("select table_name, deleted_at from deletions").fetchall())
    assert noted["brands"] == moment
    assert noted["sellers"] > AT


def test_every_table_notes_its_deletes(filled: Connection) -> None:
    for table in reversed(TABLES):
        filled.execute(f"delete from {table.name}")
    noted = {name for (name,) in filled.execute("select table_name from deletions").fetchall()}
    assert noted == {table.name for table in TABLES}


def test_a_truncate_notes_every_row(filled: Connection) -> None:
    insert(filled, "orderdetails", id=7)
    (now,) = filled.execute("select transaction_timestamp()").fetchone() or (None,)
    filled.execute("truncate orderdetails")
    assert filled.execute("select * from deletions order by row_id").fetchall() == [("orderdetails", 1, now), ("orderdetails", 7, now)]
    filled.execute("truncate orders cascade")
    assert filled.execute("select table_name, row_id from deletions where table_name <> 'orderdetails'").fetchall() == [("orders", 1)]


def test_a_row_that_gets_another_id_is_noted_under_the_one_it_had(filled: Connection) -> None:
    filled.execute("update orderdetails set id = 1, quantity = 7")
    assert filled.execute("select * from deletions").fetchall() == []
    filled.execute("update orderdetails set id = 99")
    assert filled.execute("select table_name, row_id from deletions").fetchall() == [("orderdetails", 1)]


def test_an_update_leaves_updated_at_to_the_writer(filled: Connection) -> None:
    filled.execute("update brands set name = 'other'")
    assert filled.execute("select updated_at from brands").fetchone() == (AT,)


def test_making_the_schema_again_changes_nothing(filled: Connection) -> None:
    def objects() -> list[Any]:
        return filled.execute(
            "select conname, oid::int from pg_constraint where connamespace = 'public'::regnamespace"
            " union all select relname, oid::int from pg_class where relnamespace = 'public'::regnamespace order by 1, 2"
        ).fetchall()

    before = objects()
    create_schema(filled)
    assert objects() == before
    assert first_filled(filled) == "brands"


def test_keys_and_indexes_come_back_after_a_load(filled: Connection) -> None:
    def names() -> list[Any]:
        return filled.execute(
            "select conname::text from pg_constraint where connamespace = 'public'::regnamespace"
            " union select indexname::text from pg_indexes where schemaname = 'public' order by 1"
        ).fetchall()

    before = names()
    drop_keys(filled)
    assert len(names()) < len(before) - 2 * len(TABLES)
    create_keys(filled)
    assert names() == before


def test_each_table_has_an_index_on_updated_at_and_a_full_replica_identity(filled: Connection) -> None:
    indexed = {name for (name,) in filled.execute("select tablename from pg_indexes where indexdef like '%(updated_at)'").fetchall()}
    assert indexed == {table.name for table in TABLES}
    identities = filled.execute(
        "select relreplident from pg_class where relname = any(%s) and relkind = 'r'", [[t.name for t in TABLES]]
    ).fetchall()
    assert [i for (i,) in identities] == [b"f"] * len(TABLES) or [i for (i,) in identities] == ["f"] * len(TABLES)


def test_descriptions_are_comments(filled: Connection) -> None:
    assert filled.execute("select obj_description('orders'::regclass)").fetchone() == ("Orders; an order's moment is created_at.",)
    assert filled.execute("select col_description('orderdetails'::regclass, 7)").fetchone() == ("What the line costs before discount.",)


@pytest.mark.parametrize(
    ("foreign", "says"),
    [
        ("create table sellers (id bigint primary key, title text)", "table sellers exists without the column name"),
        (
            "create table orders (id bigint, customer_id bigint, payment_id integer, created_at timestamptz, updated_at timestamptz)",
            "table orders exists with payment_id as integer instead of bigint",
        ),
        (
            "create table brands (id bigint, name text, created_at timestamptz, updated_at timestamptz, logo bytea)",
            "table brands exists with the column logo, which is not declared",
        ),
        ("create view brands as select 1::bigint as id", "brands exists and is not a table"),
        (
            "create table deletions (table_name text, row_id integer, deleted_at timestamptz)",
            "table deletions exists with row_id as integer",
        ),
    ],
    ids=["missing", "type", "unknown", "view", "deletions"],
)
def test_a_table_with_other_columns_is_named_in_one_line_and_nothing_is_made(shop: Connection, foreign: str, says: str) -> None:
    shop.execute(foreign)
    shop.commit()
    with pytest.raises(DataError, match=says) as caught:
        create_schema(shop)
    shop.rollback()
    assert "\n" not in str(caught.value)
    assert shop.execute(
        "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
    ).fetchone() == (1,)


def test_two_at_a_time_make_one_schema(shop: Connection) -> None:
    create_schema(shop)
    with connect() as other:
        other.execute("set lock_timeout = '200ms'")
        other.commit()
        with pytest.raises(errors.LockNotAvailable):
            create_schema(other)
        other.rollback()
        shop.commit()
        create_schema(other)


def test_emptying_takes_all_rows_the_deletions_and_the_ids(filled: Connection) -> None:
    filled.execute("create table idempotency (key text, order_id bigint references orders)")
    filled.execute("insert into idempotency values ('k', 1)")
    filled.execute("delete from orderdetails")
    empty_schema(filled)
    assert first_filled(filled) is None
    assert filled.execute("select (select count(*) from deletions), (select count(*) from idempotency)").fetchone() == (0, 0)
    insert(filled, "brands")
    assert filled.execute("select id from brands").fetchone() == (1,)


def test_dropping_leaves_nothing(filled: Connection) -> None:
    drop_schema(filled)
    drop_schema(filled)
    assert filled.execute("select count(*) from pg_class where relnamespace = 'public'::regnamespace").fetchone() == (0,)
