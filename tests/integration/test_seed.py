"""Seeding: everything arrives or nothing does, and the shop goes on from there."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner, Result

from rainbow.cli import data
from rainbow.datasets import open_dataset, replay_state, seed
from rainbow.datasets.binary import can_encode, encoded
from rainbow.datasets.loading import copy_rows
from rainbow.datasets.seeding import totals_in
from rainbow.datasets.shop import Rows, decimals, instants, optional, rows_of
from rainbow.datasets.synthetic import Synthetic
from rainbow.errors import DataError, RainbowError, ServiceError
from rainbow.settings import settings
from rainbow.source.schema import create_schema, first_filled
from rainbow.source.tables import BY_NAME, TABLES

Connection = psycopg.Connection[Any]
SMALL = Synthetic(seed=1, scale=0.001)


def rows_in(connection: Connection) -> dict[str, int]:
    counts = {}
    for table in TABLES:
        (counts[table.name],) = connection.execute(f"select count(*) from {table.name}").fetchone() or (0,)
    return counts


def test_every_row_of_a_data_set_arrives_as_it_is(shop: Connection) -> None:
    seeded = seed(shop, SMALL)
    whole = SMALL.whole()
    assert seeded.rows == {name: whole[name].num_rows for name in BY_NAME} == rows_in(shop)
    assert seeded.totals == SMALL.totals == totals_in(shop)
    for table in TABLES:
        there = shop.execute(f"select {', '.join(whole[table.name].column_names)} from {table.name} order by id").fetchall()
        assert there == [tuple(row.values()) for row in whole[table.name].to_pylist()], table.name


def test_keys_are_there_after_a_seed(shop: Connection) -> None:
    seed(shop, SMALL)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        shop.execute("update orderdetails set product_id = -5")


def test_rows_made_later_keep_clear_of_those_still_to_come(shop: Connection) -> None:
    seed(shop, SMALL, start=SMALL.days[3])
    for table, largest in SMALL.next_ids.items():
        assert shop.execute("select nextval(pg_get_serial_sequence(%s, 'id'))", [table]).fetchone() == (largest + 1,)


def test_a_start_leaves_out_what_came_later(shop: Connection) -> None:
    seeded = seed(shop, SMALL, start=date(2024, 8, 8))
    assert seeded.rows["orders"] == seeded.rows["orderdetails"] == 0
    assert seeded.rows["customers"] == 97
    assert shop.execute("select max(updated_at) < '2024-08-08' from products").fetchone() == (True,)
    state = replay_state(shop)
    assert (state.start, state.done) == (date(2024, 8, 8), date(2024, 8, 7))


def test_a_shop_with_rows_is_refused_and_left_as_it_is(shop: Connection) -> None:
    create_schema(shop)
    shop.execute("insert into sellers (name, created_at, updated_at) values ('Lan', now(), now())")
    shop.commit()
    with pytest.raises(DataError, match=r"not empty \(sellers has rows\).*--reset"):
        seed(shop, SMALL)
    assert sum(rows_in(shop).values()) == 1


def test_reset_replaces_the_shop_and_its_deletions(shop: Connection) -> None:
    seed(shop, SMALL)
    shop.execute("delete from orderdetails")
    shop.commit()
    other = Synthetic(seed=2, scale=0.001)
    seeded = seed(shop, other, reset=True)
    assert rows_in(shop) == seeded.rows
    assert shop.execute("select count(*) from deletions").fetchone() == (0,)
    assert replay_state(shop).seed == 2


class Damaged(Synthetic):
    """A data set that has lost a line since its totals were taken."""

    def whole(self) -> Rows:
        rows = dict(super().whole())
        rows["orderdetails"] = rows["orderdetails"].slice(1)
        return rows


class Dangling(Synthetic):
    """A data set with lines of a product that is not there."""

    def whole(self) -> Rows:
        rows = dict(super().whole())
        rows["products"] = rows["products"].slice(1)
        rows["inventories"] = rows["inventories"].slice(1)
        return rows


@pytest.mark.parametrize(("damaged", "error"), [(Damaged, DataError), (Dangling, psycopg.errors.ForeignKeyViolation)])
def test_a_seed_that_fails_changes_nothing(shop: Connection, damaged: type[Synthetic], error: type[Exception]) -> None:
    seed(shop, SMALL)
    before = rows_in(shop), replay_state(shop)
    shop.commit()
    with pytest.raises(error):
        seed(shop, damaged(seed=2, scale=0.001), reset=True)
    assert (rows_in(shop), replay_state(shop)) == before
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        shop.execute("update orders set customer_id = -5")


def test_a_start_that_is_no_day_of_the_data_set_is_refused(shop: Connection) -> None:
    with pytest.raises(DataError, match=r"2024-07-31 is not a day of synthetic: its days are 2024-08-01 .. 2024-09-06"):
        seed(shop, SMALL, start=date(2024, 7, 31))


EDGES = {
    "units": [0, 1, 9_999, 10_000, 10_001, 99_999_999, 12_345_678_901_234, -1, -123_456, 4 * 10**17],
    "instants": [0, -1, 946_684_800_000_000, 1_512_345_678_901_234, 4_102_444_800_000_000],
}


@pytest.mark.parametrize("scale", [2, 4])
def test_the_binary_form_keeps_every_value(shop: Connection, scale: int) -> None:
    units = np.array(EDGES["units"] * 3)
    null = np.arange(len(units)) % 4 == 3
    at = np.resize(np.array(EDGES["instants"]), len(units))
    rows = pa.table(
        {"a": optional(units, null), "b": decimals(units, scale, null), "c": instants(at), "d": decimals(units[::-1].copy(), scale)}
    )
    # a slice, as a batch of a larger table is one
    rows = rows.slice(1, 25)
    types = ["bigint", "numeric", "timestamptz", "numeric"]
    shop.execute("create table t (a bigint, b numeric, c timestamptz, d numeric)")
    with shop.cursor().copy("copy t from stdin (format binary)") as copy:
        for block in encoded(rows, types):
            copy.write(block)
    assert shop.execute("select * from t").fetchall() == [tuple(row.values()) for row in rows.to_pylist()]


def test_text_is_copied_as_it_is_with_empty_apart_from_missing(shop: Connection) -> None:
    assert not can_encode(["bigint", "text"])
    names = ["", "Trường Sơn", 'a "quoted", comma', "two\nlines", "\\N", "NULL", " "]
    at = instants(np.arange(len(names)))
    create_schema(shop)
    copy_rows(shop, "brands", rows_of("brands", id=np.arange(len(names)), name=pa.array(names), created_at=at, updated_at=at))
    assert [name for (name,) in shop.execute("select name from brands order by id")] == names


def rainbow(*arguments: str) -> Result:
    """What a command answers; an error that the user can act on is in ``exception``."""
    app = typer.Typer()
    data.add_to(app)
    return CliRunner().invoke(app, arguments)


def test_the_command_line_makes_empty_tables(shop: Connection) -> None:
    made = rainbow("seed", "--schema-only")
    assert (made.exit_code, made.exception) == (0, None)
    assert "10 tables are there, empty: brands, categories" in made.output
    assert first_filled(shop) is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["seed"], "say what to load"),
        (["seed", "--schema-only", "--dataset", "synthetic"], "say what to load"),
        (["seed", "--schema-only", "--from", "2024-08-01"], "--from is a day of a data set"),
        (["seed", "--dataset", "nothing"], "there is no data set 'nothing'"),
        (["seed", "--dataset", "synthetic", "--from", "tomorrow"], "--from tomorrow is not a day"),
        (["replay", "--until", "2024-08-32"], "--until 2024-08-32 is not a day"),
        (["replay", "--until", "2024-08-01"], "the shop holds no data set"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_command_line_says_in_one_line_what_it_cannot_do(database: str, arguments: list[str], says: str) -> None:
    answer = rainbow(*arguments)
    assert isinstance(answer.exception, RainbowError)
    assert str(answer.exception).startswith(says)
    assert "\n" not in str(answer.exception)
    assert answer.output == ""


def test_the_command_line_says_in_one_line_what_postgresql_refuses(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINBOW_POSTGRES_URL", f"{database}?options=-c%20default_transaction_read_only%3Don")
    settings.cache_clear()
    answer = rainbow("seed", "--schema-only")
    assert isinstance(answer.exception, ServiceError)
    assert str(answer.exception).startswith("PostgreSQL refuses: cannot execute CREATE TABLE in a read-only transaction")


def test_the_command_line_lives_through_real_days_to_the_cent(shop: Connection) -> None:
    """Christmas and the days around it: the morning of the 24th, then three days, the second of which is empty."""
    start = date(2017, 12, 24)
    done = rainbow("seed", "--dataset", "completejourney", "--from", str(start))
    assert done.exit_code == 0
    assert "the shop is as it was when 2017-12-24 began" in done.output
    assert "simulated data, meant for research and education" in done.output
    lived = rainbow("replay", "--until", "2017-12-25")
    assert [line.split()[:5] for line in lived.output.splitlines()[:2]] == [
        ["2017-12-24", "645", "orders", "5,789", "lines"],
        ["2017-12-25", "0", "orders", "0", "lines"],
    ]
    again = rainbow("replay", "--until", "2017-12-24")
    assert (again.exit_code, again.output) == (0, "2017-12-24 is in already (the shop is at the end of 2017-12-25): nothing to do\n")
    assert rainbow("replay", "--until", "2017-12-26", "--quiet").output == ""
    journey = open_dataset("completejourney")
    lines = [journey.day(day, start).orders["orderdetails"] for day in (start, date(2017, 12, 26))]
    assert totals_in(shop).gross == sum(value.as_py() for rows in lines for value in rows["amount"])
    assert totals_in(shop).lines == 5_789 + 3_135
    assert shop.execute("select count(*) from products where updated_at >= '2017-12-25' and updated_at < '2017-12-26'").fetchone() == (0,)
    assert shop.execute("select count(distinct row_id) from deletions").fetchone() == (4,)


def test_the_command_line_sums_up_the_whole(shop: Connection) -> None:
    """The whole year, once: every line arrives, and its sums are right to the cent."""
    done = rainbow("seed", "--dataset", "completejourney")
    assert done.exit_code == 0
    assert "gross 5,392,232.87 USD, discount 822,553.19, net 4,569,679.68; equal to the data set: yes" in done.output
    assert "lines of the data set: 1,469,307; in the shop: 1,469,307; not taken: 0" in done.output
    assert (rows_in(shop)["orders"], rows_in(shop)["orderdetails"]) == (155_848, 1_469_307)
    sums = shop.execute("select sum(amount), sum(discount), sum(amount - discount) from orderdetails").fetchone()
    assert sums == (Decimal("5392232.87"), Decimal("822553.19"), Decimal("4569679.68"))
